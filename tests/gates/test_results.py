"""CI believes no result that a change brings: the dvc.lock from before it, and what then differs."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gatehouse.core.project import Project

if TYPE_CHECKING:
    from gatehouse.gates.distrust import Recorded

Commit = Callable[[str | None], str]


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def lock(model: str) -> str:
    return f"schema: '2.0'\nstages:\n  train:\n    outs:\n    - path: model\n      md5: {model}\n"


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Commit a dvc.lock that records this model (None: without the file); the commit's id."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BASE_REF", "main")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")

    def commit(model: str | None) -> str:
        if model is None:
            Path("dvc.lock").unlink(missing_ok=True)
        else:
            Path("dvc.lock").write_text(lock(model))
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "-m", str(model))
        return git("rev-parse", "HEAD")

    return commit


def distrust() -> str:
    """The model that dvc.lock records after the verb; an empty text without a file."""
    from gatehouse.gates.distrust import distrust
    from gatehouse.vcs.dvc import outs

    assert distrust(Project()) == 0
    path = Path("dvc.lock")
    return outs(path.read_text()).get("model", "") if path.exists() else ""


def test_attack_results_that_a_change_brings(commit: Commit) -> None:
    """ATTACK: a `dvc.lock` whose results were written by hand, a verdict among them | CI takes the lock from before the change, and makes again what changed since"""
    commit("ours")
    git("switch", "--quiet", "-c", "change")
    commit("claimed")
    commit("claimed again")
    assert distrust() == "ours"


def test_a_merge_commit_is_run_from_the_branch_it_goes_to(commit: Commit) -> None:
    """As GitHub checks out a pull request: detached, the base first of its two parents."""
    commit("old")
    git("switch", "--quiet", "-c", "change")
    commit("claimed")
    git("switch", "--quiet", "main")
    git("commit", "--quiet", "--allow-empty", "-m", "meanwhile")
    git("switch", "--quiet", "--detach", "main")
    git("merge", "--quiet", "--no-ff", "-m", "merge", "change")
    assert distrust() == "old"


def test_a_commit_of_the_base_branch_is_run_from_its_parent(commit: Commit) -> None:
    commit("before")
    commit("claimed")
    assert distrust() == "before"


def test_without_anything_before_all_is_made(
    commit: Commit, capsys: pytest.CaptureFixture[str]
) -> None:
    commit("claimed")
    assert distrust() == ""
    assert "there are none from before this change, all is made again" in capsys.readouterr().err
    git("checkout", "--quiet", "dvc.lock")
    git("switch", "--quiet", "--orphan", "other")
    commit("claimed")
    assert distrust() == "", "a branch that shares nothing with main"


def test_a_base_without_a_lock(commit: Commit) -> None:
    commit(None)
    git("switch", "--quiet", "-c", "change")
    commit("claimed")
    assert distrust() == ""


def test_what_was_not_committed_is_not_lost(commit: Commit) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.gates.distrust import distrust

    commit("ours")
    Path("dvc.lock").write_text(lock("an hour of work"))
    with pytest.raises(Stop, match=r"dvc\.lock has changes that would be lost: commit it"):
        distrust(Project())
    assert Path("dvc.lock").read_text() == lock("an hour of work")


def judged(model: str | None) -> "Recorded":
    """What is said where CI has made and judged this model."""
    from gatehouse.gates.distrust import recorded

    Path("dvc.lock").unlink(missing_ok=True)
    if model:
        Path("dvc.lock").write_text(lock(model))
    found = recorded(Project())
    git("reset", "--quiet", "--hard")
    return found


def test_the_model_that_was_judged_is_the_one_recorded(commit: Commit) -> None:
    commit("old")
    git("switch", "--quiet", "-c", "change")
    commit("new")
    assert judged("new") == ("", "")
    assert judged(None) == ("", ""), "nothing was made"


@pytest.mark.parametrize("said", ["elsewhere", None])
def test_attack_a_lock_that_records_another_model(commit: Commit, said: str | None) -> None:
    """ATTACK: dvc.lock of the change names a weak model, or none, while CI makes and judges a good one | the gate closes where a change records another model than the one judged"""
    commit("old")
    git("switch", "--quiet", "-c", "change")
    commit(said)
    reason, note = judged("made")
    assert "records another model" in reason
    assert "`make pipeline`, commit dvc.lock, `make push`" in reason
    assert note == ""


def test_attack_a_lock_that_records_two_models(commit: Commit) -> None:
    """ATTACK: a stage that no dvc.yaml has records the good model in dvc.lock, beside the weak one of `train` | what is recorded twice and differs counts as not recorded"""
    commit("old")
    git("switch", "--quiet", "-c", "change")
    text = lock("weak") + "  train2:\n    outs:\n    - path: model\n      md5: made\n"
    Path("dvc.lock").write_text(text)
    git("commit", "--quiet", "--all", "--message", "two")
    assert "records another model (none)" in judged("made").reason


def test_attack_the_model_before_is_recorded_once_more(commit: Commit) -> None:
    """ATTACK: dvc.lock is set back to an older, weaker model that was blessed once | the same: it is not the one judged"""
    commit("weak")
    commit("good")
    git("switch", "--quiet", "-c", "change")
    commit("weak")
    assert "records another model (weak)" in judged("good").reason


def test_a_change_that_records_nothing_is_told_that_nothing_is_released(
    commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit("old")
    git("switch", "--quiet", "-c", "change")
    commit("old")
    assert "CD releases nothing: `make pipeline`" in judged("made").note
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    assert "`gatehouse github take 7`" in judged("made").note
    monkeypatch.setenv("CANDIDATE_RUN", "5")
    assert judged("made") == ("", judged("made").note)
    assert "`gatehouse github take 5`" in judged("made").note


def test_what_is_merged_is_noted_and_no_failure(commit: Commit) -> None:
    """A runner of another kind, or a first push from another kind of machine."""
    commit("first")
    assert judged("made").reason == ""
    assert "releases nothing" in judged("made").note
    commit("second")
    assert judged("made").reason == ""
