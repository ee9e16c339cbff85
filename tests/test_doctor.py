"""The doctor: each line seen well and seen ill, and nothing heavy imported for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import rendered

from gatehouse.core import environments
from gatehouse.core.project import Project

HOUSE = Path(__file__).resolve().parents[1] / "src"
Lines = list[tuple[str, str, str]]
See = Callable[[str], Lines]
REMOTE = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../storage\n"


def put(path: str, content: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    Path(path).write_text(text, encoding="utf-8")


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


def edit(path: str, **changes: Any) -> None:
    """Change keys of a YAML file; None deletes one."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) | changes
    put(path, {key: value for key, value in content.items() if value is not None})


def make(name: str) -> None:
    """An environment, as far as the doctor looks."""
    put(str(environments.python(name)), "")
    text = environments._digest(environments.lock_text(name), environments._version(name))
    environments._mark(name, "lock", text)


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that lacks nothing."""
    from gatehouse.gates import verdict

    monkeypatch.chdir(tmp_path)
    for name, text in {"GLOBAL": os.devnull, "SYSTEM": os.devnull}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
    monkeypatch.setattr(verdict, "stale_stages", lambda _: [])
    for name in ("params.yaml", "gates.yaml", "ml-canvas.yaml", "tests/behaviour.yaml"):
        put(name, rendered(name))
    for name in ("data/source.csv", "data/source.csv.dvc"):
        put(name, "x")
    for name in ("train", "serve", "checks"):
        put(f"requirements/{name}.txt", "x==1\n")
        make(name)
    column = {"type": "string", "role": "feature", "sensitive": True}
    put("schema.yaml", {"target": "late", "classes": [False, True], "columns": {"town": column}})
    put("dvc.lock", "{}")
    put(".dvc/config", REMOTE)
    git("init", "-q", "-b", "main")
    put(".git/hooks/pre-commit", "x")
    put(".github/CODEOWNERS", rendered(".github/CODEOWNERS", github_owner="x"))
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.org")
    git("remote", "add", "origin", "../elsewhere.git")
    git("add", "dvc.lock", "schema.yaml")
    git("commit", "-qm", "x")
    return tmp_path


@pytest.fixture
def see(healthy: Path, capsys: pytest.CaptureFixture[str]) -> See:
    """Ask the doctor, and give (what, status, fix) of the lines with this status."""
    from gatehouse.doctor import doctor

    def see(status: str) -> Lines:
        code = doctor(Project(), as_json=True)
        lines = json.loads(capsys.readouterr().out)
        assert code == any(line["status"] == "lacking" for line in lines)
        assert all(line["fix"] for line in lines if line["status"] != "ok")
        return [tuple(line.values()) for line in lines if line["status"] == status]

    return see


def test_nothing_is_lacking_in_a_healthy_repository(see: See) -> None:
    assert see("lacking") == see("advice") == []
    assert len(see("ok")) >= 10


def no_remote() -> None:
    put(".dvc/config", "[core]\n    analytics = false\n")


def edit_schema(**column: Any) -> None:
    edit("schema.yaml", columns={"town": {"type": "string", "sensitive": True, **column}})
    git("commit", "-qam", "x")


def edit_rules(*rules: Any) -> None:
    edit("gates.yaml", model={"rows_min": 10, "rules": list(rules)})


GAP = {"metric": "skill", "slice": "sensitive", "gap": 0.2}


@pytest.mark.parametrize(
    ("harm", "what", "fix"),
    [
        (lambda: shutil.rmtree(".venv"), ".venv is not here", "make setup"),
        (
            lambda: Path(".venv-checks/.gatehouse-lock").unlink(),
            ".venv-checks is not as its lock says",
            "make setup",
        ),
        (
            lambda: put("requirements/serve.txt", "x==2\n"),
            ".venv-serve is not as its lock says",
            "make setup",
        ),
        (
            lambda: Path("requirements/serve.txt").unlink(),
            "requirements/serve.txt is not there",
            "git checkout requirements/serve.txt",
        ),
        (lambda: Path("data/source.csv").unlink(), "data/source.csv is not here", "gatehouse data"),
        (
            lambda: Path("data/source.csv.dvc").unlink(),
            "data/source.csv is not versioned by DVC",
            "dvc add data/source.csv",
        ),
        (lambda: Path("params.yaml").unlink(), "params.yaml is not there", "git checkout"),
        (lambda: edit("schema.yaml", columns={}), "describes no columns", "gatehouse schema"),
        (lambda: put("schema.yaml", "a: ["), "schema.yaml, line 1, is not valid", "correct it"),
        (lambda: edit("gates.yaml", model={}), "gates.yaml has no model.rules", "git checkout"),
        (lambda: edit("gates.yaml", data={}), "gates.yaml has no data.rows_min", "git checkout"),
        (
            lambda: edit_rules(GAP, {"metric": "skill", "minimum": 1}),
            "gates.yaml: skill: its rule in gates.yaml has an unknown key 'minimum'",
            "correct it",
        ),
        (
            lambda: edit("ml-canvas.yaml", decisions={"low": 1}),
            "ml-canvas.yaml: decisions.low: there is no such field",
            "correct this entry",
        ),
        (
            lambda: edit("ml-canvas.yaml", impact_simulation={"gain": {"a": {"a": 1}}}),
            "ml-canvas.yaml: impact_simulation.gain lacks the class 'false'",
            "name every class",
        ),
        (lambda: Path("ml-canvas.yaml").unlink(), "ml-canvas.yaml is not there", "git checkout"),
        (
            lambda: put("tests/behaviour.yaml", "a: ["),
            "tests/behaviour.yaml, line 1, is not valid",
            "correct it",
        ),
        (lambda: Path("dvc.lock").unlink(), "the pipeline never ran", "make pipeline"),
        (no_remote, "git has a remote and DVC none", "dvc remote add --default storage URL"),
        (lambda: put(".dvc/config", "remote"), ".dvc/config cannot be read", "git checkout"),
        (lambda: put(".github/CODEOWNERS", "# * @x"), "names nobody", ".github/CODEOWNERS"),
        (
            lambda: put(".github/CODEOWNERS", "/gates.yaml @x"),
            "leaves schema.yaml, dvc.yaml",
            ".github/CODEOWNERS",
        ),
    ],
)
def test_what_is_lacking_is_one_line_with_its_cure(
    see: See, harm: Callable[[], None], what: str, fix: str
) -> None:
    harm()
    [(said, _, cure)] = see("lacking")
    assert what in said
    assert fix in cure


@pytest.mark.parametrize(
    ("harm", "what", "fix"),
    [
        (
            lambda: put("champion/champion.json", '{"found": true}'),
            "gates.yaml: model.bootstrap still stands there",
            "delete that line",
        ),
        (
            lambda: edit_schema(sensitive=False),
            "no group is declared that the model must treat alike",
            "sensitive: true",
        ),
        (
            lambda: edit_rules({"metric": "skill", "min": 0.1}),
            "no rule looks at the gap between sensitive groups",
            "gap: 0.2",
        ),
        (lambda: edit_schema(note="free text"), "columns: town (free text)", "delete the note"),
        (
            lambda: edit("ml-canvas.yaml", decisions=None),
            "ml-canvas.yaml: decisions is empty",
            "write down decisions",
        ),
        (
            lambda: put("tests/behaviour.yaml", "behaviours: []"),
            "behaviour.yaml declares none",
            "write down one",
        ),
        (lambda: edit("schema.yaml", task="binary"), "schema.yaml is not committed", "git add"),
        (lambda: put("dvc.lock", "a: 1"), "dvc.lock is not committed", "git add dvc.lock"),
        (lambda: git("remote", "remove", "origin"), "git has no remote", "git remote add"),
        (
            lambda: Path(".git/hooks/pre-commit").unlink(),
            "nothing looks for secrets",
            "gatehouse hooks",
        ),
        (lambda: git("config", "--unset", "user.email"), "git knows no user.email", "git config"),
        (lambda: git("config", "--unset", "user.name"), "git knows no user.name", "git config"),
    ],
)
def test_advice_is_one_line_and_closes_nothing(
    see: See, harm: Callable[[], None], what: str, fix: str
) -> None:
    harm()
    [(said, _, cure)] = see("advice")
    assert what in said
    assert fix in cure
    assert see("lacking") == []


def test_a_pipeline_out_of_date_names_its_stages(see: See, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.gates import verdict

    monkeypatch.setattr(verdict, "stale_stages", lambda _: ["split", "train"])
    [(said, _, cure)] = see("lacking")
    assert (said, cure) == ("the pipeline is out of date: split, train", "make pipeline")


def test_a_gap_of_a_named_column_is_fairness_enough(see: See) -> None:
    edit_schema(sensitive=False)
    edit_rules({"metric": "skill", "slice": "town", "gap": 0.2})
    assert see("advice") == []


def test_without_git_remote_a_dvc_remote_is_not_asked_for(see: See) -> None:
    no_remote()
    git("remote", "remove", "origin")
    assert see("lacking") == []


def test_whoever_is_alone_needs_no_owner_yet(see: See) -> None:
    git("remote", "remove", "origin")
    put(".github/CODEOWNERS", rendered(".github/CODEOWNERS", github_owner=""))
    assert see("lacking") == []
    assert any("names nobody" in what for what, _, _ in see("advice"))


def test_the_branch_as_data_remote_waits_for_its_first_push(see: See) -> None:
    put(".dvc/config", REMOTE.replace("../storage", "../.dvc-storage"))
    assert see("advice") == [
        ("nothing was pushed to the branch dvc-storage", "advice", "make push")
    ]
    put("x", "x")
    git("add", "x")
    git("commit", "-qm", "x")
    git("update-ref", "refs/remotes/origin/dvc-storage", "HEAD")
    assert see("advice") == []


def test_a_bootstrap_without_a_champion_is_right(see: See) -> None:
    put("champion/champion.json", '{"found": false}')
    assert see("advice") == []


def test_a_folder_that_is_no_repository_says_so(
    see: See, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(healthy.parent))
    (healthy / ".git").rename(healthy / "not-git")
    [(said, _, cure)] = see("lacking")
    assert said == "this is no git repository"
    assert cure.startswith("git init")


def test_what_was_ejected_is_listed(see: See) -> None:
    before = see("ok")
    put("deploy/Dockerfile", "FROM scratch")
    after = [line for line in see("ok") if line not in before]
    assert after == [("in place of the library's: deploy/Dockerfile", "ok", "")]


def test_many_notes_are_counted(see: See) -> None:
    column = {"type": "string", "sensitive": True, "note": "free text"}
    edit("schema.yaml", columns={f"c{k:03}": column for k in range(500)})
    git("commit", "-qam", "x")
    [(said, _, _)] = see("advice")
    assert said.endswith("c004 (free text) and 495 more")


def test_a_person_reads_what_is_lacking_last(
    healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.doctor import doctor

    no_remote()
    edit("ml-canvas.yaml", decisions=None)
    assert doctor(Project(), as_json=False) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    *_, advice, first, lacking, second, counts = said.splitlines()
    assert advice == "advice    ml-canvas.yaml: decisions is empty"
    assert first == "          write down decisions"
    assert lacking.startswith("lacking   git has a remote and DVC none")
    assert second.strip().startswith("dvc remote add")
    assert counts.endswith(" ok, 1 advice, 1 lacking")


def test_marks_are_coloured_on_a_terminal(
    healthy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.doctor import doctor

    no_remote()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    doctor(Project(), as_json=False)
    said = capsys.readouterr().out
    assert "\x1b[31mlacking \x1b[0m  git has a remote" in said
    assert "\x1b[32mok      \x1b[0m  " in said


def test_nothing_heavy_is_imported(healthy: Path) -> None:
    script = (
        "import sys; from gatehouse.core.project import Project; "
        "from gatehouse.doctor import doctor; doctor(Project(), as_json=True); "
        "print([m for m in ('pandas', 'pyarrow', 'dvc', 'sklearn', 'mlflow') if m in sys.modules])"
    )
    Path("dvc.lock").unlink()  # so that DVC is not asked
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("rules", "status"),
    [("deletion\nnon_fast_forward\nupdate", "ok"), ("deletion\nnon_fast_forward", "advice")],
)
def test_who_may_write_the_record_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str, status: str
) -> None:
    from gatehouse import doctor

    gh = tmp_path / "gh"
    gh.write_text(f"#!/bin/sh\ncat <<'EOF'\n{rules}\nEOF\n")
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [line.status for line in doctor.writers(Project(tmp_path), "environments")] == [status]
    gh.write_text("#!/bin/sh\nexit 1\n")
    assert list(doctor.writers(Project(tmp_path), "environments")) == []
    gh.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(doctor.writers(Project(tmp_path), "environments")) == []
