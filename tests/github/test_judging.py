"""The judge in a run of GitHub: what it is asked, what it says, and what is kept of it."""

import sys
from pathlib import Path

import pytest
from repositories import git

from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.github import judging


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout of main, and a branch `words` of prose and one `seed` of another parameter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.delenv("HEAD_SHA", raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")
    for branch, name in (("main", "README.md"), ("words", "README.md"), ("seed", "params.yaml")):
        if branch != "main":
            git("switch", "--quiet", "--create", branch, "main")
        Path(name).write_text(f"{branch}\n")
        git("add", name)
        git("commit", "--quiet", "--message", branch)
    git("switch", "--quiet", "main")
    return Project(tmp_path)


def asked(project: Project, head: str, says: str = "", code: int = 0) -> tuple[int, list[str]]:
    """The exit code, and the words of the verb that was called."""
    called: list[str] = []

    def own(words: list[str]) -> list[str]:
        called.extend(words)
        return [sys.executable, "-c", f"print({says!r}); raise SystemExit({code})"]

    with pytest.MonkeyPatch.context() as patch:
        if head:
            patch.setenv("HEAD_SHA", git("rev-parse", head).strip())
        return judging.judge(project, own), called


def test_main_is_judged_as_it_is_checked_out(here: Project) -> None:
    assert asked(here, "") == (0, ["judge"])
    assert asked(here, "", code=1) == (1, ["judge"])


def test_a_change_is_judged_by_its_head(here: Project) -> None:
    Path("handed").mkdir()
    Path("handed/ci.log").write_text("of the candidate\n" * 5000)
    code, words = asked(here, "seed", says="of the judge", code=1)
    assert (code, words) == (1, ["judge", git("rev-parse", "seed").strip()])
    kept = Path("reports/ci.log").read_text()
    assert len(kept) <= judging.MOST + 100
    assert kept.endswith("of the candidate\nof the judge\n")


def test_prose_needs_no_environment_and_says_that_there_is_no_verdict(here: Project) -> None:
    assert asked(here, "words") == (0, [])
    assert Path("reports/report.md").read_text() == judging.NOTHING
    assert judging.NOTHING in Path("summary.md").read_text()


def test_what_cannot_be_judged_is_told(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAD_SHA", "0" * 40)
    with pytest.raises(Stop) as said:
        judging.judge(here, lambda words: words)
    assert said.value.code == "judge-no-commit"
    assert Path("reports/report.md").read_text().startswith("## ❌ Not judged: ")


def test_an_older_report_is_none(here: Project) -> None:
    Path("reports").mkdir()
    Path("reports/report.md").write_text("## ✅ Blessed\n")
    asked(here, "seed", code=2)
    assert not Path("reports/report.md").exists()
