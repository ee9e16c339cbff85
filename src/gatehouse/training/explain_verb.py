"""Verb ``explain``: one prediction, step by step, as training reckons it."""

import json
import math
import sys
from typing import Any

from gatehouse.core.console import paint
from gatehouse.core.errors import GOOD
from gatehouse.core.project import Project

SHOWN = 12  # columns with a line of their own
SMALL = 0.01  # of all that moved


def explain(project: Project, row: str, *, as_json: bool) -> int:
    """Print how the answer for ``row`` comes about; raises ``InputError``."""
    from . import explain as made  # late: pandas and scikit-learn take seconds

    found = made.explain(project, row)
    text = json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(lines(found))
    sys.stdout.write(text + "\n")
    return GOOD


def lines(found: dict[str, Any]) -> list[str]:
    """From the average answer to this one, a line a column: value, contribution, running answer."""
    start, end, steps = found["start"], found["end"], found["steps"]
    scale = max(abs(start), abs(end)) or 1.0
    digits = min(max(3 - math.floor(math.log10(scale)), 0), 12)
    small = SMALL * sum(abs(step["contribution"]) for step in steps)
    large = [step for step in steps[:SHOWN] if abs(step["contribution"]) > small]
    odds = found["contributions"] == "log-odds"
    rows = [("column", "value", "log-odds" if odds else "moves by", "to")]
    rows.append((f"average of {found['background']} rows", "", "", f"{start:.{digits}f}"))
    for step in large:
        moved = f"{step['contribution']:+.{digits}f}"
        to = f"{step['to']:.{digits}f}"
        rows.append((_shown(step["column"]), _shown(step["value"]), moved, to))
    if rest := steps[len(large) :]:
        name = f"{len(rest)} other{'s' * (len(rest) > 1)}"
        together = sum(step["contribution"] for step in rest)
        rows.append((name, "", f"{together:+.{digits}f}", f"{end:.{digits}f}"))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    title = f"{found['row']}: {found['target']} = {_shown(found['answer'])} ({found['of']})"
    text = [_shown(title, 200), ""]
    for name, value, moved, to in rows:
        sign = {"+": "green", "-": "red"}.get(moved[:1])
        cell = moved.rjust(wide[2])
        cell = paint(cell, sign) if sign else cell
        text.append(f"  {name:{wide[0]}}  {value:{wide[1]}}  {cell}  {to:>{wide[3]}}")
    return text


def _shown(value: Any, width: int = 40) -> str:
    """A value on one line, without what a terminal would take for a command."""
    if value is None:
        return "(missing)"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= width else text[: width - 1] + "…"
