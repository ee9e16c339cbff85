"""The few numbers behind each plot, from the predictions on the test rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.config.rules import value_text
from gatehouse.core.project import Project

from .markdown import Chart, number, show, table

PREDICTIONS, CLASSES = "predictions/test.parquet", 10


def predictions(project: Project, schema: dict[str, Any]) -> list[str | Chart]:
    """The plot of the task. Raises ``OSError``, ``LookupError`` or ``ValueError`` without one."""
    labels = [value_text(value) for value in schema["classes"]]
    names = ["truth", "p_1" if len(labels) == 2 else "prediction"]
    truth, guess = pq.read_table(project / PREDICTIONS, columns=names).select(names).itercolumns()
    if schema["task"] == "regression":
        return [_residuals(_finite(guess) - _finite(truth))]
    if len(labels) == 2:
        positive = pc.equal(truth.cast(pa.string()), labels[1])
        return [_calibration(_finite(positive), _finite(guess), labels[1])]
    places = [pc.index_in(c, value_set=pa.array(labels)) for c in (truth, guess)]
    return _confusion(_finite(places[0]), _finite(places[1]), labels)


def _calibration(truth: Any, probability: Any, positive: str) -> Chart:
    tenths = np.array_split(np.argsort(probability, kind="stable"), min(10, len(truth)))
    shares = {"predicted": probability, "observed": truth}
    series = {name: [float(of[rows].mean()) for rows in tenths] for name, of in shares.items()}
    labels = [str(k + 1) for k in range(len(tenths))]
    title = f"Share of {positive[:20]} - predicted, then observed"
    return Chart(title, "tenths of the rows, by prediction", "share", labels, series)


def _residuals(missed: Any) -> Chart:
    # Rows beyond these quantiles count in the outermost bars: one outlier hides no shape.
    low, high = np.quantile(missed, [0.005, 0.995])
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    counts, edges = np.histogram(np.clip(missed, low, high), bins=11, range=(low, high))
    labels = [f"{centre:.3g}" for centre in (edges[:-1] + edges[1:]) / 2]
    series = {"rows": counts.astype(float).tolist()}
    return Chart("Residuals on the test rows", "prediction - truth", "rows", labels, series, True)


def _confusion(truth: Any, guess: Any, labels: list[str]) -> list[str | Chart]:
    k = len(labels)
    counts = np.bincount((truth * k + guess).astype(int), minlength=k * k).reshape(k, k)
    shown = sorted(np.argsort(-counts.sum(axis=1), kind="stable")[:CLASSES])
    rows = [[show(labels[i]), *(number(int(counts[i, j])) for j in shown)] for i in shown]
    left = f" ({k - CLASSES:,} rarer classes are left out)" if k > CLASSES else ""
    head = " | ".join(["truth", *(show(labels[j]) for j in shown)])
    return [f"Confusion: true class down, predicted class across{left}.", table(head, rows)]


def _finite(column: Any) -> Any:
    values = column.to_numpy().astype(float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{PREDICTIONS} is empty or has missing or unknown values")
    return values
