"""Predictions as the statistics want them: arrays of classes or values, on the same rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..console import Stop, read_yaml
from .rules import value_text
from .statistics import Predictions

FOLDER = Path("predictions")


def read_candidate() -> tuple[str, Predictions, Any, Any]:
    """Task, predictions of the test rows, baseline of ``skill``, and the cost matrix or None."""
    schema = read_yaml(Path("schema.yaml"))
    task, labels = schema["task"], [value_text(value) for value in schema.get("classes") or []]
    candidate = _predictions(_read("test.parquet"), labels)
    train = _read("train.parquet", ["truth"])["truth"]
    baseline: Any
    if labels:
        counts = np.bincount(_positions(train, labels), minlength=len(labels)) + 1.0
        baseline = counts / counts.sum()
    else:
        baseline = float(pc.mean(train).as_py())
    return task, candidate, baseline, None


def read_champion() -> tuple[Predictions | None, str]:
    """The champion's predictions of the candidate's test rows, or the reason why there are none."""
    table = _read("champion.parquet")
    if table.num_rows == 0:
        metadata = table.schema.metadata or {}
        return None, metadata.get(b"reason", b"it gave no predictions").decode()
    if not table["row_id"].equals(_read("test.parquet", ["row_id"])["row_id"]):
        return None, "it was asked about other rows than the candidate"
    labels = [value_text(v) for v in read_yaml(Path("schema.yaml")).get("classes") or []]
    return _predictions(table, labels), ""


def _read(name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(FOLDER / name, columns=columns)
    except FileNotFoundError:
        raise Stop(f"{FOLDER / name} is not there: run `make pipeline`") from None
    except (pa.ArrowException, OSError):
        raise Stop(f"{FOLDER / name} is damaged: run `make pipeline`") from None


def _predictions(table: pa.Table, labels: list[str]) -> Predictions:
    if not labels:
        return Predictions(table["truth"].to_numpy(), table["prediction"].to_numpy())
    guess = np.stack([table[f"p_{k}"].to_numpy() for k in range(len(labels))], axis=1)
    return Predictions(_positions(table["truth"], labels), guess)


def _positions(truth: pa.ChunkedArray, labels: list[str]) -> Any:
    positions = pc.index_in(truth, value_set=pa.array(labels))
    if positions.null_count:
        raise Stop("predictions/ names classes that schema.yaml does not: run `make pipeline`")
    return positions.to_numpy().astype(np.int64)
