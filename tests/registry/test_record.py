"""The record: promoted by compare-and-swap, read strictly, and never half written."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gate_files import put
from records import candidate, digest, tip
from repositories import git, refused

from gatehouse.core.digests import file_digest
from gatehouse.core.project import Project

Clone = Callable[[str], Path]
SOURCES = Path(__file__).resolve().parents[2] / "src"
RUN = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7"}


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    for name in ("BASE_REF", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETRY_SECONDS", "0.01")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for n, (key, value) in enumerate([("name", "Jo"), ("email", "jo@example.invalid")]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{n}", f"user.{key}")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{n}", value)


@pytest.fixture
def clone(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """Another clone of the origin, where work goes on."""

    def clone(name: str) -> Path:
        git("clone", "--quiet", f"file://{origin}", str(tmp_path / name))
        monkeypatch.chdir(tmp_path / name)
        git("checkout", "--quiet", "-B", "main")
        for folder in ("model", "reports"):
            Path(folder).mkdir()
        return tmp_path / name

    return clone


@pytest.fixture
def here(clone: Clone) -> Path:
    return clone("one")


def promote(to: str = "staging", why: str = "") -> int:
    from gatehouse.registry.promote import promote

    return int(promote(Project(), to, why, as_json=False))


def release(version: str, champion: str = "", **more: Any) -> str:
    """A candidate that walks to production."""
    model = candidate(version, champion, **more)
    for to in ("staging", "production"):
        assert promote(to, version) == 0
    return model


def told(origin: Path, environment: str = "production") -> Any:
    """What the origin's branch says."""
    return json.loads(git("-C", str(origin), "show", f"environments:{environment}.json"))


def commits(origin: Path) -> list[str]:
    """Messages of the branch, newest first; none without a branch."""
    words = ["git", "-C", str(origin), "log", "--format=%s", "environments"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def elsewhere(folder: Path, to: str) -> "subprocess.Popen[str]":
    """Another promoter, in a process of its own."""
    code = "from gatehouse.core.project import Project\n"
    code += "from gatehouse.registry.promote import promote\n"
    code += f"promote(Project(), {to!r}, '', as_json=False)"
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(SOURCES)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


# --- promoting ------------------------------------------------------------------------------


@pytest.mark.gate("promotion", "a blessed candidate", "open")
@pytest.mark.gate("promotion", "a blessed image", "open")
@pytest.mark.gate("promotion", "one model in blessing, image and lock", "open")
@pytest.mark.gate("promotion", "in staging before production", "open")
@pytest.mark.gate("promotion", "the champion that the blessing compared with", "open")
def test_the_first_release_walks_through_staging(
    here: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = candidate("v1")
    head = git("rev-parse", "HEAD")
    assert promote("staging", "first  try\nof all") == 0
    short = model.removeprefix("sha256:")[:7]
    assert commits(origin) == [f"staging: promote model {short} (first try of all)"]
    assert promote("production") == 0
    said, image = told(origin), json.loads(Path("reports/image.json").read_text())
    keys = ("image", "id", "model", "blessing", "commit", "data")
    assert {key: said[key] for key in keys} == {key: image[key] for key in keys}
    assert (said["action"], said["who"], said["why"]) == ("promote", "Jo <jo@example.invalid>", "")
    assert said["previous"] is None
    assert len(said) == 12
    out, err = capsys.readouterr()
    assert out.startswith(f"staging: model {short}, image registry.example:5000/team/flights@")
    assert "make deploy ENV=production" in err
    # Nobody's work tree, index or branch is touched.
    assert git("rev-parse", "HEAD") == head
    assert "dvc.lock" not in git("status", "--porcelain")
    assert git("branch", "--format=%(refname:short)") == "main"
    names = git("-C", str(origin), "ls-tree", "--name-only", "environments").split()
    blessing = f"blessing-{said['blessing'][7:14]}.json"
    assert names == [blessing, "production.json", "staging.json"]
    kept = git("-C", str(origin), "show", f"environments:{blessing}")
    assert json.loads(kept) == json.loads(Path("blessing.json").read_text())


def test_promoting_again_changes_nothing(
    here: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release("v1")
    before = tip(origin, "environments")
    capsys.readouterr()
    for to in ("staging", "production"):
        assert promote(to, "again") == 0
        assert f"{to} has it already, since " in capsys.readouterr().err
    assert tip(origin, "environments") == before


def test_production_may_have_it_already_while_staging_has_gone_on(here: Path, origin: Path) -> None:
    first = release("v1")
    files = {path: Path(path).read_bytes() for path in ("blessing.json", "reports/image.json")}
    lock = Path("dvc.lock").read_bytes()
    candidate("v2", first)
    promote("staging")
    candidate("v1")
    for path, content in (files | {"dvc.lock": lock}).items():
        Path(path).write_bytes(content)
    assert promote("production") == 0
    assert told(origin)["model"] == first


def test_json_is_the_record(here: Path, origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gatehouse.registry.promote import promote

    candidate("v1")
    promote(Project(), "staging", "", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said.pop("environment"), said.pop("changed")) == ("staging", True)
    assert said.pop("at") == tip(origin, "environments")
    assert {"version": 1, **said} == told(origin, "staging")
    promote(Project(), "staging", "", as_json=True)
    assert json.loads(capsys.readouterr().out)["changed"] is False


def test_who_is_the_actor_of_the_workflow(
    here: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.registry.promote import who

    for name, value in (RUN | {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat"}).items():
        monkeypatch.setenv(name, value)
    assert who(Project()) == "octocat (https://github.com/o/r/actions/runs/7)"
    monkeypatch.delenv("GITHUB_RUN_ID")
    assert who(Project()) == "octocat"


def test_git_that_knows_nobody_can_write_all_the_same(
    here: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate("v1")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "")
    monkeypatch.setenv("GIT_CONFIG_KEY_1", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", "true")
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("LOGNAME", "night")
    assert promote() == 0
    assert told(origin, "staging")["who"] == "night"


def test_other_files_of_the_branch_stay(here: Path, origin: Path) -> None:
    candidate("v1")
    git("checkout", "--quiet", "--orphan", "records")
    git("rm", "--quiet", "--cached", "-r", ".")
    for name in ("README.md", "notes/ä b.md"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("Read me.", encoding="utf-8")
    git("add", "README.md", "notes")
    git("commit", "--quiet", "--message", "Notes")
    git("push", "--quiet", "origin", "records:environments")
    git("checkout", "--quiet", "--force", "main")
    assert promote() == 0
    words = ("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "environments")
    assert git("-C", str(origin), *words).splitlines() == [
        "README.md",
        f"blessing-{told(origin, 'staging')['blessing'][7:14]}.json",
        "notes/ä b.md",
        "staging.json",
    ]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.gate("promotion", "a blessed candidate", "closed")
def test_what_nobody_blessed_is_refused(here: Path, origin: Path) -> None:
    candidate("v1")
    blessing = json.loads(Path("blessing.json").read_text())
    put("blessing.json", blessing | {"blessed": False})
    refused(promote, 1, "[model-not-blessed]", "make gate")
    put("blessing.json", blessing | {"blessed": "true"})
    refused(promote, 2, "[file-damaged]", "blessing.json", "blessed")
    Path("blessing.json").unlink()
    refused(promote, 2, "[file-missing]", "blessing.json", "make pipeline")
    assert commits(origin) == []


@pytest.mark.gate("promotion", "a blessed image", "closed")
def test_an_image_that_nobody_blessed_is_refused(here: Path, origin: Path) -> None:
    candidate("v1", reasons=["latency is 90 ms, above 50"])
    refused(promote, 1, "[image-not-blessed]", "latency is 90 ms, above 50", "make image")
    Path("reports/image.json").unlink()
    refused(promote, 2, "[file-missing]", "reports/image.json", "make image")
    assert commits(origin) == []


@pytest.mark.gate("promotion", "one model in blessing, image and lock", "closed")
def test_an_image_of_another_model_is_refused(here: Path, origin: Path) -> None:
    candidate("v1", model=f"sha256:{'0' * 64}")
    refused(promote, 1, "[image-of-other-model]", "reports/image.json", "make image")
    candidate("v1", blessing=f"sha256:{'0' * 64}")
    refused(promote, 1, "[image-of-other-model]", "reports/image.json", "make image")
    candidate("v1")
    Path("model/model.skops").write_text("changed by a byte", encoding="utf-8")
    refused(promote, 1, "[model-not-blessed]", "make gate")
    assert commits(origin) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", "registry.example/flights:latest"),
        ("image", "--privileged"),
        ("image", None),
        ("id", "sha256:12"),
        ("commit", "main"),
        ("data", {"dataset": "yesterday's"}),
        ("data", []),
    ],
)
def test_a_damaged_image_file_is_refused(here: Path, origin: Path, key: str, value: Any) -> None:
    candidate("v1", **{key: value})
    refused(promote, 2, f"reports/image.json is damaged ({key}", "make image")
    assert commits(origin) == []


def test_an_image_of_this_machine_alone_goes_by_its_id(here: Path, origin: Path) -> None:
    candidate("v1", image="flight-delays:1a2b3c4")
    assert promote() == 0
    assert told(origin, "staging")["image"] == "flight-delays:1a2b3c4"


@pytest.mark.gate("promotion", "one model in blessing, image and lock", "closed")
def test_a_model_whose_lock_nobody_committed_is_refused(here: Path, origin: Path) -> None:
    candidate("v1")
    image = json.loads(Path("reports/image.json").read_text())
    candidate("v2")
    other = git("rev-parse", "HEAD")
    candidate("v1")
    put("reports/image.json", image | {"commit": other})
    refused(promote, 1, "has another model", "commit dvc.lock")
    git("rm", "--quiet", "--cached", "dvc.lock")
    git("commit", "--quiet", "--message", "No lock")
    git("push", "--quiet", "origin", "HEAD:main")
    put("reports/image.json", image | {"commit": git("rev-parse", "HEAD")})
    refused(promote, 1, "has another model", "commit dvc.lock")
    candidate("v1", commit="0" * 40)
    refused(promote, 1, "[model-not-of-lock]", "dvc.lock", "0000000")
    assert commits(origin) == []


def test_a_blessing_that_ci_wrote_anew_is_the_same_model(here: Path, origin: Path) -> None:
    """The champion of then, the judge or the day may differ: the model is what is recorded."""
    candidate("v1")
    put("blessing.json", json.loads(Path("blessing.json").read_text()) | {"rows": 1})
    image = json.loads(Path("reports/image.json").read_text())
    put("reports/image.json", image | {"blessing": file_digest(Path("blessing.json"))})
    assert promote() == 0


@pytest.mark.gate("promotion", "in staging before production", "closed")
def test_production_takes_only_what_is_in_staging(here: Path, origin: Path) -> None:
    first = candidate("v1")
    refused(
        lambda: promote("production"),
        1,
        "[not-in-staging]",
        "nothing was released",
    )
    promote("staging")
    candidate("v2")
    refused(
        lambda: promote("production"),
        1,
        "[not-in-staging]",
        "registry.example:5000/team/flig",
    )
    assert len(commits(origin)) == 1
    assert told(origin, "staging")["model"] == first


# --- the champion ---------------------------------------------------------------------------


@pytest.mark.gate("promotion", "the champion that the blessing compared with", "closed")
def test_a_changed_champion_wants_another_blessing(
    here: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = release("v1")
    second = release("v2", first)
    # The third was compared with the first, before the second came.
    candidate("v3", first)
    capsys.readouterr()
    assert promote("staging") == 0
    said = capsys.readouterr().err
    assert "the champion has changed since the blessing" in said
    assert "production will not take it" in said
    sentence = (
        f"the candidate was compared with model {first[7:14]}): run `make pipeline gate image`"
    )
    refused(
        lambda: promote("production"),
        1,
        f"model {second[7:14]} is in production",
        sentence,
    )
    assert told(origin)["model"] == second
    third = candidate("v3", second, build="judged again")
    promote("staging")
    assert promote("production") == 0
    assert told(origin)["model"] == third


@pytest.mark.gate("promotion", "the champion that the blessing compared with", "closed")
def test_a_bootstrap_is_for_the_first_release_alone(here: Path, origin: Path) -> None:
    release("v1")
    candidate("v2")
    promote("staging")
    refused(lambda: promote("production"), 1, "[record-moved]", "champion", "with no champion")


def test_before_the_first_release_another_champion_is_right(here: Path, origin: Path) -> None:
    # The latest blessed model of the base branch, which nobody released.
    release("v1", f"sha256:{'9' * 64}")
    assert told(origin)["previous"] is None


def test_another_image_of_the_champion_wants_no_comparison(here: Path, origin: Path) -> None:
    first = release("v1")
    release("v1", build="on a newer base")
    assert told(origin)["model"] == first
    assert told(origin)["previous"]


@pytest.mark.gate("promotion", "the champion that the blessing compared with", "closed")
def test_after_a_rollback_the_champion_is_another(here: Path, origin: Path) -> None:
    from gatehouse.registry.promote import back

    first = release("v1")
    second = release("v2", first)
    candidate("v3", second)
    promote("staging")
    back(Project(), "production", "v2 is slow")
    refused(lambda: promote("production"), 1, f"model {first[7:14]} is in production")


@pytest.mark.parametrize("shallow", [False, True])
def test_the_champion_is_looked_for_along_the_record(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch, shallow: bool
) -> None:
    from gatehouse.registry import champion

    def found() -> tuple[str, str]:
        """(ref, model) of the champion; without one, what champion.json says."""
        Path("reports/champion.json").unlink(missing_ok=True)
        champion.fetch(Project())
        if not Path("reports/champion.json").exists():
            return "", Path("champion/champion.json").read_text()
        said = json.loads(Path("reports/champion.json").read_text())
        return said["ref"], git("show", "--format=%s", "--no-patch", said["commit"])

    monkeypatch.setattr(champion, "_bring", lambda *_: True)
    folder = clone("one")
    first = release("v1")
    assert "released" in found()[1], "the candidate is in production, and the first there was"
    second = release("v2", first)
    git("push", "--quiet", "origin", "main")
    assert found() == ("the release before", "Model v1"), "as it was before the release"
    candidate("v3", second)
    git("push", "--quiet", "origin", "main")
    if shallow:
        words = ("--quiet", "--depth=1", "--branch=main", f"file://{origin}", "../shallow")
        git("clone", *words)
        monkeypatch.chdir("../shallow")
        Path("reports").mkdir()
        shutil.copytree(folder / "model", "model")
        assert found()[0] != "production", "nobody has fetched the record"
        monkeypatch.setenv("BASE_REF", "origin/main")
    assert found() == ("production", "Model v2")
    monkeypatch.chdir(folder)
    git("update-ref", "-d", "refs/remotes/origin/environments")
    monkeypatch.setenv("BASE_REF", "origin/main")
    assert found() == ("production", "Model v2")


def test_a_record_that_names_no_blessed_model_is_no_champion(here: Path, origin: Path) -> None:
    from gatehouse.registry import champion

    release("v1")
    candidate("v2")
    git("rm", "--quiet", "--cached", "dvc.lock")
    git("commit", "--quiet", "--message", "No lock")
    git("push", "--quiet", "origin", "HEAD:main")
    foreign(origin, "production.json", told(origin) | {"commit": git("rev-parse", "HEAD")})
    git("fetch", "--quiet", "origin")
    refused(lambda: champion.fetch(Project()), 2, "[champion-missing]", "for production")


# --- the origin -----------------------------------------------------------------------------


def test_without_an_origin_the_branch_is_here(here: Path, origin: Path) -> None:
    git("remote", "remove", "origin")
    first = release("v1")
    release("v2", first)
    assert len(git("log", "--format=%s", "environments").splitlines()) == 4
    assert json.loads(git("show", "environments:production.json"))["previous"]
    # An origin that comes later takes the history along.
    git("remote", "add", "origin", f"file://{origin}")
    candidate("v3")
    promote("staging")
    assert len(commits(origin)) == 5


def test_an_origin_that_cannot_be_reached_is_infrastructure(here: Path, origin: Path) -> None:
    candidate("v1")
    promote("staging")
    origin.rename(origin.with_name("away"))
    refused(
        lambda: promote("production"),
        3,
        "[git-failed]",
        "environments could not be fetched",
        "3 tries failed",
    )
    from gatehouse.deploy.status import history, status

    refused(
        lambda: history(Project(), None, as_json=False),
        3,
        "[git-failed]",
        "environments could not be fetched",
    )
    refused(
        lambda: status(Project(), as_json=False, html=False),
        3,
        "[git-failed]",
        "environments could not be fetched",
    )
    origin.with_name("away").rename(origin)
    assert promote("production") == 0


def test_an_origin_that_refuses_is_told_as_it_is(here: Path, origin: Path) -> None:
    candidate("v1")
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'you may not' >&2\nexit 1\n")
    hook.chmod(0o755)
    refused(
        promote, 3, "[git-failed]", "environments could not be pushed", "pre-receive hook declined"
    )
    hook.unlink()
    assert promote() == 0


def test_an_answer_that_is_lost_is_no_failure(
    here: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gatehouse.vcs.git
    from gatehouse.vcs import branch_store as branch

    candidate("v1")
    run = gatehouse.vcs.git.run

    def deaf(project: Project, *words: str, **more: Any) -> Any:
        done = run(project, *words, **more)
        if words[0] == "push":
            done.returncode = 128
        return done

    monkeypatch.setattr(branch, "run", deaf)
    assert promote() == 0
    assert len(commits(origin)) == 1


# --- somebody else --------------------------------------------------------------------------


def test_who_is_second_decides_again(
    clone: Clone,
    origin: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gatehouse.vcs.branch_store import Branch

    other = clone("two")
    second = candidate("v2")
    clone("one")
    first = candidate("v1")
    commit = Branch.commit
    theirs: list[tuple[str, str]] = []

    def late(*words: Any) -> Any:
        made = commit(*words)
        if not theirs:  # between what I read and what I write, the other one is there
            done = elsewhere(other, "staging")
            theirs.append(done.communicate())
            assert done.returncode == 0, theirs
        return made

    monkeypatch.setattr(Branch, "commit", late)
    assert promote() == 0
    assert "somebody else was first" in capsys.readouterr().err
    said = told(origin, "staging")
    assert said["model"] == first
    before = json.loads(git("-C", str(origin), "show", f"{said['previous']}:staging.json"))
    assert before["model"] == second, "nobody's release is lost"
    assert len(commits(origin)) == 2


def test_who_is_second_for_production_is_refused(
    clone: Clone, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.vcs.branch_store import Branch

    clone("one")
    first = release("v1")
    git("push", "--quiet", "origin", "main")
    other = clone("two")
    second = candidate("v2", first)
    monkeypatch.chdir("../one")
    candidate("v3", first)
    promote("staging")
    commit = Branch.commit

    def late(*words: Any) -> Any:
        made = commit(*words)
        if told(origin)["model"] == first:
            for to in ("staging", "production"):
                done = elsewhere(other, to)
                assert done.wait() == 0
        return made

    monkeypatch.setattr(Branch, "commit", late)
    refused(lambda: promote("production"), 1, "[not-in-staging]")
    assert told(origin)["model"] == second


def test_the_other_environment_is_no_conflict(clone: Clone, origin: Path) -> None:
    folders = []
    for name in ("one", "two", "three"):
        folders.append(clone(name))
        candidate(name)
    done = [elsewhere(folder, "staging") for folder in folders]
    said = [one.communicate() for one in done]
    assert [one.returncode for one in done] == [0, 0, 0], said
    assert len(commits(origin)) == 3
    at, models = told(origin, "staging"), set()
    while at:
        models.add(at["model"])
        text = at["previous"] and git("-C", str(origin), "show", f"{at['previous']}:staging.json")
        at = json.loads(text) if text else None
    assert len(models) == 3, "each is in the chain of what was before"


def test_who_is_always_second_gives_up(
    here: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.vcs.branch_store import Branch

    candidate("v1")
    monkeypatch.setattr(Branch, "push", lambda *_: False)
    refused(promote, 3, "[branch-moved]", "environments changed 5 times")


# --- killed ---------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("remote", [True, False])
def test_killed_at_any_step_the_record_is_the_old_or_the_new_one(
    here: Path, origin: Path, monkeypatch: pytest.MonkeyPatch, moment: str, remote: bool
) -> None:
    import gatehouse.vcs.git
    from gatehouse.registry import record
    from gatehouse.registry.promote import back
    from gatehouse.vcs import branch_store as branch
    from gatehouse.vcs import data_branch as storage

    if not remote:
        git("remote", "remove", "origin")
    place = origin if remote else here
    run, left = gatehouse.vcs.git.run, [0]

    def fragile(project: Project, *words: str, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            raise Killed
        done = run(project, *words, **more)
        if left[0] == 0:
            raise Killed
        return done

    for module in (gatehouse.vcs.git, storage, branch, record):
        monkeypatch.setattr(module, "run", fragile)

    def deed(model: str, do: Callable[[], Any]) -> int:
        """Kill ``do`` at every step: afterwards the record is whole, and again it converges."""
        steps = 0
        old = told(place)
        while True:
            steps += 1
            left[0] = steps
            try:
                do()
            except Killed:
                now = told(place)
                assert now == old or now["model"] == model
                continue
            finally:
                left[0] = 0
            assert told(place)["model"] == model
            return steps

    first = release("v1")
    second = candidate("v2", first)
    promote("staging")
    count = len(git("-C", str(place), "log", "--format=%h", "environments").splitlines())
    assert deed(second, lambda: promote("production")) > 8
    log = git("-C", str(place), "log", "--format=%h", "environments").splitlines()
    assert len(log) == count + 1, "one change, however often it was killed"
    second_at = record.read(Project(), "production", record.tip(Project()))

    def again() -> None:
        now = record.read(Project(), "production", record.tip(Project()))
        if now and second_at and now.at == second_at.at:
            back(Project(), "production", "bad", only=second_at)

    assert deed(first, again) > 8


# --- back -----------------------------------------------------------------------------------


def test_back_goes_from_release_to_release(here: Path, origin: Path) -> None:
    from gatehouse.registry.promote import back

    first = release("v1")
    second = release("v2", first)
    third = release("v3", second)
    one = told(origin)
    assert one["model"] == third
    went = back(Project(), "production", "p99 is too high")
    assert (went.model, went.action, went.why) == (second, "rollback", "p99 is too high")
    assert went.at == tip(origin, "environments")
    assert told(origin)["model"] == second
    assert commits(origin)[0] == f"production: rollback model {second[7:14]} (p99 is too high)"
    assert back(Project(), "production", "").model == first
    refused(
        lambda: back(Project(), "production", ""), 1, "[no-way-back]", "production", "registry."
    )
    assert told(origin)["model"] == first
    assert told(origin, "staging")["model"] == third, "the other environment stays"
    refused(lambda: back(Project(), "production", "", only=went), 1, "[record-moved]")


def test_a_release_after_a_rollback_goes_back_to_what_was_rolled_back_to(
    here: Path, origin: Path
) -> None:
    from gatehouse.registry.promote import back

    first = release("v1")
    second = release("v2", first)
    release("v3", second)
    back(Project(), "production", "")
    release("v4", second)
    assert [back(Project(), "production", "").model for _ in range(2)] == [second, first]


def test_nothing_released_is_nothing_to_go_back_from(here: Path, origin: Path) -> None:
    from gatehouse.registry.promote import back

    refused(lambda: back(Project(), "production", ""), 1, "[nothing-promoted]", "production")


def test_restore_puts_a_release_back(here: Path, origin: Path) -> None:
    from gatehouse.registry.promote import restore

    first = release("v1")
    at = tip(origin, "environments")
    release("v2", first)
    assert restore(Project(), "production", at, "by name").model == first
    assert told(origin)["action"] == "rollback"
    assert told(origin)["previous"] is None
    count = len(commits(origin))
    assert restore(Project(), "production", at, "again").model == first
    assert len(commits(origin)) == count


# --- damaged --------------------------------------------------------------------------------


def foreign(origin: Path, name: str, content: Any) -> None:
    """Somebody writes into the branch by hand."""
    text = content if isinstance(content, str) else json.dumps(content)
    place = ("-C", str(origin))
    words = ["git", *place, "hash-object", "-w", "--stdin"]
    blob = subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout
    listed = [
        line for line in git(*place, "ls-tree", "environments").splitlines() if name not in line
    ]
    lines = "\n".join([*listed, f"100644 blob {blob.strip()}\t{name}"]) + "\n"
    words = ["git", *place, "mktree"]
    tree = subprocess.run(words, input=lines, capture_output=True, text=True, check=True).stdout
    parent = tip(origin, "environments")
    made = git(*place, "commit-tree", tree.strip(), "-p", parent, "-m", "By hand")
    git(*place, "update-ref", "refs/heads/environments", made)


def weak(origin: Path, version: str = "weak") -> dict[str, Any]:
    """A commit of another branch, never merged, that holds a model; as a record would name it."""
    model = {path: Path(path).read_bytes() for path in ("model/model.json", "model/model.skops")}
    lock, head = Path("dvc.lock").read_bytes(), git("rev-parse", "HEAD")
    outs = {"model": digest(version)[:32], "blessing.json": digest(version + "b")[:32]}
    listed = [{"path": path, "md5": md5} for path, md5 in outs.items()]
    Path("dvc.lock").write_text(json.dumps({"stages": {"train": {"outs": listed}}}))
    git("commit", "--quiet", "--all", "--message", "Never merged")
    git("push", "--quiet", "origin", "HEAD:refs/heads/weak")
    commit = git("rev-parse", "HEAD")
    git("reset", "--quiet", "--hard", head)
    for path, content in (model | {"dvc.lock": lock}).items():
        Path(path).write_bytes(content)
    return {"commit": commit, "model": f"sha256:{digest(version)}"}


def code_of(deed: Callable[[], object]) -> str:
    """The stable code of the error that it ends with."""
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop) as stopped:
        deed()
    return stopped.value.code


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], bytes]:
    """What DVC has: (commit, path of a file) -> its content."""
    from gatehouse.registry import champion

    files: dict[tuple[str, str], bytes] = {}

    def get(_: Project, path: str, made_by: str, out: Path) -> None:
        for (commit, name), content in files.items():
            if commit == made_by and (name == path or name.startswith(f"{path}/")):
                to = out / name.removeprefix(path).lstrip("/")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(content)

    monkeypatch.setattr(champion, "dvc_get", get)
    return files


def kept_by_dvc(stored: dict[tuple[str, str], bytes], version: str, champion: str = "") -> str:
    """A candidate whose lock records what is really there, released; its commit."""
    candidate(version, champion)
    commit = git("rev-parse", "HEAD")
    for to in ("staging", "production"):
        assert promote(to) == 0
    for path in [*Path("model").iterdir(), Path("blessing.json")]:
        stored[commit, str(path)] = path.read_bytes()
    return commit


@pytest.mark.parametrize("shallow", [False, True])
def test_attack_a_record_of_a_commit_that_was_never_on_main(
    here: Path,
    origin: Path,
    runs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shallow: bool,
) -> None:
    """ATTACK: a record on `environments` names a commit that was never on main, with a weak model | a commit that is none of main is never used, and the record is named"""
    from gatehouse import doctor
    from gatehouse.deploy import rollout
    from gatehouse.monitoring import reference
    from gatehouse.registry import champion
    from gatehouse.registry.promote import back
    from gatehouse.retraining import facts

    first = release("v1")
    release("v2", first)
    foreign(origin, "production.json", told(origin) | {"previous": None} | weak(origin))
    candidate("v3")
    if shallow:
        words = ("--quiet", "--depth=1", "--branch=main", f"file://{origin}", "../shallow")
        git("clone", *words)
        shutil.copytree("model", "../shallow/model")
        monkeypatch.chdir("../shallow")
    monkeypatch.setenv("BASE_REF", "origin/main")
    monkeypatch.setattr(rollout, "environment", lambda *_: None)
    monkeypatch.setattr(facts, "load", lambda _: mock.Mock())
    deploy = partial(rollout.deploy, name="production")
    for deed in (champion.fetch, reference.bring, deploy, facts.gather):
        assert code_of(partial(deed, Project())) == "record-not-of-main"
    assert not Path("champion").exists(), "nothing weaker took its place"
    [line] = [line for line in doctor._lines(Project(), doctor.release) if line.status != "ok"]
    assert line.status == "lacking"
    capsys.readouterr()
    runs["staging"] = up(origin, "staging")
    assert status() == 3
    out = capsys.readouterr().out
    assert "production  unknown: production.json of" in out
    assert "none of main" in out
    assert code_of(lambda: back(Project(), "production", "")) == "no-way-back"
    assert told(origin)["previous"] is None, "nothing was written"


def test_attack_a_record_of_the_head_of_a_pull_request(here: Path, origin: Path) -> None:
    """ATTACK: the record names the pull request's own commit, so that its model is the champion and is compared with nobody | only a commit of main is a release"""
    from gatehouse.registry import champion

    release("v1")
    git("checkout", "--quiet", "-b", "change")
    forged = weak(origin)
    git("fetch", "--quiet", "origin", "weak")
    git("checkout", "--quiet", "--force", "FETCH_HEAD")
    foreign(origin, "production.json", told(origin) | forged)
    git("fetch", "--quiet", "origin", "environments:refs/remotes/origin/environments")
    assert code_of(lambda: champion.fetch(Project())) == "record-not-of-main"


def test_attack_the_release_before_was_never_on_main(here: Path, origin: Path) -> None:
    """ATTACK: `previous` of the record leads to a commit that was never on main | the way back follows the same rule"""
    from gatehouse.registry import champion
    from gatehouse.registry.promote import back, restore

    first = release("v1")
    release("v2", first)
    good = told(origin)
    foreign(origin, "production.json", good | weak(origin))
    bad = tip(origin, "environments")
    foreign(origin, "production.json", good | {"previous": bad})
    git("fetch", "--quiet", "origin")
    assert code_of(lambda: back(Project(), "production", "")) == "record-not-of-main"
    assert code_of(lambda: restore(Project(), "production", bad, "")) == "record-not-of-main"
    # The candidate is in production, so it would be compared with the release before.
    assert code_of(lambda: champion.fetch(Project())) == "record-not-of-main"
    assert told(origin) == good | {"previous": bad}


def test_a_record_that_is_not_used_is_left_by_a_rollback(here: Path, origin: Path) -> None:
    from gatehouse.registry import record
    from gatehouse.registry.promote import back

    first = release("v1")
    at = tip(origin, "environments")
    foreign(origin, "production.json", told(origin) | {"previous": at} | weak(origin))
    assert back(Project(), "production", "forged").model == first
    assert record.read(Project(), "production", record.tip(Project())) is not None


def test_attack_a_lock_edited_to_name_another_model(
    here: Path, origin: Path, stored: dict[tuple[str, str], bytes]
) -> None:
    """ATTACK: the record names a commit of main whose dvc.lock has another, weaker model | the model must be the one that the record says"""
    from gatehouse.registry import champion

    old = kept_by_dvc(stored, "v1")
    model = json.loads(Path("blessing.json").read_text())["model_digest"]
    kept_by_dvc(stored, "v2", model)
    candidate("v3")
    git("fetch", "--quiet", "origin")
    assert champion.fetch(Project()) == 0
    found = json.loads(Path("champion/champion.json").read_text())
    assert found["model_digest"] == told(origin)["model"]
    foreign(origin, "production.json", told(origin) | {"commit": old})
    git("fetch", "--quiet", "origin")
    assert code_of(lambda: champion.fetch(Project())) == "champion-not-blessed"
    # Also where the lock there names the candidate's own model, which would be passed over.
    foreign(origin, "production.json", told(origin) | {"commit": git("rev-parse", "HEAD")})
    git("fetch", "--quiet", "origin")
    assert code_of(lambda: champion.fetch(Project())) == "champion-not-blessed"


@pytest.mark.parametrize("path", ["model/model.skops", "blessing.json"])
def test_attack_another_file_under_the_digest_of_the_lock(
    here: Path, origin: Path, stored: dict[tuple[str, str], bytes], path: str
) -> None:
    """ATTACK: the data remote holds another model or blessing under the digest of dvc.lock | what comes is held against the lock"""
    from gatehouse.registry import champion

    commit = kept_by_dvc(stored, "v1")
    git("push", "--quiet", "origin", ":environments")
    git("fetch", "--quiet", "--prune", "origin")
    candidate("v2")
    git("fetch", "--quiet", "origin")
    assert champion.fetch(Project()) == 0, "no release yet: the latest of main"
    shutil.rmtree("champion")
    content = stored[commit, path]
    stored[commit, path] = content.replace(b"v1", b"v0") if b"v1" in content else content + b" "
    assert code_of(lambda: champion.fetch(Project())) == "champion-not-blessed"
    assert not Path("champion").exists()


def test_attack_a_blessing_edited_on_the_branch(
    here: Path, origin: Path, stored: dict[tuple[str, str], bytes]
) -> None:
    """ATTACK: the blessing that the branch keeps beside a record is edited | its digest stands in the record"""
    from gatehouse.registry import champion, record

    kept_by_dvc(stored, "v1")
    name = record.kept_as(told(origin)["blessing"])
    candidate("v2")
    text = git("-C", str(origin), "show", f"environments:{name}")
    foreign(origin, name, text.replace('"blessed": true', '"blessed":  true'))
    foreign(origin, "production.json", told(origin) | {"why": "edited"})
    git("fetch", "--quiet", "origin")
    assert code_of(lambda: champion.fetch(Project())) == "record-damaged"


def test_a_release_from_before_blessings_were_kept_has_that_of_its_lock(
    here: Path, origin: Path, stored: dict[tuple[str, str], bytes]
) -> None:
    from gatehouse.registry import champion, record

    commit = kept_by_dvc(stored, "v1")
    whole = told(origin)
    name = record.kept_as(whole["blessing"])
    place = ("-C", str(origin))
    listed = git(*place, "ls-tree", "environments").splitlines()
    lines = "\n".join(line for line in listed if name not in line) + "\n"
    words = ["git", *place, "mktree"]
    tree = subprocess.run(words, input=lines, capture_output=True, text=True, check=True).stdout
    made = git(*place, "commit-tree", tree.strip(), "-m", "As it was")
    git(*place, "update-ref", "refs/heads/environments", made)
    candidate("v2")
    git("fetch", "--quiet", "origin")
    assert champion.fetch(Project()) == 0
    assert json.loads(Path("reports/champion.json").read_text())["commit"] == commit


def test_attack_a_champion_that_the_change_brings_along(
    here: Path,
    origin: Path,
    stored: dict[tuple[str, str], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ATTACK: champion/ is there already, with the right champion.json and a weak model | in CI it is always fetched anew"""
    from gatehouse.registry import champion

    kept_by_dvc(stored, "v1")
    candidate("v2")
    monkeypatch.setenv("BASE_REF", "origin/main")
    assert champion.fetch(Project()) == 0
    Path("champion/model.skops").write_text("weak")
    assert champion.fetch(Project()) == 0
    assert Path("champion/model.skops").read_text() == "v1"


def test_attack_a_candidate_that_was_never_merged_is_promoted(here: Path, origin: Path) -> None:
    """ATTACK: somebody who may write the record promotes from a branch that nobody merged | promote records commits of main alone"""
    first = release("v1")
    candidate("v2", first)
    git("push", "--quiet", "--force", "origin", "HEAD~1:refs/heads/main")
    git("fetch", "--quiet", "origin")
    count = len(commits(origin))
    for to in ("staging", "production"):
        assert code_of(partial(promote, to)) == "commit-not-of-main"
    git("remote", "remove", "origin")
    git("branch", "--force", "other")
    git("checkout", "--quiet", "other")
    git("branch", "--force", "main", "HEAD~1")
    assert code_of(promote) == "commit-not-of-main"
    assert len(commits(origin)) == count


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no JSON object"),
        ({}, "action is missing"),
        ({"model": "sha256:1"}, "model is missing or no model"),
        ({"image": "--privileged x"}, "image is missing"),
        ({"image": 7}, "image is missing"),
        ({"commit": "HEAD; curl x"}, "commit is missing"),
        ({"previous": "main"}, "previous is missing"),
        ({"when": "yesterday"}, "when is missing"),
        ({"who": "\ud800"}, "who is missing"),
        ({"action": "deploy"}, "action is missing"),
        ({"version": 2}, "version is 2"),
        ({"version": True}, "version is True"),
        ({"signature": "x"}, "no field signature"),
        ({"comit": "x"}, "did you mean commit?"),
        ({"data": {"dataset": None}}, "data is missing"),
    ],
)
def test_a_damaged_record_is_one_sentence(
    here: Path, origin: Path, capsys: pytest.CaptureFixture[str], content: Any, why: str
) -> None:
    from gatehouse import doctor
    from gatehouse.deploy.status import history, status
    from gatehouse.registry import champion
    from gatehouse.registry.promote import back

    release("v1")
    whole = told(origin)
    bad = whole | content if isinstance(content, dict) and content else content
    foreign(origin, "production.json", bad)
    candidate("v2")
    for deed in (
        lambda: promote("production"),
        lambda: back(Project(), "production", ""),
    ):
        refused(
            deed, 2, "[record-damaged]", "production.json", "on branch environments is damaged", why
        )
    refused(lambda: champion.fetch(Project()), 2, "[record-damaged]")
    refused(lambda: len(list(doctor.release(Project()))), 2, "[record-damaged]")
    capsys.readouterr()
    assert status(Project(), as_json=False, html=False) == 3
    out = capsys.readouterr().out
    assert "production  unknown: production.json of" in out
    assert "nothing was released" not in out
    assert history(Project(), "production", as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1, "what was before it can be read"
    # Staging is another file.
    assert promote("staging") == 0
    # And put right, it goes on.
    foreign(origin, "production.json", whole)
    assert status(Project(), as_json=False, html=False) == 3
    assert "damaged" not in capsys.readouterr().out


def test_a_record_of_an_older_library_is_read(here: Path, origin: Path) -> None:
    from gatehouse.registry import record

    release("v1")
    old = {name: value for name, value in told(origin).items() if name != "version"}
    foreign(origin, "production.json", old | {"written_then": "x"})
    found = record.read(Project(), "production", record.tip(Project()))
    assert found is not None
    assert found.content() == old


# --- status and history ---------------------------------------------------------------------


@pytest.fixture
def runs(
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """What each environment's engine says: put in what runs, or the Stop that it raises."""
    from gatehouse.deploy import status

    said: dict[str, Any] = {"gone": False}

    def running(_: Any, environment: str) -> Any:
        found = said.get(environment)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(status, "running", running)
    monkeypatch.setattr(status, "present", lambda *_: not said["gone"])
    return said


def up(origin: Path, environment: str, **other: Any) -> Any:
    """The engine runs what the record says, but for ``other``."""
    from gatehouse.deploy.targets import Running

    image = told(origin, environment)["image"]
    return Running(image, 2, 2, "2026-11-27T17:00:00Z")._replace(**other)


def status(*, as_json: bool = False, html: bool = False) -> int:
    from gatehouse.deploy.status import status

    return int(status(Project(), as_json=as_json, html=html))


def test_status_says_what_shall_run_and_does(
    here: Path, origin: Path, runs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = release("v1")
    second = release("v2", first)
    runs |= {name: up(origin, name) for name in ("staging", "production")}
    capsys.readouterr()
    assert status() == 0
    out = capsys.readouterr().out
    assert re.search(r"^production  as recorded$", out, re.MULTILINE)
    image = f"registry.example:5000/team/flights@{told(origin)['id'][7:14]}"
    head = git("rev-parse", "HEAD")[:7]
    assert f"  record    model {second[7:14]}, image {image}, commit {head}\n" in out
    assert re.search(r"  since     \d{4}.* UTC, promoted by Jo <jo@example.invalid>: v2\n", out)
    assert f"  runs      {image}, 2 of 2 healthy, since 2026-11-27T17:00:00Z\n" in out
    assert re.search(f"  back to   model {first[7:14]}, .*; its image is there\n", out)
    foreign(origin, "staging.json", told(origin, "staging") | {"previous": "0" * 40})
    assert status() == 0, "what runs is as recorded all the same"
    out = capsys.readouterr().out
    assert "staging     as recorded: staging.json of 000000000 on branch" in out
    assert "  back to   it cannot be read" in out
    runs["gone"] = True
    assert status() == 0
    assert "its image IS GONE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (None, "nothing runs"),
        ({"image": f"registry.example/flights@sha256:{'0' * 64}"}, "flights@0000000 runs"),
        ({"healthy": 1}, "1 of 2 are healthy"),
        ({"healthy": 0, "wanted": 0}, "0 of 0 are healthy"),
    ],
)
def test_drift_is_said_and_ends_with_1(
    here: Path,
    origin: Path,
    runs: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    seen: Any,
    why: str,
) -> None:
    release("v1")
    runs["staging"] = up(origin, "staging")
    runs["production"] = seen if seen is None else up(origin, "production", **seen)
    capsys.readouterr()
    assert status() == 1
    assert re.search(f"^production  DRIFT: .*{why}$", capsys.readouterr().out, re.MULTILINE)
    assert status(as_json=True) == 1
    staging, production = json.loads(capsys.readouterr().out)
    assert (staging["state"], production["state"]) == ("as recorded", "DRIFT")
    assert production["record"]["at"] == tip(origin, "environments")


def test_the_id_is_the_image_as_well(here: Path, origin: Path, runs: dict[str, Any]) -> None:
    release("v1")
    for name in ("staging", "production"):
        runs[name] = up(origin, name, image=told(origin, name)["id"])
    assert status() == 0


def test_what_nobody_released_is_drift(
    here: Path, origin: Path, runs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.deploy.targets import Running

    assert status() == 0
    assert capsys.readouterr().out.count("nothing was released") == 2
    runs["production"] = Running("somebody:1", 1, 1, "")
    assert status() == 1
    assert "DRIFT: somebody:1 runs, and nobody released it" in capsys.readouterr().out


def test_an_engine_that_does_not_answer_is_unknown(
    here: Path, origin: Path, runs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.core.errors import Stop

    release("v1")
    runs["staging"] = up(origin, "staging")
    runs["production"] = Stop(
        "docker-unreachable", "the engine on host.example cannot be reached: try again", 3
    )
    assert status() == 3
    assert "production  unknown: the engine on host.example cannot" in capsys.readouterr().out
    runs["staging"] = None
    assert status() == 1, "what is known to drift weighs more"


def test_a_place_that_nobody_set_up_is_none_that_must_answer(
    here: Path, origin: Path, runs: dict[str, Any]
) -> None:
    from gatehouse.core.errors import Stop

    candidate("v1")
    promote("staging")
    runs |= {
        "staging": up(origin, "staging"),
        "production": Stop("docker-unreachable", "no host is set", 3),
    }
    assert status() == 0


def test_the_page_needs_nothing_and_shows_text_as_text(
    here: Path, origin: Path, runs: dict[str, Any]
) -> None:
    from gatehouse.deploy.targets import Running

    evil = "<script>alert(1)</script> **x** [a](javascript:b) | \x1b[31m ![i](http://x/y)"
    candidate("v1")
    promote("staging", evil)
    runs["staging"] = up(origin, "staging")
    runs["production"] = Running(evil, 1, 1, evil)
    assert status(html=True) == 1
    text = Path("reports/status.html").read_text(encoding="utf-8")
    assert "DRIFT in production" in text
    assert "<strong>DRIFT</strong>" in text
    assert "&lt;script&gt;alert(1)" in text
    for tag in ("<script", "<a ", "<img", "\x1b", "<strong>x"):
        assert tag not in text
    assert "Content-Security-Policy" in text
    rows = re.findall(r"<tr>.*?</tr>", text, re.DOTALL)
    widths = {len(re.findall("<td>", row)) for row in rows}
    assert widths == {0, 2, 7}, "no bar of the text makes a cell"


def test_history_is_a_table_and_json(
    here: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.deploy.status import history
    from gatehouse.registry.promote import back

    git("config", "log.follow", "true")
    git("config", "log.showSignature", "true")
    assert history(Project(), None, as_json=False) == 0
    assert "nothing was released yet" in capsys.readouterr().err
    first = release("v1")
    second = release("v2", first)
    back(Project(), "production", "it is slow")
    capsys.readouterr()
    assert history(Project(), "production", as_json=False) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["when", "environment", "action", "model", "image", "who", "why"]
    assert [row.split()[4:6] for row in rows] == [
        ["rollback", first[7:14]],
        ["promote", second[7:14]],
        ["promote", first[7:14]],
    ]
    assert rows[0].endswith("Jo <jo@example.invalid>  it is slow")
    assert history(Project(), None, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said) == 5
    assert {one["environment"] for one in said} == {"staging", "production"}
    assert said[0]["at"] == tip(origin, "environments")


def test_the_doctor_sees_a_release_whose_commit_is_none_of_main(here: Path, origin: Path) -> None:
    from gatehouse import doctor

    assert list(doctor.release(Project())) == []
    model = release("v1")
    said = [(f"{name} has model {model[7:14]}", "ok", "") for name in ("staging", "production")]
    assert list(doctor.release(Project())) == said
    foreign(origin, "production.json", told(origin) | {"commit": "1" * 40})
    git("fetch", "--quiet", "origin")
    staging, line = doctor._lines(Project(), doctor.release)
    assert staging.status == "ok"
    assert (line.status, "names commit 111111111" in line.what) == ("lacking", True)
    assert "make rollback ENV=production" in line.fix


def test_the_commands_end_as_they_should(here: Path, origin: Path) -> None:
    from typer.testing import CliRunner

    from gatehouse.cli.app import app

    importlib.import_module("gatehouse.cli.release")  # adds its verbs
    candidate("v1")

    def call(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, words)
        return done.exit_code, done.stdout, done.stderr

    assert call("promote")[0] == 2
    assert call("promote", "--to", "moon")[0] == 2
    code, out, err = call("promote", "--to", "production")
    assert (code, out) == (1, "")
    assert err.startswith("promote: registry.example:5000/team/flights@")
    assert call("promote", "--to", "staging", "--why", 'it\'s "new"')[0] == 0
    code, out, _ = call("history", "--json")
    assert json.loads(out)[0]["why"] == 'it\'s "new"'
    assert call("status")[0] in (1, 3)
