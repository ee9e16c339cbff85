"""What the monitor saw and what training became of it, on branch ``monitoring``.

``history.jsonl`` has a line for each pass, ``training.jsonl`` one for each decision to train that
was more than "nothing to do". Both are kept short: the branch's own history has what was before.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.vcs.branch_store import Branch, Draft

from .clock import now

PASSES, DECISIONS = "history.jsonl", "training.jsonl"
KEPT = 1000
ENDS = ("started", "refused")  # states that say nothing of how it ended
LONGEST = 100_000  # characters of a line
NEEDED = {PASSES: ("until", "incidents"), DECISIONS: ("key", "state")}

Line = dict[str, Any]


BRANCH = "monitoring"


def store(project: Project) -> Branch:
    """The branch that keeps passes and decisions."""
    return Branch(project, BRANCH, "history")


def passes(project: Project, *, fetch: bool = True) -> list[Line]:
    """Every pass, oldest window first."""
    return sorted(
        _read(project, store(project).tip(fetch=fetch), PASSES),
        key=lambda line: moment(line["until"]),
    )


def decisions(project: Project, *, fetch: bool = True) -> list[Line]:
    """Every decision to train, oldest first."""
    return _read(project, store(project).tip(fetch=fetch), DECISIONS)


def add_pass(project: Project, entry: Line) -> None:
    """Write a pass; one with the same ``until`` and ``model`` is replaced by it."""
    same = (entry["until"], entry.get("model"))

    def add(lines: list[Line]) -> list[Line]:
        others = [line for line in lines if (line["until"], line.get("model")) != same]
        replaced = [line for line in lines if line not in others]
        return lines if [_seen(entry)] == [*map(_seen, replaced)] else [*others, entry]

    _change(project, PASSES, add, f"pass until {entry['until']}")


def add_decision(project: Project, entry: Line) -> None:
    """Write a decision: of one that was ``started``, how it ended; else a line more."""
    decide(project, lambda _: entry)


def decide(project: Project, choose: Callable[[list[Line]], Line | None]) -> Line | None:
    """As ``add_decision``, of what ``choose`` says given all decisions; None writes nothing.

    Where somebody else decided meanwhile, ``choose`` is asked again: so two never start the same.
    A refusal takes the place of an earlier one with the same key.
    """
    made: list[Line | None] = [None]

    def add(lines: list[Line]) -> list[Line]:
        made[0] = entry = choose(list(lines))
        if entry is None:
            return lines
        old = "refused" if entry["state"] == "refused" else "started"
        same = [x for x in lines if (x["key"], x["state"]) == (entry["key"], old)]
        time = now().isoformat(timespec="seconds")
        if entry["state"] not in ENDS and same:
            entry = {**same[-1], **entry, "ended": time}
        return [*(line for line in lines if line not in same), {"when": time, **entry}]

    _change(project, DECISIONS, add)
    return made[0]


def of_report(report: Line) -> Line:
    """The line of a pass, from what ``reports/monitor.json`` says."""
    window = report["window"]
    line = {name: window.get(name) for name in ("until", "from", "rows", "labelled")}
    drifted = [one["name"] for one in report.get("columns") or [] if one.get("drifted")]
    line |= {name: report.get(name) for name in ("model", "incidents", "metrics")}
    when = now().isoformat(timespec="seconds")
    return line | {"drifted": drifted, "when": when, "run": run_link()}


def run_link() -> str:
    """The address of this run of a workflow; empty on a laptop."""
    if not (number := os.environ.get("GITHUB_RUN_ID")):
        return ""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"{server}/{os.environ.get('GITHUB_REPOSITORY', '')}/actions/runs/{number}"


def moment(text: str) -> datetime:
    """A time of a line, in UTC; ValueError where it is none."""
    said = datetime.fromisoformat(text)
    return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)


def _seen(line: Line) -> Line:
    return {name: value for name, value in line.items() if name not in ("when", "run")}


def _change(
    project: Project, file: str, change: Callable[[list[Line]], list[Line]], what: str = ""
) -> None:
    def draft(top: str) -> Draft | None:
        before = _read(project, top, file)
        lines = change(before)
        if lines == before:
            return None
        told = what or f"training {lines[-1]['state']} ({lines[-1]['key'][:12]})"
        texts = [json.dumps(line, ensure_ascii=False, allow_nan=False) for line in lines[-KEPT:]]
        return Draft({file: "".join(f"{text}\n" for text in texts)}, told)

    store(project).change(draft)


def _read(project: Project, top: str, file: str) -> list[Line]:
    """The lines of a file; one that is damaged is said and left out."""
    found = []
    text = (store(project).text(top, file) if top else None) or ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(_line(line, file))
        except (ValueError, TypeError, RecursionError) as error:
            why = error if type(error) is ValueError else "no JSON"
            say(f"history: line {number} of {file} on branch {BRANCH} is damaged ({why})")
    return found


def _line(text: str, file: str) -> Line:
    if len(text) > LONGEST:
        raise ValueError("too long")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    for name in NEEDED[file]:
        kind = dict if name == "incidents" else str
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{name} is missing or no {kind.__name__}")
    if "until" in NEEDED[file]:
        moment(content["until"])
    if not all(isinstance(said, str) for said in content.get("incidents", {}).values()):
        raise ValueError("an incident has no status")
    return content


def require(report: Any, where: str) -> Line:
    """A report of the monitor that ``of_report`` can read; Stop where it is none."""
    try:
        line = of_report(report)
        return _line(json.dumps(line, allow_nan=False), PASSES)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Stop(
            "history-damaged", f"{where} is damaged ({error!r}): run `make monitor`"
        ) from None
