"""What ct.yml asks before and after a training: ``gatehouse github training look|failed``.

``look()`` says whether there may be a reason to train, ``failed()`` keeps the one issue of
trainings that broke; neither needs an environment. Between them ``github.candidate`` trains and
``github.handover`` hands over.
"""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.project import Project
from gatehouse.monitoring import history
from gatehouse.monitoring.history import Line
from gatehouse.vcs.dvc import LOCK
from gatehouse.vcs.git import git

from . import issues
from .keys import explained, output

BY_EVENT = {
    "workflow_dispatch": ("demand",),
    "workflow_run": ("performance", "drift"),
    "push": ("data",),
    "repository_dispatch": ("data",),
    "schedule": ("data", "schedule"),
}
MONITORED = ("performance", "drift")
KEY, WIDTH = re.compile("[0-9a-f]{64}"), 600


@explained()
def look(project: Project) -> int:
    """Output ``maybe``: can this event be a reason to train? Nothing is installed for that."""
    event = os.environ["GITHUB_EVENT_NAME"]
    maybe = event in BY_EVENT
    if event == "push":
        lock = (project / LOCK).read_text("utf-8") if (project / LOCK).exists() else ""
        known = set(re.findall(r"\bmd5: (\w+)", lock))
        pointers = [
            Path(path) for path in (git(project, "ls-files", "-z", "--", "*.dvc") or "").split("\0")
        ]
        texts = [path.read_text("utf-8", "replace") for path in pointers if path.is_file()]
        said = {md5 for text in texts for md5 in _outs(text)}
        maybe = bool(lock and said - known)
    elif event == "workflow_run":
        passes = history.passes(project)
        maybe = bool(passes) and any(kind in passes[-1]["incidents"] for kind in MONITORED)
    output("maybe", "true" if maybe else "false")
    print(f"training: {'may be needed' if maybe else 'there is no reason to train'} ({event})")
    return GOOD


@explained()
def failed(project: Project) -> int:
    """The one issue of trainings that failed; the decision is open again."""
    needs: dict[str, Any] = json.loads(os.environ["NEEDS"])
    if said := (needs.get("train", {}).get("outputs") or {}).get("decision"):
        with suppress(Stop):  # what is no decision is none, and the issue is opened all the same
            _end_as_failed(project, decision(said))
    what_next = [
        "No gate said so: something broke. The champion and main are as they were, and the same "
        "decision may be tried again:",
        "",
        "```sh",
        "gh workflow run ct.yml -f reason=…",
        "```",
    ]
    print(f"training: {issues.failed('training', 'Continuous training failed', what_next)}")
    return GOOD


def _end_as_failed(project: Project, line: Line) -> None:
    """Of a training that was not handed over nothing is written yet."""
    ours = [one for one in history.decisions(project) if one.get("run") == history.run_link()]
    if [one for one in ours if (one["key"], one["state"]) == (line["key"], "started")]:
        end(project, line["key"], "failed", "see the run")
    elif not ours and line["state"] == "started":
        history.add_decision(project, entry(line) | {"state": "failed", "ended_as": "see the run"})


def decision(text: str) -> Line:
    """The decision that a job says it made, as words on one line each."""
    try:
        made = json.loads(text[: 10 * WIDTH])
        wanted = ("trigger", "why", "key", "data", "model", "until", "state", "when")
        line = {name: words(made[name]) for name in wanted}
        history.moment(line["when"])
    except (ValueError, LookupError, TypeError, AttributeError):
        line = {"state": "", "key": ""}
    if not KEY.fullmatch(line["key"]) or line["state"] not in ("started", "refused"):
        raise Stop(
            "handed-over",
            "the decision is not what a training hands over: see what the job `train` says",
        )
    return line


def entry(line: Line) -> Line:
    """A decision as it is written down: the time is that of the writing."""
    return {name: value for name, value in line.items() if name != "when"} | {
        "run": history.run_link()
    }


def words(claim: str) -> str:
    """What a job said, on one line of letters that are shown."""
    shown = "".join(one if one.isprintable() else " " for one in claim[: 10 * WIDTH])
    return " ".join(shown.split())[:WIDTH]


def end(project: Project, key: str, state: str, why: str) -> None:
    """Write how a training ended, and say it."""
    history.add_decision(project, {"key": key, "state": state, "ended_as": why[:300]})
    say(f"training: {state}: {why}")


def _outs(pointer: str) -> list[str]:
    """MD5 of what a ``*.dvc`` file points at; not of where that came from, nor of the file."""
    listed = pointer.partition("outs:")[2].partition("\ndeps:")[0]
    return re.findall(r"(?m)^[- ] md5: (\w+)", listed)
