"""The data remote: a branch of the same repository, and what a fresh clone gets from it."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from baked import AUTO, BakedProject, trees
from conftest import bake_into
from test_data_faults import flip, ran, store
from test_played_day import orders

CONTENT = b"a,b\r\n1,2\n3,4\r\n"  # both line ends: git must not mend them
SOURCE = Path("data/source.csv")
Clone = Callable[[str], Path]


def git(*words: str, code: int = 0) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


@pytest.fixture
def clone(
    science: BakedProject, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Clone:
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
            for file in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
                Path(file).parent.mkdir(exist_ok=True)
                Path(file).write_text(science.read(file), encoding="utf-8")
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
    store(Path(".dvc/cache"), content, md5)
    out = {"md5": md5, "size": len(content), "hash": "md5", "path": SOURCE.name}
    Path(f"{SOURCE}.dvc").write_text(yaml.safe_dump({"outs": [out]}), encoding="utf-8")
    return md5


def new_data(content: bytes) -> str:
    md5 = data(content)
    git("commit", "--quiet", "--all", "--message", "New data")
    return md5


def push() -> int:
    from ops.storage import push

    return int(push())


def fetch() -> int:
    from ops.source import fetch_source

    return int(fetch_source())


def refused(deed: Callable[[], int], code: int, *sentence: str) -> str:
    from ops.console import Stop

    with pytest.raises(Stop) as stopped:
        deed()
    said = str(stopped.value)
    assert stopped.value.code == code, said
    assert "\n" not in said
    assert [part for part in sentence if part not in said] == [], said
    return said


def stored(origin: Path) -> set[str]:
    """Digests of what the branch on the origin holds; empty without a branch."""
    words = ["git", "-C", str(origin), "ls-tree", "-r", "--name-only", "dvc-storage"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return {n[10:].replace("/", "") for n in done.stdout.split() if n.startswith("files/md5/")}


def tip(origin: Path, branch: str = "dvc-storage") -> str:
    return git("-C", str(origin), "rev-parse", "--verify", branch)


# --- pushing --------------------------------------------------------------------------------


def test_data_go_round_through_the_branch(clone: Clone, origin: Path) -> None:
    clone("one")
    assert push() == 0
    assert tip(origin, "main") == git("rev-parse", "HEAD")
    assert git("rev-parse", "--abbrev-ref", "@{upstream}") == "origin/main"
    assert git("status", "--porcelain") == ""
    assert "dvc-storage" not in git("branch"), "the branch is on the origin, and in nobody's way"
    clone("two")
    assert not SOURCE.exists()
    assert fetch() == 0
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
    push()
    clone("two")
    assert fetch() == 0
    assert SOURCE.read_bytes() == CONTENT


def test_pushing_again_changes_nothing(clone: Clone, origin: Path) -> None:
    clone("one")
    push()
    before = tip(origin)
    assert push() == 0
    assert tip(origin) == before


def test_a_push_between_fetch_and_push_is_kept(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ops import storage

    one, two = clone("one"), clone("two")
    os.chdir(one)
    push()
    first = stored(origin)
    os.chdir(two)
    theirs, whole = new_data(b"theirs"), storage._fetch
    git("reset", "--quiet", "--soft", "HEAD~1")
    fetched = []

    def meanwhile() -> str | None:
        found: str | None = whole()
        fetched.append(found)
        if len(fetched) == 2:  # after the fetch of `refresh` comes that of the commit
            os.chdir(two)
            monkeypatch.setattr(storage, "_fetch", whole)
            push()
            os.chdir(one)
            monkeypatch.setattr(storage, "_fetch", meanwhile)
        return found

    os.chdir(one)
    mine = new_data(b"mine")
    monkeypatch.setattr(storage, "_fetch", meanwhile)
    assert push() == 0
    assert "dvc-storage could not be pushed" in capfd.readouterr().err
    assert stored(origin) == first | {mine, theirs}
    assert git("-C", str(origin), "rev-list", "--count", "dvc-storage") == "3"


def test_what_was_pushed_stays_although_the_folder_is_gone(clone: Clone, origin: Path) -> None:
    clone("one")
    push()
    shutil.rmtree(".dvc-storage")
    shutil.rmtree(".dvc/cache")
    more = new_data(b"more")
    push()
    assert len(stored(origin)) == 2
    assert more in stored(origin)


def test_a_branch_deleted_on_the_origin_is_made_again(clone: Clone, origin: Path) -> None:
    clone("one")
    push()
    before = stored(origin)
    git("-C", str(origin), "branch", "-D", "dvc-storage")
    push()
    assert stored(origin) == before != set()


def test_without_a_git_remote_data_wait_in_the_branch_here(clone: Clone, origin: Path) -> None:
    clone("one")
    git("remote", "remove", "origin")
    for _ in range(2):
        refused(push, 2, "git has no remote: `git remote add origin URL`")
        assert git("rev-list", "--count", "dvc-storage") == "1"
    git("remote", "add", "origin", f"file://{origin}")
    assert push() == 0
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
    assert push() == 0


def test_a_source_that_no_pipeline_has_seen_is_pushed_as_recorded(
    clone: Clone, origin: Path
) -> None:
    clone("one")
    shutil.rmtree(".dvc/cache")
    push()
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
    refused(push, 2, f"{SOURCE} cannot be pushed", "run `make pipeline`, commit, then `make push`")
    assert git("-C", str(origin), "branch") == ""


def test_no_commit_yet(clone: Clone) -> None:
    folder = clone("one")
    git("update-ref", "-d", "HEAD")
    refused(push, 2, "git has no commit here: `git init")
    assert not (folder / ".dvc-storage").exists()


@pytest.mark.parametrize("limit", ["file", "branch"])
def test_what_github_would_refuse_is_refused_before_anything_is_pushed(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    from ops import storage

    clone("one")
    push()
    before = tip(origin), tip(origin, "main"), stored(origin)
    if limit == "branch":
        monkeypatch.setattr(storage, "BRANCH_MAX", 1000)
    size = 1001 if limit == "branch" else storage.FILE_MAX + 1
    md5 = new_data(b"x" * size)
    for _ in range(2):
        refused(push, 2, "branch dvc-storage takes, and nothing was pushed", "dvc remote add")
        assert (tip(origin), tip(origin, "main"), stored(origin)) == before
        assert not Path(".dvc-storage/files/md5", md5[:2], md5[2:]).exists()
    new_data(b"small")
    assert push() == 0


def test_a_remote_that_cannot_be_reached(
    clone: Clone, origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    push()
    new_data(b"more")
    origin.rename(origin.with_name("away"))
    refused(push, 3, "dvc-storage could not be fetched", "3 tries failed")
    assert capfd.readouterr().err.count("trying again in") == 2
    origin.with_name("away").rename(origin)
    assert push() == 0


def refusing(origin: Path, branch: str) -> Path:
    """A server that takes nothing on one branch."""
    hook = origin / "hooks" / "update"
    hook.write_text(f'#!/bin/sh\ntest "$1" != refs/heads/{branch}\n', encoding="utf-8")
    hook.chmod(0o755)
    return hook


def test_a_server_that_refuses_the_data(clone: Clone, origin: Path) -> None:
    clone("one")
    hook = refusing(origin, "dvc-storage")
    refused(push, 3, "dvc-storage could not be pushed", "3 tries failed")
    assert git("-C", str(origin), "branch") == "", "no commit goes out before its data"
    hook.unlink()
    assert push() == 0


def test_a_server_that_refuses_the_branch(clone: Clone, origin: Path) -> None:
    clone("one")
    refusing(origin, "main")
    refused(push, 3, "main could not be pushed")
    assert len(stored(origin)) == 1


def test_a_branch_that_is_behind(clone: Clone, origin: Path) -> None:
    one, two = clone("one"), clone("two")
    os.chdir(one)
    push()
    os.chdir(two)
    git("fetch", "--quiet")
    git("branch", "--quiet", "--set-upstream-to", "origin/main")
    os.chdir(one)
    new_data(b"mine")
    push()
    os.chdir(two)
    new_data(b"theirs")
    refused(push, 2, "main has new commits on origin: `git pull --rebase`, then `make push`")


def test_a_feature_branch_is_pushed_too_and_a_detached_head_is_not(
    clone: Clone, origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    git("checkout", "--quiet", "-b", "idea")
    push()
    assert tip(origin, "idea") == git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    new_data(b"more")
    assert push() == 0
    assert "no branch is checked out: only the data were pushed" in capfd.readouterr().err
    assert len(stored(origin)) == 2


def test_a_branch_that_follows_main_is_pushed_under_its_own_name(
    clone: Clone, origin: Path
) -> None:
    clone("one")
    push()
    before = tip(origin, "main")
    git("checkout", "--quiet", "-b", "idea", "--track", "origin/main")
    new_data(b"more")
    assert push() == 0
    assert tip(origin, "idea") == git("rev-parse", "HEAD") != before
    assert tip(origin, "main") == before


def test_a_pointer_that_is_not_committed_is_said(
    clone: Clone, capfd: pytest.CaptureFixture[str]
) -> None:
    clone("one")
    data(b"more")
    assert push() == 0
    assert "data/source.csv.dvc not committed: commit and push again" in capfd.readouterr().err


# --- fetching -------------------------------------------------------------------------------


def test_data_never_pushed(clone: Clone) -> None:
    clone("one")
    git("push", "--quiet", "origin", "main")
    clone("two")
    refused(fetch, 2, str(SOURCE), "data not pushed: run `dvc push` (`make push`)")


def test_an_origin_that_cannot_be_reached(clone: Clone, origin: Path) -> None:
    clone("one")
    push()
    two = clone("two")
    origin.rename(origin.with_name("away"))
    refused(fetch, 3, "dvc-storage could not be fetched", "3 tries failed")
    SOURCE.write_bytes(CONTENT)
    assert fetch() == 0, "nothing is wanted from there"
    assert not (two / ".dvc-storage").exists()


def test_a_flipped_byte_in_the_branch_is_named_until_it_is_mended(clone: Clone) -> None:
    clone("one")
    md5 = data(CONTENT)
    push()
    git("checkout", "--quiet", "origin/dvc-storage")
    [path] = [p for p in Path("files").rglob("*") if p.is_file()]
    found = flip(path)
    git("commit", "--quiet", "--all", "--message", "Damage")
    git("push", "--quiet", "origin", "HEAD:dvc-storage")
    clone("two")
    for _ in range(2):
        refused(fetch, 2, "data/source.csv is damaged", found, md5)
        assert not SOURCE.exists()


def test_a_link_in_the_branch_leads_nowhere(clone: Clone, origin: Path, tmp_path: Path) -> None:
    clone("one")
    push()
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    git("checkout", "--quiet", "origin/dvc-storage")
    [path] = [p for p in Path("files").rglob("*") if p.is_file()]
    path.unlink()
    path.symlink_to(secret)
    git("commit", "--quiet", "--all", "--message", "Link")
    git("push", "--quiet", "origin", "HEAD:dvc-storage")
    clone("two")
    refused(fetch, 2, "data/source.csv is damaged")
    assert not SOURCE.exists()
    assert not any(p.is_symlink() for p in Path(".dvc-storage").rglob("*"))


# --- a whole project ------------------------------------------------------------------------

MADE = {  # what gate, report and service read
    "blessing.json",
    "metrics.json",
    "model/model.json",
    "model/model.skops",
    "predictions/test.parquet",
    "reports/data.json",
    "reports/model.json",
    "reports/model_tests.json",
    "data/test.parquet",
}


@pytest.fixture(scope="module")
def pushed(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project whose pipeline has run once, and that was pushed; its origin lies beside it."""
    folder = tmp_path_factory.mktemp("storage")
    orders(3000, seed=1).to_csv(folder / "orders.csv", index=False)
    answers = {"data": str(folder / "orders.csv"), "target": "returned", "project_name": "Orders"}
    project = bake_into(folder, **answers).borrow_environments(environments)
    git("init", "--quiet", "--bare", "-b", "main", str(folder / "origin.git"))
    project.git("remote", "add", "origin", f"file://{folder}/origin.git")
    project.make("setup", "pipeline")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "First candidate")
    project.make("push")
    return project


def cloned(project: BakedProject, folder: Path, origin: str = "origin.git") -> BakedProject:
    """A fresh, shallow clone as CI has it, of one branch."""
    url = f"file://{project.path.parent / origin}"
    git("clone", "--quiet", "--depth", "1", url, str(folder / "clone"))
    return BakedProject(folder / "clone").borrow_environments(project)


@pytest.mark.slow
def test_a_fresh_clone_runs_nothing_again(pushed: BakedProject, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path)
    started = time.monotonic()
    said = clone.make("pipeline", "gate", "report")
    assert ran(said.stdout) == ["champion"]
    assert time.monotonic() - started < 60
    assert "OPEN: the candidate is blessed" in said.stdout
    assert clone.files() >= MADE
    assert clone.git("status", "--porcelain") == ""
    clone.run(".venv-serve/bin/python", "-c", "import src.orders.service.bento")
    assert "nothing changed" in clone.make("pipeline").stdout
    tip = clone.git("rev-parse", "origin/dvc-storage")
    clone.make("push")
    assert clone.git("rev-parse", "origin/dvc-storage") == tip


@pytest.mark.slow
def test_in_a_fresh_clone_only_what_lies_behind_a_change_runs(
    pushed: BakedProject, tmp_path: Path
) -> None:
    clone = cloned(pushed, tmp_path)
    clone.replace("params.yaml", AUTO, trees(90))
    said = clone.make("pipeline")
    behind = {"train", "champion", "evaluate", "model_checks", "model_tests", "blessing"}
    assert set(ran(said.stdout)) == behind | {"catalogue"}
    assert "champion: the blessed model of origin/" in said.stderr
    clone.git("checkout", "--", ".")
    assert ran(clone.make("pipeline").stdout) == ["champion"]


@pytest.mark.slow
def test_a_fresh_clone_of_what_was_never_pushed(pushed: BakedProject, tmp_path: Path) -> None:
    git("clone", "--quiet", "--bare", "--single-branch", str(pushed.path), str(tmp_path / "o.git"))
    clone = cloned(pushed, tmp_path, os.path.relpath(tmp_path / "o.git", pushed.path.parent))
    said = clone.make("pipeline", code=2)
    assert "data not pushed: run `dvc push` (`make push`)" in said.stderr
    assert ran(said.stdout) == []
    shutil.copyfile(pushed.path / "data/source.csv", clone.path / "data/source.csv")
    said = clone.activated("make", "data")
    assert said.stderr == ""
    plan = clone.run(".venv/bin/dvc", "repro", "--dry", "ingest").stdout
    assert ran(plan) == ["ingest"], "what cannot be had is made"


@pytest.mark.slow
def test_a_damaged_result_is_not_built_upon(pushed: BakedProject, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path)
    stages = clone.yaml("dvc.lock")["stages"]
    [train] = [o["md5"] for o in stages["split"]["outs"] if o["path"] == "data/train.parquet"]
    copy = shutil.copytree(pushed.path.parent / "origin.git", tmp_path / "damaged.git")
    git("clone", "--quiet", "--branch", "dvc-storage", str(copy), str(tmp_path / "branch"))
    branch = BakedProject(tmp_path / "branch")
    found = flip(branch.path / "files/md5" / train[:2] / train[2:])
    branch.git("commit", "--quiet", "--all", "--message", "Damage")
    branch.git("push", "--quiet")
    clone.git("remote", "set-url", "origin", f"file://{copy}")
    said = clone.make("pipeline", code=2)
    assert f"data/train.parquet is damaged, its digest is {found} and not {train}" in said.stderr
    assert ran(said.stdout) == []
