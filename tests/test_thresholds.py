"""A change does not choose the thresholds that judge it; no champion wants a recorded reason."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from baked import BakedProject

STRICT = "model:\n  rules:\n    - {metric: skill, min: 0.5} # agreed with the business\n"
LOOSE = STRICT.replace("0.5", "-9")


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


@pytest.fixture
def change(science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A branch that wants looser thresholds than main has; its verdict is open by them."""
    from ops.console import write_json
    from ops.gates import blessing, verdict

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASE_REF", raising=False)
    monkeypatch.setattr(verdict, "stale_stages", list)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")
    Path("gates.yaml").write_text(STRICT)
    git("add", "gates.yaml")
    git("commit", "--quiet", "-m", "thresholds")
    git("switch", "--quiet", "-c", "loosen")
    Path("gates.yaml").write_text(LOOSE)
    git("commit", "--quiet", "-am", "loosen")
    Path("model").mkdir()
    for name in ("model.json", "model.skops"):
        Path("model", name).write_text("x")
    judged = {"model_digest": blessing.model_digest(), "blessed": True, "reasons": [], "rules": []}
    write_json(Path("blessing.json"), judged)
    write_json(
        Path("reports/data_gate.json"), {"open": True, "reasons": [], "rows": 9, "findings": []}
    )
    return tmp_path


def collect() -> dict[str, Any]:
    from ops.gates.verdict import collect

    return dict(collect())


@pytest.mark.gate("blessing", "thresholds of the base branch", "closed")
@pytest.mark.usefixtures("change")
def test_a_loosened_gates_yaml_is_closed_in_ci_and_noted_on_a_laptop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ops.gates.verdict import lines

    verdict = collect()
    assert (verdict["open"], verdict["reasons"]) == (True, [])
    assert "  note: gates.yaml differs from main's, which judges in CI" in lines(verdict)
    monkeypatch.setenv("BASE_REF", "main")
    verdict = collect()
    assert verdict["open"] is False
    [reason] = verdict["reasons"]
    assert "the thresholds are not those of main: run `python -m ops thresholds`" in reason


@pytest.mark.gate("blessing", "thresholds of the base branch", "open")
@pytest.mark.usefixtures("change")
def test_the_thresholds_of_the_base_branch_take_their_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ops.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", "main")
    for said in ("the one of this change waits for it", "gates.yaml is that of main"):
        assert restore() == 0
        assert said in capsys.readouterr().err
        assert Path("gates.yaml").read_text() == STRICT
    assert collect()["open"] is True


@pytest.mark.usefixtures("change")
def test_a_deleted_gates_yaml_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", "main")
    Path("gates.yaml").unlink()
    assert collect()["open"] is False
    assert restore() == 0
    assert Path("gates.yaml").read_text() == STRICT


@pytest.mark.usefixtures("change")
def test_a_base_branch_without_the_file_leaves_it_to_the_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ops.gates.thresholds import restore

    git("switch", "--quiet", "--orphan", "empty")
    git("commit", "--quiet", "--allow-empty", "-m", "nothing yet")
    git("switch", "--quiet", "loosen")
    monkeypatch.setenv("BASE_REF", "empty")
    assert restore() == 0
    assert Path("gates.yaml").read_text() == LOOSE
    assert collect()["open"] is True


@pytest.mark.usefixtures("change")
@pytest.mark.parametrize(
    ("base", "code", "sentence"),
    [
        ("", 2, "BASE_REF names no branch: set it"),
        ("nowhere", 3, "git knows no nowhere: run `git fetch origin`"),
        ("--output=x", 3, "git knows no --output=x"),
    ],
)
def test_a_base_that_cannot_be_read_stops(
    monkeypatch: pytest.MonkeyPatch, base: str, code: int, sentence: str
) -> None:
    from ops.console import Stop
    from ops.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", base)
    with pytest.raises(Stop, match=sentence) as stop:
        restore()
    assert stop.value.code == code
    assert Path("gates.yaml").read_text() == LOOSE
    assert not Path("x").exists()


# --- why there is no champion -----------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "  bootstrap: first model\n"])
def test_the_reason_for_a_bootstrap_is_written_down(change: Path, before: str) -> None:
    from ops.gates.thresholds import bootstrap

    Path("gates.yaml").write_text(STRICT.replace("  rules:", f"{before}  rules:"))
    assert bootstrap('new market:\n  "no" model   yet') == 0
    text = Path("gates.yaml").read_text()
    assert yaml.safe_load(text)["model"]["bootstrap"] == 'new market: "no" model yet'
    assert "# agreed with the business" in text
    assert text.count("bootstrap:") == 1


@pytest.mark.usefixtures("change")
@pytest.mark.parametrize(
    ("gates", "reason", "sentence"),
    [
        (STRICT, "  ", "--bootstrap wants the reason"),
        ("data: {rows_min: 1}\n", "x", "gates.yaml has no line `model:`"),
        ("model: {rules: []}\n", "x", "gates.yaml has no line `model:`"),
    ],
)
def test_a_bootstrap_without_reason_or_place_is_refused(
    gates: str, reason: str, sentence: str
) -> None:
    from ops.console import Stop
    from ops.gates.thresholds import bootstrap

    Path("gates.yaml").write_text(gates)
    with pytest.raises(Stop, match=sentence):
        bootstrap(reason)
    assert Path("gates.yaml").read_text() == gates
