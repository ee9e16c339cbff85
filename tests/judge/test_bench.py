"""The bench: what was handed over, the thresholds and the rows that judge, whose stages run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import rendered, small_project

from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.project import Project
from gatehouse.judge import bench

OWN = {"cmd": "python src/own.py", "outs": ["x"]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    small_project(tmp_path)
    return Project(tmp_path)


def test_attack_a_stage_runs_own_code() -> None:
    """ATTACK: `dvc.yaml` of main runs a file of src/ for a stage, and the change rewrites that file | the judge runs the library's stages alone"""
    pipeline = yaml.safe_load(rendered("dvc.yaml"))
    kept = bench.by_library(pipeline)
    assert kept == pipeline
    assert bench.own_data(pipeline) == []
    changed = json.loads(json.dumps(pipeline))
    changed["stages"]["evaluate"] |= OWN
    changed["stages"]["extra"] = OWN
    made = bench.by_library(changed)["stages"]
    assert {stage["cmd"] for stage in made.values()} == {f"gatehouse stage {name}" for name in made}
    assert "extra" not in made
    assert bench.own_data(changed) == ["extra"]
    changed["stages"]["ingest"] |= OWN
    assert bench.own_data(changed) == ["ingest", "extra"]


def test_attack_the_change_loosens_what_judges_it(here: Project) -> None:
    """ATTACK: `gates.yaml` is loosened in the same change | closed, and the base branch's thresholds judge"""
    base = Path("gates.yaml").read_text()
    Path("gates.yaml").write_text(base.replace("min: 0.02", "min: -9"))
    [reason] = bench._gates(here, base)
    assert "skill min 0.02 is now -9" in reason
    assert Path("gates.yaml").read_text() == base
    Path("gates.yaml").unlink()
    assert bench._gates(here, base)
    assert Path("gates.yaml").read_text() == base


def test_stricter_thresholds_judge_at_once(here: Project) -> None:
    base = Path("gates.yaml").read_text()
    stricter = base.replace("min: 0.02", "min: 0.5")
    Path("gates.yaml").write_text(stricter)
    assert bench._gates(here, base) == []
    assert Path("gates.yaml").read_text() == stricter


@pytest.mark.parametrize(
    "now", [{"test_fraction": 0.2, "seed": 17}, {"test_fraction": 0.01, "seed": 0}, None]
)
def test_attack_the_change_chooses_the_rows_that_judge(here: Project, now: Any) -> None:
    """ATTACK: `split` in params.yaml gets other seeds until a change passes | closed, and the base branch's split judges"""
    base = yaml.safe_load(Path("params.yaml").read_text())
    changed = {k: v for k, v in base.items() if k != "split"} | ({"split": now} if now else {})
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    assert len(bench._split(here, base)) == 1
    assert yaml.safe_load(Path("params.yaml").read_text())["split"] == base["split"]


def test_other_parameters_are_free(here: Project) -> None:
    base = yaml.safe_load(Path("params.yaml").read_text())
    text = Path("params.yaml").read_text().replace("seed: 0\n\ningest", "seed: 5\n\ningest")
    Path("params.yaml").write_text(text)
    assert bench._split(here, base) == []
    assert Path("params.yaml").read_text() == text


def test_what_cannot_be_judged_is_in_the_report(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*_: object) -> str:
        raise Stop("judge-conflict", "it conflicts", CLOSED)

    monkeypatch.setattr("gatehouse.judge.change.merged", conflict)
    with pytest.raises(Stop):
        bench.judge(here, "a" * 40)
    assert Path("reports/report.md").read_text() == "## ❌ Not judged: it conflicts\n"


def _hand(*names: str) -> None:
    Path("handed/model").mkdir(parents=True, exist_ok=True)
    for name in names:
        Path("handed/model", name).write_text("{}")


def test_a_model_is_taken_as_files(here: Project) -> None:
    assert bench._handed(here) == []
    _hand("model.json", "model.skops")
    assert bench._handed(here) == ["model.json", "model.skops"]
    bench._place(Path("handed/model/model.json"), Path("model/model.json"), 10)
    assert Path("model/model.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["model.pkl", "conftest.py", "__init__.py", ".."])
def test_attack_more_than_a_model_is_handed_over(here: Project, name: str) -> None:
    """ATTACK: the artifact of the candidate holds a pickle, a module or a path that leads out | refused: three names, plain files, bounded sizes"""
    _hand("model.json", "model.skops")
    Path("handed/model", name if name != ".." else "x/y").parent.mkdir(exist_ok=True)
    Path("handed/model", name if name != ".." else "x/y").write_text("x")
    with pytest.raises(Stop) as said:
        bench._handed(here)
    assert (said.value.code, said.value.exit_code) == ("judge-handed", CLOSED)


def test_attack_a_handed_file_is_a_link_or_huge(here: Project) -> None:
    """ATTACK: a file of the artifact is a link to a secret of the runner, or fills its disk | refused: three names, plain files, bounded sizes"""
    _hand("model.json")
    Path("handed/model/model.skops").symlink_to("/etc/passwd")
    with pytest.raises(Stop) as said:
        bench._place(Path("handed/model/model.skops"), Path("model/model.skops"), 1 << 20)
    assert said.value.code == "judge-handed"
    with pytest.raises(Stop):
        bench._place(Path("handed/model/model.json"), Path("model/model.json"), 1)
    with pytest.raises(Stop):
        bench._place(Path("handed/model/none"), Path("model/none"), 1)
    assert not Path("model").exists()


def test_attack_the_evaluation_writes_another_truth(here: Project) -> None:
    """ATTACK: the user's evaluation writes a metric that the model has not | the judge's own number counts, and the difference is said"""
    Path("handed").mkdir()
    said = {"test": {"rows": 10, "skill": 0.9, "r2": None}}
    Path("metrics.json").write_text(json.dumps(said))
    Path("handed/metrics.json").write_text(json.dumps(said))
    assert bench._differences(here) == []
    said["test"]["skill"] = 0.99
    Path("handed/metrics.json").write_text(json.dumps(said))
    [note] = bench._differences(here)
    assert "skill 0.99" in note and "0.9" in note
    for text in ("[]", "no json", '{"test": 3}'):
        Path("handed/metrics.json").write_text(text)
        assert len(bench._differences(here)) == 1


@pytest.mark.parametrize("source", ["/etc/passwd", "../secret.csv", "data/../../x.csv", "x.csv"])
def test_attack_the_source_leads_out_of_data(here: Project, source: str) -> None:
    """ATTACK: `ingest.source` names a file of the runner | refused: the source lies in data/"""
    text = Path("params.yaml").read_text()
    line = next(one for one in text.splitlines() if one.strip().startswith("source:"))
    Path("params.yaml").write_text(text.replace(line, f"  source: {source}"))
    with pytest.raises(Stop) as said:
        bench.source_inside(here)
    assert (said.value.code, said.value.exit_code) == ("judge-source", CLOSED)


def test_the_model_is_laid_where_the_judge_takes_it(here: Project) -> None:
    for name in ("model.json", "model.skops"):
        Path("model").mkdir(exist_ok=True)
        Path("model", name).write_text("{}")
    Path("metrics.json").write_text("{}")
    Path("handed").mkdir()
    Path("handed/ci.log").write_text("kept")
    bench.hand_over(here)
    found = {
        str(path.relative_to("handed")) for path in Path("handed").rglob("*") if path.is_file()
    }
    assert found == {"ci.log", "metrics.json", "model/model.json", "model/model.skops"}
