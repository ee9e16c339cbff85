"""What the model makes of its columns: over the test rows, and for one row.

Both ask the model about rows whose cells are taken from other rows, column by column of
``schema.yaml``, before features are built: a date or a category is one column, as people know it.
The work is bounded by the number of cells, so that 500 columns get fewer rows, not an hour.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core.config.schema import Column, Schema, label_text, load_schema
from gatehouse.core.digests import MODEL
from gatehouse.core.errors import InputError
from gatehouse.core.files import write_json
from gatehouse.core.project import Project
from gatehouse.data.cells import ARROW_TYPES
from gatehouse.data.tables import to_frame
from gatehouse.metrics.table import Rows
from gatehouse.serving.skops_model import Model
from gatehouse.serving.skops_model import load as load_model

from .golden import plain_cell
from .split import REFERENCE, TEST, TRAIN
from .train import encode_target

IMPORTANCE = Path("predictions/importance.json")
ROWS = 2000
REPEATS = 5
BACKGROUND = 200
CELLS = 20_000_000
AT_ONCE = 2_000_000  # cells of one call of the model
WAYS = 10  # there and back, by which a probability is explained
SURE = 1e-6  # a probability nearer to 0 or 1 says no more than this
Array = npt.NDArray[Any]


def importance(
    model: Model, frame: pd.DataFrame, truth: Array, baseline: Any, seed: int = 0
) -> dict[str, Any]:
    """How much skill each column carries: what is lost when its values are shuffled.

    ``truth`` holds class positions or values (n,), ``baseline`` the class shares (k,) or the mean
    that skill is measured against. Looks at 100 to 2,000 rows, two to five shuffles a column.
    """
    width, rng = len(model.columns), np.random.default_rng(seed)
    repeats = int(np.clip(CELLS // (width**2 * ROWS), 2, REPEATS))
    limit = int(np.clip(CELLS // (width**2 * repeats), 100, ROWS))
    chosen = np.sort(rng.permutation(len(frame))[:limit])
    frame, truth, rows = frame.iloc[chosen], truth[chosen], len(chosen)
    own = Rows(truth, model.predict(frame)).loss.mean()
    nothing = np.repeat(np.asarray(baseline)[None], rows, axis=0)
    known = Rows(truth, nothing).loss.mean() or 1.0
    still = np.tile(np.arange(rows)[:, None], width)
    tasks, rises = np.repeat(np.arange(width), repeats), []
    at_once = max(1, AT_ONCE // (rows * width))
    for part in np.array_split(tasks, -(-len(tasks) // at_once)):
        picks = np.stack([still] * len(part))
        for pick, column in zip(picks, part, strict=True):
            pick[:, column] = rng.permutation(rows)
        raw = _mixed(model, frame, picks.reshape(-1, width))
        losses = Rows(np.tile(truth, len(part)), raw).loss.reshape(len(part), rows)
        rises.append(losses.mean(axis=1) - own)
    lost = np.concatenate(rises).reshape(width, repeats) / known
    columns = {
        name: {"mean": _number(values.mean()), "std": _number(values.std(ddof=1))}
        for name, values in zip(model.columns, lost, strict=True)
    }
    ordered = sorted(columns.items(), key=lambda item: -(item[1]["mean"] or 0))
    return {"metric": "skill", "rows": rows, "repeats": repeats, "columns": dict(ordered)}


def write_importance(project: Project, model: Model, schema: Schema, baseline: Any) -> None:
    """Write ``predictions/importance.json`` from the test rows."""
    frame = to_frame(
        _sample(project / TEST, list(dict.fromkeys([*model.columns, schema.target])), ROWS)
    )
    found = importance(model, frame, encode_target(frame[schema.target], schema), baseline)
    write_json(project / IMPORTANCE, found)


def shapley(
    model: Model, rows: pd.DataFrame, output: int | None = None, seed: int = 0
) -> tuple[float, Array]:
    """The average answer for all but the first of ``rows``, and how far each column moves it.

    Shapley values (columns,) by sampling (Strumbelj and Kononenko 2014): on a way from other rows
    to the first one, the columns change in random order, and on a second way in the reverse of it.
    Each way ends at the answer for the first row, so the sum is exact. ``output`` is the position
    of a class, and both results are log-odds: its probability is averaged over all other rows at
    each step of a way. None is for regression: each way starts from a row of its own.
    """
    others, width, rng = np.arange(1, len(rows)), len(model.columns), np.random.default_rng(seed)
    if output is None:
        sources = others[:, None]
    else:
        ways = int(np.clip(CELLS // (4 * width**2 * len(others)), 1, WAYS))
        sources = np.tile(others, (ways, 1))
    start, moved = 0.0, np.zeros(width)
    at_once = max(1, AT_ONCE // (2 * width * (width + 1) * sources.shape[1]))
    for part in np.array_split(sources, -(-len(sources) // at_once)):
        forth = [rng.permutation(width) for _ in part]
        orders = [way for order in forth for way in (order, order[::-1])]
        done = np.arange(width + 1)[:, None]
        picks = [
            np.where(np.argsort(way) < done, 0, source[:, None, None])
            for way, source in zip(orders, np.repeat(part, 2, axis=0), strict=True)
        ]
        raw = _mixed(model, rows, np.concatenate(picks).reshape(-1, width))
        answers = raw if output is None else raw[:, output]
        answers = answers.reshape(len(orders), -1, width + 1).mean(axis=1)
        answers = answers if output is None else log_odds(answers)
        start += float(answers[:, 0].sum())
        np.add.at(moved, np.array(orders), np.diff(answers, axis=1))
    return start / (2 * len(sources)), moved / (2 * len(sources))


def log_odds(probability: Array) -> Array:
    """``log(p / (1 - p))``, any shape; finite for a model that is sure, too."""
    sure = np.clip(probability, SURE, 1 - SURE)
    return np.asarray(np.log(sure / (1 - sure)))


def one_row(values: Mapping[str, Any], columns: Mapping[str, Column], where: str) -> pa.Table:
    """A table of one row from plain values; a column left out is missing, if it may be.

    Raises ``InputError`` that names ``where`` and the column.
    """
    cells = {}
    for name, column in columns.items():
        value = values.get(name)
        if value is None and not column.nullable:
            raise InputError(
                "column-missing", f"{where} has no {name!r}, which cannot be missing: add it"
            )
        try:
            odd = value is not None and isinstance(value, bool) != (column.type == "boolean")
            if isinstance(value, float):  # pyarrow would cut 1.5 down to 1
                odd |= not (
                    value.is_integer() if column.type == "integer" else math.isfinite(value)
                )
            if odd:
                raise ValueError
            if column.type == "datetime" and isinstance(value, str):
                value = datetime.fromisoformat(value)
            cells[name] = pa.array([value], ARROW_TYPES[column.type])
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            raise InputError(
                "column-type", f"{where}: {name!r} is no {column.type}: correct it"
            ) from None
    return pa.table(cells)


def explain(project: Project, asked: str) -> dict[str, Any]:
    """Start, steps and end of one prediction; ``asked``: a position in the test rows, or a file."""
    model = load_model(project / MODEL)
    names = list(model.columns)
    where, row = _row(project, asked, model)
    source = project / REFERENCE  # without what is personal, so maybe without a column of the model
    if not source.exists() or set(names) - set(pq.read_schema(source).names):
        source = project / TRAIN
    # A way costs columns x (columns + 1) cells, and each background row has two.
    limit = int(np.clip(CELLS // (4 * len(names) ** 2), 10, BACKGROUND))
    rows = to_frame(pa.concat_tables([row, _sample(source, names, limit).cast(row.schema)]))
    raw, output = model.predict(rows.iloc[:1])[0], None
    answer: Any = float(raw) if model.task == "regression" else None
    if answer is None:
        output = int(raw.argmax())
        answer, raw = model.classes[output], raw[output]
    start, moved = shapley(model, rows, output)
    order = np.argsort(-np.abs(moved), kind="stable")
    passed = start + np.concatenate([[0], np.cumsum(moved[order])])
    if output is not None:
        passed = 1 / (1 + np.exp(-passed))
    passed[-1] = float(raw)  # what a model that is sure answers, and no rounding
    values = row.to_pylist()[0]
    return {
        "row": where,
        "target": model.target,
        "answer": answer,
        "of": "value" if output is None else f"probability of {label_text(answer)}",
        "contributions": "value" if output is None else "log-odds",
        "background": len(rows) - 1,
        "start": passed[0].item(),
        "end": passed[-1].item(),
        "steps": [
            {
                "column": names[k],
                "value": plain_cell(values[names[k]]),
                "contribution": moved[k].item(),
                "to": to.item(),
            }
            for k, to in zip(order, passed[1:], strict=True)
        ],
    }


def _row(project: Project, asked: str, model: Model) -> tuple[str, pa.Table]:
    """What is to be explained, and the row with the types of the model's columns."""
    kinds = pa.schema([(name, ARROW_TYPES[c.type]) for name, c in model.columns.items()])
    if asked.lstrip("-").isdecimal():
        table = _read(project / TEST, list(model.columns))
        position = int(asked)
        if not 0 <= position < table.num_rows:
            raise InputError(
                "row-unknown",
                f"{TEST} has no row {asked}: give a position from 0 to {table.num_rows - 1}, or a "
                "JSON file of one row",
            )
        return f"row {position} of {TEST}", table.slice(position, 1).cast(kinds)
    try:
        values = json.loads(Path(asked).read_text(encoding="utf-8"))
    except OSError:
        raise InputError(
            "row-unknown",
            f"{asked} is neither a position in {TEST} nor a JSON file that can be read: give one",
        ) from None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InputError("row-form", f"{asked} is no JSON object of column: value: correct it")
    unknown = sorted(set(values) - set(load_schema(project).columns))
    if unknown:
        raise InputError(
            "column-unknown", f"{asked}: schema.yaml has no column {unknown[0]!r}: correct its name"
        )
    return asked, one_row(values, model.columns, asked)


def _read(path: Path, names: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=names)
    except FileNotFoundError:
        raise InputError("file-missing", f"{path} is not there: run `make pipeline`") from None


def _sample(path: Path, names: list[str], limit: int) -> pa.Table:
    """At most ``limit`` rows, evenly from first to last."""
    table = _read(path, names)
    count = min(limit, table.num_rows)
    return table.take(np.linspace(0, table.num_rows - 1, count).astype(int))


def _mixed(model: Model, rows: pd.DataFrame, pick: Array) -> Array:
    """Predict made-up rows: cell (i, j) is column j of the row at ``pick[i, j]``."""
    cells = {name: rows[name].array.take(pick[:, j]) for j, name in enumerate(model.columns)}
    return model.predict(pd.DataFrame(cells))


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
