"""The data remote: a branch of the same repository, and what a fresh clone gets from it."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from projects import small_project
from repositories import flip, git, refused, tip

from gatehouse.core.project import Project
from gatehouse.vcs import data_branch as storage
from gatehouse.vcs.data_branch import push
from gatehouse.vcs.source import fetch_source as fetch

CONTENT = b"a,b\r\n1,2\n3,4\r\n"  # both line ends: git must not mend them
SOURCE = Path("data/source.csv")
FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore")
Clone = Callable[[str], Path]


@pytest.fixture
def clone(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """Another clone of the origin, where work goes on; the first makes the first commit."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Jo")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "jo@example.invalid")
        monkeypatch.setenv(f"GIT_{who}_DATE", "2026-01-01T00:00:00Z")  # the same first commit
    monkeypatch.setenv("RETRY_SECONDS", "0.01")

    def clone(name: str) -> Path:
        folder = tmp_path / name
        git("clone", "--quiet", f"file://{origin}", str(folder))
        monkeypatch.chdir(folder)
        if not Path(".dvc").exists():
            git("checkout", "--quiet", "-B", "main")
            small_project(folder, *FILES)
            Path("data").mkdir()
            Path("data/.gitignore").write_text("/source.csv\n", encoding="utf-8")
            Path("params.yaml").write_text(f"ingest:\n  source: {SOURCE}\n", encoding="utf-8")
            data(CONTENT)
            git("add", "--all")
            git("commit", "--quiet", "--message", "First")
        return folder

    return clone


def data(content: bytes) -> str:
    """A source with its pointer and its copy in the cache, as after ``dvc add``."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    SOURCE.write_bytes(content)
    cached = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(content)
    cached.chmod(0o444)
    out = {"md5": md5, "size": len(content), "hash": "md5", "path": SOURCE.name}
    Path(f"{SOURCE}.dvc").write_text(yaml.safe_dump({"outs": [out]}), encoding="utf-8")
    return md5


def new_data(content: bytes) -> str:
    md5 = data(content)
    git("commit", "--quiet", "--all", "--message", "New data")
    return md5


def stored(origin: Path) -> set[str]:
    """Digests of what the branch on the origin holds; empty without a branch."""
    words = ["git", "-C", str(origin), "ls-tree", "-r", "--name-only", "dvc-storage"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return {n[10:].replace("/", "") for n in done.stdout.split() if n.startswith("files/md5/")}


# --- pushing --------------------------------------------------------------------------------


def test_data_go_round_through_the_branch(clone: Clone, origin: Path) -> None:
    clone("one")
    assert push(Project()) == 0
    assert tip(origin, "main") == git("rev-parse", "HEAD")
    assert git("rev-parse", "--abbrev-ref", "@{upstream}") == "origin/main"
    assert git("status", "--porcelain") == ""
    assert "dvc-storage" not in git("branch"), "the branch is on the origin, and in nobody's way"
    clone("two")
    assert not SOURCE.exists()
    assert fetch(Project()) == 0
    assert SOURCE.read_bytes() == CONTENT


@pytest.mark.parametrize("key", ["core.autocrlf", "core.attributesFile"])
def test_git_mends_no_line_ends_in_data(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    attributes = tmp_path / "attributes"
    attributes.write_text("* text eol=crlf\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", key)
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true" if "auto" in key else str(attributes))
    clone("one")
    push(Project())
    clone("two")
    assert fetch(Project()) == 0
    assert SOURCE.read_bytes() == CONTENT


def test_pushing_again_changes_nothing(clone: Clone, origin: Path) -> None:
    clone("one")
    push(Project())
    before = tip(origin)
    assert push(Project()) == 0
    assert tip(origin) == before


def test_a_push_between_fetch_and_push_is_kept(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = clone("one"), clone("two")
    os.chdir(one)
    push(Project())
    first = stored(origin)
    os.chdir(two)
    theirs, whole = new_data(b"theirs"), storage._fetch
    git("reset", "--quiet", "--soft", "HEAD~1")
    fetched = []

    def meanwhile(project: Project) -> str | None:
        found: str | None = whole(project)
        fetched.append(found)
        if len(fetched) == 2:  # after the fetch of `refresh` comes that of the commit
            os.chdir(two)
            monkeypatch.setattr(storage, "_fetch", whole)
            push(Project())
            os.chdir(one)
            monkeypatch.setattr(storage, "_fetch", meanwhile)
        return found

    os.chdir(one)
    mine = new_data(b"mine")
    monkeypatch.setattr(storage, "_fetch", meanwhile)
    assert push(Project()) == 0
    assert "dvc-storage could not be pushed" in capfd.readouterr().err
    assert stored(origin) == first | {mine, theirs}
    assert git("-C", str(origin), "rev-list", "--count", "dvc-storage") == "3"


def test_what_was_pushed_stays_although_the_folder_is_gone(clone: Clone, origin: Path) -> None:
    clone("one")
    push(Project())
    shutil.rmtree(".dvc-storage")
    shutil.rmtree(".dvc/cache")
    more = new_data(b"more")
    push(Project())
    assert len(stored(origin)) == 2
    assert more in stored(origin)


def test_a_branch_deleted_on_the_origin_is_made_again(clone: Clone, origin: Path) -> None:
    clone("one")
    push(Project())
    before = stored(origin)
    git("-C", str(origin), "branch", "-D", "dvc-storage")
    push(Project())
    assert stored(origin) == before != set()


def test_without_a_git_remote_data_wait_in_the_branch_here(clone: Clone, origin: Path) -> None:
    clone("one")
    git("remote", "remove", "origin")
    for _ in range(2):
        refused(lambda: push(Project()), 2, "[no-remote]")
        assert git("rev-list", "--count", "dvc-storage") == "1"
    git("remote", "add", "origin", f"file://{origin}")
    assert push(Project()) == 0
    assert len(stored(origin)) == 1
    assert tip(origin, "main") == git("rev-parse", "HEAD")


def test_nobody_has_to_have_a_name(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone("one")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert push(Project()) == 0


def test_a_source_that_no_pipeline_has_seen_is_pushed_as_recorded(
    clone: Clone, origin: Path
) -> None:
    clone("one")
    shutil.rmtree(".dvc/cache")
    push(Project())
    assert stored(origin) == {hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}


@pytest.mark.parametrize("content", [None, b"another table"])
def test_data_that_are_nowhere_as_recorded_are_not_said_to_be_pushed(
    clone: Clone, origin: Path, content: bytes | None
) -> None:
    clone("one")
    shutil.rmtree(".dvc/cache")
    SOURCE.unlink()
    if content:
        SOURCE.write_bytes(content)
    refused(
        lambda: push(Project()),
        2,
        f"{SOURCE} cannot be pushed",
        "run `make pipeline`, commit, then `gatehouse push`",
    )
    assert git("-C", str(origin), "branch") == ""


def test_no_commit_yet(clone: Clone) -> None:
    folder = clone("one")
    git("update-ref", "-d", "HEAD")
    refused(lambda: push(Project()), 2, "[no-commit]")
    assert not (folder / ".dvc-storage").exists()


@pytest.mark.parametrize("limit", ["file", "branch"])
def test_what_github_would_refuse_is_refused_before_anything_is_pushed(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    clone("one")
    push(Project())
    before = tip(origin), tip(origin, "main"), stored(origin)
    if limit == "branch":
        monkeypatch.setattr(storage, "BRANCH_MAX", 1000)
    size = 1001 if limit == "branch" else storage.FILE_MAX + 1
    md5 = new_data(b"x" * size)
    for _ in range(2):
        refused(
            lambda: push(Project()),
            2,
            "[branch-too-large]",
            "dvc-storage",
            "dvc remote add",
        )
        assert (tip(origin), tip(origin, "main"), stored(origin)) == before
        assert not Path(".dvc-storage/files/md5", md5[:2], md5[2:]).exists()
    new_data(b"small")
    assert push(Project()) == 0


def test_a_remote_that_cannot_be_reached(
    clone: Clone, origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    push(Project())
    new_data(b"more")
    origin.rename(origin.with_name("away"))
    refused(
        lambda: push(Project()),
        3,
        "[git-failed]",
        "dvc-storage could not be fetched",
        "3 tries failed",
    )
    assert capfd.readouterr().err.count("trying again in") == 2
    origin.with_name("away").rename(origin)
    assert push(Project()) == 0


def refusing(origin: Path, branch: str) -> Path:
    """A server that takes nothing on one branch."""
    hook = origin / "hooks" / "update"
    hook.write_text(f'#!/bin/sh\ntest "$1" != refs/heads/{branch}\n', encoding="utf-8")
    hook.chmod(0o755)
    return hook


def test_a_server_that_refuses_the_data(clone: Clone, origin: Path) -> None:
    clone("one")
    hook = refusing(origin, "dvc-storage")
    refused(
        lambda: push(Project()),
        3,
        "[git-failed]",
        "dvc-storage could not be pushed",
        "3 tries failed",
    )
    assert git("-C", str(origin), "branch") == "", "no commit goes out before its data"
    hook.unlink()
    assert push(Project()) == 0


def test_a_server_that_refuses_the_branch(clone: Clone, origin: Path) -> None:
    clone("one")
    refusing(origin, "main")
    refused(lambda: push(Project()), 3, "[git-failed]", "main could not be pushed")
    assert len(stored(origin)) == 1


def test_a_branch_that_is_behind(clone: Clone, origin: Path) -> None:
    one, two = clone("one"), clone("two")
    os.chdir(one)
    push(Project())
    os.chdir(two)
    git("fetch", "--quiet")
    git("branch", "--quiet", "--set-upstream-to", "origin/main")
    os.chdir(one)
    new_data(b"mine")
    push(Project())
    os.chdir(two)
    new_data(b"theirs")
    refused(
        lambda: push(Project()),
        2,
        "[branch-moved]",
        "main",
    )


def test_a_feature_branch_is_pushed_too_and_a_detached_head_is_not(
    clone: Clone, origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    git("checkout", "--quiet", "-b", "idea")
    push(Project())
    assert tip(origin, "idea") == git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    new_data(b"more")
    assert push(Project()) == 0
    assert "no branch is checked out: only the data were pushed" in capfd.readouterr().err
    assert len(stored(origin)) == 2


def test_a_branch_that_follows_main_is_pushed_under_its_own_name(
    clone: Clone, origin: Path
) -> None:
    clone("one")
    push(Project())
    before = tip(origin, "main")
    git("checkout", "--quiet", "-b", "idea", "--track", "origin/main")
    new_data(b"more")
    assert push(Project()) == 0
    assert tip(origin, "idea") == git("rev-parse", "HEAD") != before
    assert tip(origin, "main") == before


def test_a_pointer_that_is_not_committed_is_said(
    clone: Clone, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    data(b"more")
    assert push(Project()) == 0
    assert "data/source.csv.dvc not committed: commit and push again" in capfd.readouterr().err


# --- fetching -------------------------------------------------------------------------------


def test_data_never_pushed(clone: Clone) -> None:
    clone("one")
    git("push", "--quiet", "origin", "main")
    clone("two")
    refused(
        lambda: fetch(Project()),
        2,
        str(SOURCE),
        "data not pushed: run `gatehouse push` (or `dvc push`)",
    )


def test_an_origin_that_cannot_be_reached(clone: Clone, origin: Path) -> None:
    clone("one")
    push(Project())
    two = clone("two")
    origin.rename(origin.with_name("away"))
    refused(
        lambda: fetch(Project()),
        3,
        "[git-failed]",
        "dvc-storage could not be fetched",
        "3 tries failed",
    )
    SOURCE.write_bytes(CONTENT)
    assert fetch(Project()) == 0, "nothing is wanted from there"
    assert not (two / ".dvc-storage").exists()


def test_a_flipped_byte_in_the_branch_is_named_until_it_is_mended(clone: Clone) -> None:
    clone("one")
    md5 = data(CONTENT)
    push(Project())
    git("checkout", "--quiet", "origin/dvc-storage")
    [path] = [p for p in Path("files").rglob("*") if p.is_file()]
    found = flip(path)
    git("commit", "--quiet", "--all", "--message", "Damage")
    git("push", "--quiet", "origin", "HEAD:dvc-storage")
    clone("two")
    for _ in range(2):
        refused(lambda: fetch(Project()), 2, "[data-damaged]", "data/source.csv", found, md5)
        assert not SOURCE.exists()


def test_a_link_in_the_branch_leads_nowhere(clone: Clone, origin: Path, tmp_path: Path) -> None:
    clone("one")
    push(Project())
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    git("checkout", "--quiet", "origin/dvc-storage")
    [path] = [p for p in Path("files").rglob("*") if p.is_file()]
    path.unlink()
    path.symlink_to(secret)
    git("commit", "--quiet", "--all", "--message", "Link")
    git("push", "--quiet", "origin", "HEAD:dvc-storage")
    clone("two")
    refused(lambda: fetch(Project()), 2, "[data-damaged]", "data/source.csv")
    assert not SOURCE.exists()
    assert not any(p.is_symlink() for p in Path(".dvc-storage").rglob("*"))


# --- set aside by who may only read, pushed by another -----------------------------------------


def below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def with_a_run() -> tuple[str, str]:
    """A source that is new, and an entry of the run cache; what it is called below a remote."""
    md5 = new_data(b"a,b\n5,6\n")
    run = f"runs/ab/{'ab' * 32}/{'cd' * 32}"
    Path(".dvc/cache", run).parent.mkdir(parents=True)
    Path(".dvc/cache", run).write_text("cmd: x\nouts: []\n")
    return f"files/md5/{md5[:2]}/{md5[2:]}", run


def test_what_the_remote_lacks_is_set_aside_and_taken_in_elsewhere(
    clone: Clone, origin: Path, tmp_path: Path
) -> None:
    clone("a")
    push(Project())
    before = stored(origin)
    name, run = with_a_run()
    storage.set_aside(Project(), tmp_path / "aside")
    assert below(tmp_path / "aside") == {name, run}
    storage.set_aside(Project(), tmp_path / "theirs", f"{SOURCE}.dvc")
    assert below(tmp_path / "theirs") == {name}, "a pointer alone has no runs"
    assert stored(origin) == before, "nothing was pushed"
    clone("b")
    storage.take_in(Project(), tmp_path / "aside")
    assert stored(origin) == before | {name[10:].replace("/", "")}
    assert git("-C", str(origin), "show", f"dvc-storage:{run}") == "cmd: x\nouts: []"


def test_into_a_bucket_it_goes_by_way_of_the_cache(
    clone: Clone, origin: Path, tmp_path: Path
) -> None:
    clone("a")
    name, run = with_a_run()
    storage.set_aside(Project(), tmp_path / "aside")
    folder = clone("b")
    text = f"[core]\n    remote = place\n['remote \"place\"']\n    url = {tmp_path}/bucket\n"
    (folder / ".dvc/config").write_text(text)
    storage.send(Project(), tmp_path / "aside")
    assert {name, run} <= below(tmp_path / "bucket")


def test_what_is_nowhere_is_not_set_aside(clone: Clone, tmp_path: Path) -> None:
    clone("a")
    md5 = new_data(b"a,b\n5,6\n")
    SOURCE.unlink()
    Path(".dvc/cache/files/md5", md5[:2], md5[2:]).unlink()
    refused(lambda: storage.set_aside(Project(), tmp_path / "aside"), 2, "cannot be pushed")
