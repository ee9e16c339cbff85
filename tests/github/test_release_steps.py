"""What cd.yml tells GitHub: one issue for releases that failed, a pull request or its link."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_files import put

from gatehouse.core.project import Project


@pytest.fixture
def failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[tuple[str, str, Any]]]:
    """The issues that there are, and what is written."""
    from gatehouse.github import issues as module

    issues: list[dict[str, Any]] = []
    written: list[tuple[str, str, Any]] = []

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        written.append((method, path, body))
        return 201, {"html_url": "https://github.com/acme/widget/issues/3"}

    monkeypatch.setattr(module, "call", call)
    monkeypatch.setattr(module, "pages", lambda _: issues)
    about = {"GITHUB_REPOSITORY": "acme/widget", "GITHUB_RUN_ID": "7", "COMMIT": "c" * 40}
    needs = {"image": {"result": "success", "outputs": {}}}
    needs["staging"] = {"result": "failure", "outputs": {"why": "deploy: `x` @everyone\n<b>"}}
    about |= {"GITHUB_SERVER_URL": "https://github.com", "NEEDS": json.dumps(needs)}
    for name, value in about.items():
        monkeypatch.setenv(name, value)
    return issues, written


def test_one_issue_is_opened_and_then_commented_on(failing: Any) -> None:
    from gatehouse.github.release import failed

    marker = "<!-- gatehouse-release -->"

    issues, written = failing
    issues += [
        {"number": 1, "user": {"login": "eve"}, "body": marker},
        {"number": 2, "user": {"login": "github-actions[bot]"}, "body": None},
    ]
    failed(Project())
    method, path, body = written.pop()
    assert (method, path) == ("POST", "repos/acme/widget/issues")
    assert body["body"].startswith(marker)
    assert (
        "**staging failed** ([run](https://github.com/acme/widget/actions/runs/7)" in body["body"]
    )
    assert "```text\ndeploy: 'x' @everyone\n<b>\n```" in body["body"]
    issues.append({"number": 3, "user": {"login": "github-actions[bot]"}, "body": body["body"]})
    failed(Project())
    assert written.pop()[1] == "repos/acme/widget/issues/3/comments"


def test_a_refused_pull_request_is_left_to_a_person(
    failing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github import pulls, release
    from gatehouse.registry import promote
    from gatehouse.registry.record import Record

    said = {"message": "GitHub Actions is not permitted to create or approve pull requests."}

    def refuse(_method: str, _path: str, body: Any = None) -> tuple[int, Any]:
        return (403, said) if body else (200, [])

    digest = "sha256:" + "a" * 64
    made = Record("promote", "x:1", digest, digest, digest, {}, "c" * 40, "Jo", "", "", None, "b")
    monkeypatch.setattr(pulls, "call", refuse)
    monkeypatch.setattr(promote, "put", lambda *_: (made, True))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    release.propose(Project())
    text = (tmp_path / "summary").read_text(encoding="utf-8")
    link = "https://github.com/acme/widget/compare/environments...release-production?expand=1"
    assert link in text
    assert "not permitted to create" in text


@pytest.fixture
def judged_by_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[dict[str, str], str]]:
    """Outputs and summary of ``look``, where the lock records this MD5 for the model ("": its own)."""
    from gatehouse.github import release
    from gatehouse.vcs.dvc import md5_of

    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    put("model/model.json", {})
    Path("model/model.skops").write_text("trees")
    put("blessing.json", {"blessed": True, "model_digest": "sha256:1"})
    put("event.json", {"workflow_run": {"id": 41}})
    for name in ("OUTPUT", "STEP_SUMMARY"):
        monkeypatch.setenv(f"GITHUB_{name}", str(tmp_path / name))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.delenv("STAGING_HOST", raising=False)

    def look(md5: str) -> tuple[dict[str, str], str]:
        outs = f"    - path: model\n      hash: md5\n      md5: {md5 or md5_of(Path('model'))}\n"
        # The blessing of the lock is of another day: it is not compared.
        outs += f"    - path: blessing.json\n      hash: md5\n      md5: {'0' * 32}\n"
        Path("dvc.lock").write_text(f"stages:\n  train:\n    outs:\n{outs}")
        for name in ("OUTPUT", "STEP_SUMMARY"):
            Path(name).write_text("")
        release.look(Project())
        way = [line for line in Path("OUTPUT").read_text().splitlines() if "<<" not in line]
        return {"way": way[0]}, Path("STEP_SUMMARY").read_text()

    return look


def test_the_model_that_is_recorded_is_released_whatever_its_lock_says_else(
    judged_by_ci: Any,
) -> None:
    assert judged_by_ci("") == ({"way": "prove"}, "")


def test_another_model_than_the_recorded_one_is_no_red_release(
    judged_by_ci: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    said, summary = judged_by_ci("f" * 32 + ".dir")
    assert said == {"way": "nothing"}
    assert "gatehouse github take 41" in summary
    assert capsys.readouterr().out.startswith("::warning ")


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `gh run download` finds; commands are noted in ``calls``."""
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    (artifact := tmp_path / "artifact").mkdir()
    run = subprocess.run

    def called(words: Any, **how: Any) -> Any:
        if words[0] == "gh":
            there = words[words.index("--dir") + 1]
            shutil.copytree(artifact, there, symlinks=True, dirs_exist_ok=True)
            return subprocess.CompletedProcess(words, 0, "", "")
        if "dvc" in words:
            Path("committed").write_text(" ".join(words[2:]))
            return subprocess.CompletedProcess(words, 0, "", "")
        return run(words, **how)

    monkeypatch.setattr(subprocess, "run", called)
    return artifact


def test_the_model_of_ci_takes_the_place_of_this_machines(gh: Path) -> None:
    from gatehouse.github.take import take

    for name in ("model.json", "model.skops"):
        put(f"model/{name}", {"here": 1})
        (gh / "model").mkdir(exist_ok=True)
        (gh / "model" / name).write_text("CI's")
    put("model/model.onnx", {"here": 1})
    ran: list[str] = []
    assert take(Project(), "41", lambda until: ran.append(until) or 0) == 0  # type: ignore[func-returns-value]
    assert ran == ["split", ""]
    assert {p.name: p.read_text() for p in Path("model").iterdir()} == dict.fromkeys(
        ("model.json", "model.skops"), "CI's"
    )
    assert Path("committed").read_text() == "dvc commit --quiet --force train"


@pytest.mark.parametrize("fault", ["a file more", "a link"])
def test_an_artifact_that_holds_no_model_changes_nothing(gh: Path, fault: str) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.take import take

    put("model/model.json", {"here": 1})
    (gh / "model").mkdir()
    for file in ("model.json", *(["model.skops", "model.pkl"] if fault == "a file more" else [])):
        (gh / "model" / file).write_text("x")
    if fault == "a link":
        (gh / "model/model.skops").symlink_to(gh / "model/model.json")
    with pytest.raises(Stop) as stopped:
        take(Project(), "41", lambda _: 0)
    assert stopped.value.code == "model-missing"
    assert json.loads(Path("model/model.json").read_text()) == {"here": 1}
    assert not Path("committed").exists()
