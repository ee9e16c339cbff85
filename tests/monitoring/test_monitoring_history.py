"""Branch ``monitoring``: passes and decisions, one line each, and nobody's line is lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from repositories import git

import gatehouse
from gatehouse.core.project import Project

Clone = Callable[[str], Path]


@pytest.fixture
def clone(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """Another clone of the origin, where work goes on."""
    monkeypatch.setenv("RETRY_SECONDS", "0.01")
    for name in ("AS_OF", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)

    def clone(name: str) -> Path:
        git("clone", "--quiet", f"file://{origin}", str(tmp_path / name))
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return clone


@pytest.fixture
def here(clone: Clone) -> Path:
    return clone("one")


def a_pass(until: str = "2026-11-27T00:00:00Z", model: str = "m", **more: Any) -> dict[str, Any]:
    return {"until": until, "model": model, "incidents": {}, "metrics": {}} | more


def decision(key: str = "k", state: str = "started", **more: Any) -> dict[str, Any]:
    return {"key": key, "state": state, "trigger": "data"} | more


def branch(place: Path, name: str = "monitoring") -> list[str]:
    words = ["git", "-C", str(place), "log", "--format=%s", name]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def test_before_the_first_pass_there_is_nothing(here: Path) -> None:
    from gatehouse.monitoring import history

    assert history.passes(Project()) == history.decisions(Project()) == []


def test_a_pass_is_a_line_and_the_same_again_replaces_it(here: Path, origin: Path) -> None:
    from gatehouse.monitoring import history

    history.add_pass(Project(), a_pass(rows=1))
    history.add_pass(Project(), a_pass("2026-11-28T00:00:00Z"))
    history.add_pass(Project(), a_pass(rows=2))
    history.add_pass(Project(), a_pass(model="other"))
    told = [
        (one["until"][8:10], one["model"], one.get("rows")) for one in history.passes(Project())
    ]
    assert told == [("27", "m", 2), ("27", "other", None), ("28", "m", None)]
    count = len(branch(origin))
    history.add_pass(Project(), a_pass(rows=2) | {"when": "later", "run": "another"})
    assert len(branch(origin)) == count, "nothing new was seen, so nothing is written"


@pytest.mark.parametrize("remote", [True, False])
def test_it_works_without_an_origin(here: Path, origin: Path, remote: bool) -> None:
    from gatehouse.monitoring import history

    if not remote:
        git("remote", "remove", "origin")
    history.add_pass(Project(), a_pass())
    assert len(branch(origin if remote else here)) == 1
    assert len(history.passes(Project())) == 1
    assert git("status", "--porcelain", "--untracked-files=no") == "", "no work tree is touched"


def test_the_end_of_a_training_stands_where_its_start_stood(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.monitoring import history

    monkeypatch.setenv("AS_OF", "2026-11-27T08:00:00Z")
    history.add_decision(Project(), decision(why="new rows"))
    history.add_decision(Project(), decision(state="refused", why="known"))
    monkeypatch.setenv("AS_OF", "2026-11-27T09:00:00Z")
    history.add_decision(Project(), {"key": "k", "state": "blessed", "ended_as": "pull request 3"})
    refused, done = history.decisions(Project())
    assert refused["state"] == "refused"
    assert (done["state"], done["why"], done["ended_as"]) == (
        "blessed",
        "new rows",
        "pull request 3",
    )
    assert (done["when"][11:13], done["ended"][11:13]) == ("08", "09")
    history.add_decision(Project(), decision(state="refused", why="budget"))
    assert [one["why"] for one in history.decisions(Project())] == ["new rows", "budget"]
    assert branch(here, "origin/monitoring")[:2] == ["training refused (k)", "training blessed (k)"]


def test_two_at_once_lose_nothing(clone: Clone, origin: Path) -> None:
    script = (
        "import sys\nfrom gatehouse.monitoring import history\n"
        "from gatehouse.core.project import Project\n"
        "history.add_pass(Project(), {'until': f'2026-11-{sys.argv[1]}T00:00:00Z', 'incidents': {}})\n"
    )
    running = []
    for day in ("10", "11", "12"):
        folder = clone(f"clone{day}")
        env = os.environ | {"PYTHONPATH": str(Path(gatehouse.__file__).parents[1])}
        words = [sys.executable, "-B", "-c", script, day]
        running.append(subprocess.Popen(words, cwd=folder, env=env))
    assert [one.wait() for one in running] == [0, 0, 0]
    from gatehouse.monitoring import history

    assert [one["until"][8:10] for one in history.passes(Project())] == ["10", "11", "12"]


def test_who_is_second_decides_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.monitoring import history
    from gatehouse.vcs.branch_store import Branch

    commit = Branch.commit
    seen: list[Any] = []

    def late(self: Any, draft: Any, top: str) -> Any:
        made = commit(self, draft, top)
        if len(seen) == 1:  # between what I read and what I write, the other one is there
            monkeypatch.setattr(Branch, "commit", commit)
            history.add_decision(Project(), decision("theirs"))
        return made

    def choose(before: list[dict[str, Any]]) -> dict[str, Any] | None:
        seen.append([one["key"] for one in before])
        return None if before else decision("mine")

    monkeypatch.setattr(Branch, "commit", late)
    assert history.decide(Project(), choose) is None
    assert seen == [[], ["theirs"]]


def test_the_file_is_kept_short(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.monitoring import history

    monkeypatch.setattr(history, "KEPT", 3)
    for day in range(10, 16):
        history.add_pass(Project(), a_pass(f"2026-11-{day}T00:00:00Z"))
    assert [one["until"][8:10] for one in history.passes(Project())] == ["13", "14", "15"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "no JSON"),
        ("[" * 5000, "no JSON"),
        ("3", "no JSON object"),
        ('{"until": 3, "incidents": {}}', "until is missing or no str"),
        ('{"until": "2026-11-27", "incidents": []}', "incidents is missing or no dict"),
        ('{"until": "yesterday", "incidents": {}}', "Invalid isoformat"),
        ('{"until": "2026-11-27", "incidents": {"drift": 3}}', "an incident has no status"),
        ('{"until": "2026-11-27", "incidents": {}, "x": "' + "y" * 100_000 + '"}', "too long"),
    ],
)
def test_a_damaged_line_is_said_and_left_out(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, why: str
) -> None:
    from gatehouse.monitoring import history
    from gatehouse.vcs.branch_store import Draft

    good = json.dumps(a_pass())
    draft = Draft({"history.jsonl": f"{good}\n{line}\n"}, "somebody else")
    history.store(Project()).change(lambda _: draft)
    assert len(history.passes(Project())) == 1
    said = capsys.readouterr().err
    assert "line 2 of history.jsonl on branch monitoring is damaged" in said
    assert why in said


def test_a_report_becomes_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.monitoring import history

    for name in ("GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AS_OF", "2026-11-28T01:00:00+01:00")
    window = {"from": "2026-11-20", "until": "2026-11-27", "rows": 9, "labelled": 3}
    columns = [{"name": "a", "drifted": True}, {"name": "b", "drifted": False}]
    report = {"window": window, "model": "m", "incidents": {"drift": "warn"}, "metrics": {}}
    line = history.require(report | {"columns": columns}, "x")
    assert line == window | {
        "model": "m",
        "incidents": {"drift": "warn"},
        "metrics": {},
        "drifted": ["a"],
        "when": "2026-11-28T00:00:00+00:00",
        "run": "",
    }
    for broken in (
        {},
        {"window": 3},
        report | {"incidents": None},
        report | {"metrics": {1: float("nan")}},
    ):
        with pytest.raises(Stop, match="damaged"):
            history.require(broken, "reports/monitor.json")


@pytest.mark.parametrize(
    ("said", "hour"),
    [("2026-11-27T20:00:00Z", 20), ("2026-11-27T20:00:00", 20), ("2026-11-27T20:00:00+02:00", 18)],
)
def test_now_is_what_as_of_says(monkeypatch: pytest.MonkeyPatch, said: str, hour: int) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.monitoring.clock import now

    monkeypatch.setenv("AS_OF", said)
    assert (now().hour, now().utcoffset().total_seconds()) == (hour, 0)  # type: ignore[union-attr]
    monkeypatch.setenv("AS_OF", "")
    assert now().tzinfo is not None
    monkeypatch.setenv("AS_OF", "last week")
    with pytest.raises(Stop, match=r"AS_OF is .*, no time"):
        now()
