"""Whether a commit is one of main, and the digest of a folder as DVC has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import git, refused

from gatehouse.core.project import Project
from gatehouse.vcs.git import on_main


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRY_SECONDS", "0.01")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")


@pytest.fixture
def made(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commits of main, oldest first, and at the end one that only another branch has."""
    monkeypatch.chdir(tmp_path)
    git("clone", "--quiet", f"file://{origin}", "work")
    monkeypatch.chdir("work")
    tree = git("hash-object", "-t", "tree", "-w", "/dev/null")
    commits = [git("commit-tree", tree, "-m", "0")]
    for n in range(1, 60):
        commits.append(git("commit-tree", tree, "-p", commits[-1], "-m", str(n)))
    other = git("commit-tree", tree, "-p", commits[3], "-m", "other")
    git("push", "--quiet", "origin", f"{commits[-1]}:refs/heads/main", f"{other}:refs/heads/other")
    return [*commits, other]


def test_a_clone_knows_it_without_asking(made: list[str], origin: Path) -> None:
    git("fetch", "--quiet", "origin")
    origin.rename(origin.with_name("away"))
    assert on_main(Project(), made[0])
    assert on_main(Project(), made[-2])
    refused(lambda: on_main(Project(), made[-1]), 3, "main could not be fetched")


@pytest.mark.parametrize("depth", [0, 1, 50])
def test_it_is_fetched_until_it_is_known(
    made: list[str], origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """As actions/checkout leaves it: a commit, detached, and no branch at all."""
    git("init", "--quiet", str(tmp_path / "runner"))
    monkeypatch.chdir(tmp_path / "runner")
    git("remote", "add", "origin", f"file://{origin}")
    how = [f"--depth={depth}"] if depth else []
    git("fetch", "--quiet", *how, "origin", "refs/heads/other")
    git("checkout", "--quiet", "--detach", "FETCH_HEAD")
    assert on_main(Project(), made[-2])
    assert on_main(Project(), made[0])
    assert not on_main(Project(), made[-1])
    assert not on_main(Project(), "1" * 40)


def test_what_main_has_got_meanwhile_is_seen(made: list[str], origin: Path) -> None:
    git("fetch", "--quiet", "origin")
    git("-C", str(origin), "update-ref", "refs/heads/main", made[5])
    git("update-ref", "refs/remotes/origin/main", made[2])
    assert on_main(Project(), made[4])


def test_without_an_origin_main_is_here(made: list[str]) -> None:
    git("remote", "remove", "origin")
    git("checkout", "--quiet", "--detach", made[-1])
    assert on_main(Project(), made[-1]), "no branch at all: as it is proven in CD"
    assert not on_main(Project(), made[9])
    git("update-ref", "refs/heads/main", made[9])
    assert on_main(Project(), made[9])
    assert not on_main(Project(), made[-1])


def test_an_origin_without_main_has_no_commit_of_it(made: list[str], origin: Path) -> None:
    git("-C", str(origin), "update-ref", "-d", "refs/heads/main")
    git("update-ref", "-d", "refs/remotes/origin/main")
    assert not on_main(Project(), made[0])


def test_a_folder_has_the_digest_that_dvc_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.vcs.dvc import md5_of, recorded

    monkeypatch.chdir(tmp_path)
    for name in ("model.json", "b/x.bin", "B", "ä", "b.json"):
        Path("model", name).parent.mkdir(parents=True, exist_ok=True)
        Path("model", name).write_text(name, encoding="utf-8")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    for words in (("init", "--quiet", "--no-scm"), ("add", "--quiet", "model")):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True, env=environment)
    assert recorded(Project(), Path("model.dvc")) == {"model": md5_of(Path("model"))}
