"""How good the predictions are, by the metric that the rules of ``gates.yaml`` judge by."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.files import read_yaml
from gatehouse.metrics.table import METRICS, Metric, Rows

from .files import Schema

# What any rows have, where the metric of the rules is undefined: one class only, say.
ALWAYS = {"regression": "rmse"}
ELSE = "accuracy"


class Judge:
    """One metric, on the rows of both sides.

    ``worse`` is the share of its value that train loses to test, ``reach`` the standard error of
    that share, ``spread`` what one test row adds to it.
    """

    def __init__(self, paths: dict[str, Path], schema: Schema, gates: Path) -> None:
        self._labels = schema.classes
        train = self._read(paths["train"])
        base = train.truth.mean()
        if self._labels:
            counts = np.bincount(train.truth, minlength=len(self._labels)) + 1.0
            base = counts / counts.sum()  # as metrics.json has it
        answers = {"train": train, "test": self._read(paths["test"])}
        self._rows = {side: replace(rows, baseline=base) for side, rows in answers.items()}
        found: dict[str, Any] = {}
        for self.name in _metrics(gates, schema.task):
            found = {side: self._metric.measure(rows) for side, rows in self._rows.items()}
            if all(found.values()):
                break
        (before, moves), (test, others) = found["train"], found["test"]
        error = sqrt(moves.var() / len(moves) + others.var() / len(others))
        # Where the value is lost in its own noise, a share of it says nothing.
        base = max(abs(before), error, float(np.finfo(float).tiny))
        self.worse = float(self._metric.direction * (before - test) / base)
        self.reach = error / base
        self.spread = float(others.std()) / max(abs(test), np.finfo(float).tiny)
        self._test = float(self._metric.direction * test)

    @property
    def _metric(self) -> Metric:
        return METRICS[self.name]

    def scorer(self, positions: Any) -> Callable[[Any, pd.DataFrame, Any], float]:
        """A scorer of Deepchecks: more is better. ``positions`` makes an index row numbers of test.

        Rows on which the metric is undefined are as good as all of them.
        """
        test = self._rows["test"]

        def score(_model: Any, frame: pd.DataFrame, _truth: Any) -> float:
            chosen = positions(frame.index)
            if (chosen < 0).any():  # Deepchecks tries a scorer on a few train rows
                return self._test
            rows = Rows(test.truth[chosen], test.guess[chosen], test.baseline)
            found = self._metric.measure(rows)
            return self._test if found is None else float(self._metric.direction * found[0])

        return score

    def _read(self, path: Path) -> Rows:
        names = [f"p_{k}" for k in range(len(self._labels))]
        table = pq.read_table(path, columns=["truth", *(names or ["prediction"])])
        if not names:
            return Rows(table["truth"].to_numpy(), table["prediction"].to_numpy())
        guess = np.stack([table[name].to_numpy() for name in names], axis=1)
        at = pc.index_in(table["truth"].cast(pa.string()), value_set=pa.array(self._labels))
        return Rows(at.to_numpy().astype(np.int64), guess)


def _metrics(gates: Path, task: str) -> list[str]:
    """The metrics of ``model.rules`` that say better or worse, in order, and one that always does.

    ``value`` is left out: its costs stand in another file, and may add up to 0.
    """
    rules = (read_yaml(gates).get("model") or {}).get("rules")
    asked = [str(rule.get("metric")) for rule in rules or [] if isinstance(rule, dict)]
    return [
        name
        for name in [*asked, ALWAYS.get(task, ELSE)]
        if name in METRICS
        and name != "value"
        and METRICS[name].direction
        and task in METRICS[name].tasks
    ]
