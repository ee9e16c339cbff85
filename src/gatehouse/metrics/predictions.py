"""Predictions as the statistics want them: arrays of classes or values, on the same rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.config.rules import value_text
from gatehouse.core.errors import Stop
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project

from .comparison import Predictions

FOLDER = Path("predictions")
OTHER_TASK = "predictions/ are not of schema.yaml's task: run `make pipeline`"


def read_candidate(project: Project, folder: Path) -> tuple[str, Predictions, Any, Any]:
    """Task, predictions of the test rows, baseline of ``skill``, and the cost matrix or None."""
    from gatehouse.core.config.canvas import cost_matrix

    labels = class_labels(project)
    candidate = predictions(_read(folder, "test.parquet"), labels)
    train = _read(folder, "train.parquet", ["truth"])["truth"]
    if not len(train):
        raise Stop("table-empty", f"{folder / 'train.parquet'} has no rows: run `make pipeline`")
    baseline: Any
    if labels:
        counts = np.bincount(_positions(train, labels), minlength=len(labels)) + 1.0
        baseline = counts / counts.sum()
    else:
        baseline = float(np.mean(_numbers(train)))
    task, cost = read_yaml(project / "schema.yaml")["task"], cost_matrix(project, labels)
    gains = None if cost is None else np.array(cost, dtype=np.float64)
    return task, candidate, baseline, gains


def read_other(project: Project, name: str) -> tuple[Predictions | None, str]:
    """What ``champion`` or ``linear`` says of the candidate's test rows, or why it cannot."""
    try:
        table = _read(project / FOLDER, f"{name}.parquet")
        if table.num_rows == 0:
            metadata = table.schema.metadata or {}
            return None, metadata.get(b"reason", b"it gave no predictions").decode()
        ids = _read(project / FOLDER, "test.parquet", ["row_id"])["row_id"]
        if "row_id" not in table.column_names or not table["row_id"].equals(ids):
            return None, "it was asked about other rows than the candidate"
        return predictions(table, class_labels(project)), ""
    except Stop as error:
        return None, str(error)


def dummy(candidate: Predictions, baseline: Any) -> Predictions:
    """One answer for every row: class shares (k,) or mean target of the training rows."""
    return Predictions(candidate.truth, np.broadcast_to(baseline, candidate.guess.shape))


def class_labels(project: Project) -> list[str]:
    """The classes of schema.yaml as text, in order; none for a regression."""
    return [value_text(value) for value in read_yaml(project / "schema.yaml").get("classes") or []]


def _read(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(folder / name, columns=columns)
    except FileNotFoundError:
        raise Stop(
            "predictions-missing", f"{folder / name} is not there: run `make pipeline`"
        ) from None
    except (pa.ArrowException, OSError):
        raise Stop(
            "predictions-damaged", f"{folder / name} is damaged: run `make pipeline`"
        ) from None


def predictions(table: pa.Table, labels: list[str]) -> Predictions:
    """Columns ``truth`` and ``p_0`` on, or ``prediction`` of a regression, as arrays."""
    try:
        if not labels:
            return Predictions(_numbers(table["truth"]), _numbers(table["prediction"]))
        guess = np.stack([_numbers(table[f"p_{k}"]) for k in range(len(labels))], axis=1)
        return Predictions(_positions(table["truth"], labels), guess)
    except KeyError:
        raise Stop("predictions-of-other-task", OTHER_TASK) from None


def _numbers(values: pa.ChunkedArray) -> Any:
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise Stop("predictions-of-other-task", OTHER_TASK)
    return values.to_numpy()


def _positions(truth: pa.ChunkedArray, labels: list[str]) -> Any:
    if not pa.types.is_string(truth.type):
        raise Stop("predictions-of-other-task", OTHER_TASK)
    positions = pc.index_in(truth, value_set=pa.array(labels))
    if positions.null_count:
        raise Stop(
            "class-unknown",
            "predictions/ names classes that schema.yaml does not: run `make pipeline`",
        )
    return positions.to_numpy().astype(np.int64)
