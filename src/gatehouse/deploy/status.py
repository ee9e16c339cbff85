"""Verbs ``status`` and ``history``: what shall run, what really does, and who said so when."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gatehouse.core.console import paint, say
from gatehouse.core.errors import CLOSED, GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.registry import mirror, record
from gatehouse.registry.promote import told
from gatehouse.registry.record import Record, short
from gatehouse.report.markdown import Section, plain, show, table
from gatehouse.report.page import render

from .targets import Running, present, running

PAGE = Path("reports/status.html")
LONG, NEWEST = 300, 50
GOES, DRIFT, UNKNOWN = "as recorded", "DRIFT", "unknown"
COLOURS = {GOES: "green", DRIFT: "red", UNKNOWN: "yellow"}
HEAD = ["when", "environment", "action", "model", "image", "who", "why"]
T = TypeVar("T")


class View(NamedTuple):
    """One environment: the record, what runs, how they agree, and the way back."""

    environment: str
    record: Record | None
    running: Running | None
    state: str  # GOES, DRIFT or UNKNOWN
    why: str
    back: Record | None
    there: bool | None  # whether the image to go back to can still be had


def status(project: Project, *, as_json: bool, html: bool) -> int:
    """Print both environments; 0 as recorded, 1 where one drifts, 3 where nobody can say."""
    top = record.tip(project)
    views = [look(project, name, top) for name in record.ENVIRONMENTS]
    if as_json:
        _write([view._asdict() | _content(view) for view in views])
    for view in [] if as_json else views:
        head = paint(view.state, COLOURS[view.state]) + (f": {view.why}" if view.why else "")
        lines = [f"{view.environment:<10}  {head}"]
        lines += [f"  {label:<8}  {value}" for label, value in facts(view).items()]
        sys.stdout.write("\n".join(lines) + "\n")
    if html:
        write_text(
            project / PAGE, page(project, views, record.history(project, top, *record.ENVIRONMENTS))
        )
        say(f"status: {PAGE} written")
    sys.stdout.flush()
    mirror.catch_up(project, "status", top)
    states = {view.state for view in views}
    return CLOSED if DRIFT in states else INFRASTRUCTURE if UNKNOWN in states else GOOD


def history(project: Project, environment: str | None, *, as_json: bool) -> int:
    """Print every change of the record, newest first."""
    rows = record.history(
        project, record.tip(project), *([environment] if environment else record.ENVIRONMENTS)
    )
    if as_json:
        _write([{"environment": name, "at": one.at, **one.content()} for name, one in rows])
    elif not rows:
        say("history: nothing was released yet")
    else:
        cells = [HEAD, *(_cells(*row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            sys.stdout.write(line.rstrip() + "\n")
    return GOOD


def look(project: Project, environment: str, top: str) -> View:
    """The environment as of commit ``top`` of the branch; what cannot be had becomes ``why``."""
    now, damaged = _ask(lambda: record.read(project, environment, top))
    seen, silent = _ask(lambda: running(project, environment))
    back, lost = _ask(lambda: record.before(project, environment, now))
    there, _ = _ask(lambda: present(project, environment, back.image) if back else None)
    drift = "" if damaged or silent else _drift(now, seen)
    # Where nothing was released, an engine that nobody has set up is none that must answer.
    unknown = damaged or (silent and now)
    why = "; ".join(sentence for sentence in (damaged, drift, silent, lost) if sentence)
    state = DRIFT if drift else UNKNOWN if unknown else GOES
    return View(environment, now, seen, state, plain(why, LONG) if why else "", back, there)


def facts(view: View) -> dict[str, str]:
    """What there is to say of an environment, by label."""
    now, seen, back = view.record, view.running, view.back
    said = {} if view.state == UNKNOWN else {"record": "nothing was released"}
    if now:
        why = f": {plain(now.why, LONG)}" if now.why else ""
        said = {"record": told(now), "since": f"{_when(now.when)}, {_by(now)}{why}"}
    if seen:
        health = f"{seen.healthy} of {seen.wanted} healthy, since {plain(seen.since)}"
        said["runs"] = f"{plain(short(seen.image), LONG)}, {health}"
    if back:
        image = {True: "is there", False: "IS GONE", None: "may be there, nobody could say"}
        said["back to"] = f"{told(back)}, of {_when(back.when)}; its image "
        said["back to"] += image[view.there]
    elif now:
        said["back to"] = "it cannot be read" if now.previous else "no release was before it"
    return said


def page(project: Project, views: list[View], rows: list[tuple[str, Record]]) -> str:
    """Both environments, production first, and the newest changes as one HTML page."""
    bad = [view.environment for view in views if view.state == DRIFT]
    state = f"DRIFT in {' and '.join(bad)}" if bad else "release"
    title = f"{project.root.name}: {state}, {_when(datetime.now(UTC).isoformat())}"
    body = []
    for view in reversed(views):
        state = f"**{view.state}**" if view.state == DRIFT else view.state
        lines = [[label, show(value, LONG)] for label, value in facts(view).items()]
        why = f": {show(view.why, LONG)}" if view.why else ""
        body.append(Section(view.environment, 9, [table(f"state | {state}{why}", lines)]))
    cells = [[show(cell, LONG) for cell in _cells(*row)] for row in rows[:NEWEST]]
    body.append(Section("history", 9, [table(" | ".join(HEAD), cells)]))
    return render(show(title, LONG), body, "Release status")


def _ask(question: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return question(), ""
    except Stop as stop:
        return None, str(stop)


def _drift(now: Record | None, seen: Running | None) -> str:
    if now is None:
        return f"{seen.image} runs, and nobody released it" if seen else ""
    if seen is None:
        return "nothing runs"
    if seen.image not in (now.image, now.id):
        return f"{short(seen.image)} runs"
    few = seen.healthy < seen.wanted or seen.wanted < 1
    return f"{seen.healthy} of {seen.wanted} are healthy" if few else ""


def _content(view: View) -> dict[str, Any]:
    now, seen, back = view.record, view.running, view.back
    return {
        "record": now and {"at": now.at, **now.content()},
        "running": seen and seen._asdict(),
        "back": back and {"at": back.at, **back.content()},
    }


def _cells(environment: str, one: Record) -> list[str]:
    who, why = plain(one.who), plain(one.why)
    image = plain(short(one.image), LONG)
    return [_when(one.when), environment, one.action, short(one.model), image, who, why]


def _by(one: Record) -> str:
    return f"{'promoted' if one.action == 'promote' else 'rolled back'} by {plain(one.who, LONG)}"


def _when(moment: str) -> str:
    return f"{moment[:10]} {moment[11:16]} UTC"


def _write(content: Any) -> None:
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
