"""Reads what a trial logged: lines of JSON, one for each request and one for what was predicted."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gatehouse.core.config.canvas import cost_matrix, load
from gatehouse.core.config.rules import value_text
from gatehouse.core.errors import Stop
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project

from .trial_verdict import SIDES, Asked

Answers = dict[tuple[str, str], list[Any]]  # by request and side


def read(files: Iterable[Path]) -> tuple[str, list[Asked], Answers]:
    """The mode of the last request, the requests in that mode, and what was predicted."""
    last, found, answers = (0.0, ""), list[tuple[str, Asked]](), Answers()
    for line in _lines(files):
        try:
            if "prediction" in line:
                answers[line["id"], line["side"]] = list(line["prediction"])
                continue
            mode, at = str(line["mode"]), float(line["at"])
            side, _, failed = line["uri"].removeprefix("/.").partition("/")
            good = not failed and int(line["status"]) < 500
            one = Asked(line["id"], side, line["key"], good, float(line["seconds"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        found.append((mode, one))
        last = max(last, (at, mode))  # logs of several containers come one after another
    return last[1], [one for mode, one in found if mode == last[1]], answers


def labels(project: Project) -> list[str]:
    """The classes in the order of the model's answers; empty for a regression."""
    return [value_text(value) for value in read_yaml(project / "schema.yaml").get("classes") or []]


def values(
    project: Project,
    path: Path,
    asked: Iterable[Asked],
    answers: Mapping[tuple[str, str], list[Any]],
) -> tuple[list[tuple[list[float], list[str]]], str]:
    """What the requests were worth that ``path`` knows: values and keys of each side; the unit.

    ``path`` has a column ``id`` and either ``value``, the business metric itself, or ``truth``,
    which the canvas' gain makes a value of.
    """
    import pandas as pd

    try:
        table = (pd.read_parquet if path.suffix == ".parquet" else pd.read_csv)(path)
        ids = [str(id_) for id_ in table["id"].tolist()]
        column = "value" if "value" in table else "truth"
        said = dict(zip(ids, table[column].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        what = f"{path} cannot be read ({error})"
        raise Stop("outcomes-columns", f"{what}: give it columns id, and value or truth") from None
    classes, unit = labels(project), "a request"
    worth = None
    if column == "truth":
        worth = cost_matrix(project, classes)
        if worth is None:
            raise Stop(
                "canvas-no-gain",
                "ml-canvas.yaml has no gain: give the outcomes a column value instead",
            )
        unit = load(project).impact_simulation.unit or "a prediction"
    sides: dict[str, tuple[list[float], list[str]]] = {side: ([], []) for side in SIDES}
    for one in asked:
        if one.side not in sides or one.id not in said:
            continue
        outcome = said[one.id]
        if worth is not None:
            text = value_text(outcome)
            if text not in classes:
                raise Stop(
                    "class-unknown", f"{path}: {text!r} is no class of schema.yaml: correct it"
                )
            guess = answers.get((one.id, one.side))
            if not guess:  # production answered in its place
                continue
            outcome = worth[classes.index(text)][guess[0]]
        sides[one.side][0].append(float(outcome))
        sides[one.side][1].append(one.key or one.id)
    return [sides[side] for side in SIDES], unit


def _lines(files: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for path in files:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            raise Stop(
                "trial-no-log", f"{path} is not there: start a trial, or name its logs"
            ) from None
        for line in text.splitlines():
            try:
                content = json.loads(line) if line.startswith("{") else None
            except ValueError:  # the end of a container that was killed
                continue
            if isinstance(content, dict):
                yield content
