"""Running one Deepchecks check on the samples, and asking its condition."""

import importlib
import logging
import os
import re
import sys
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .exact import Measured, NotApplicable
from .files import Inputs, Table, is_text, moments, text
from .judged import Judge
from .measures import MEASURES, NOTES, each
from .rules import Rule

LABEL = "target"
# Deepchecks looks rows up by index, and those of train and test must differ.
FIRST_TEST_ROW = 10**9
TOO_LITTLE = (
    "DatasetValidationError",
    "DeepchecksNotSupportedError",
    "DeepchecksProcessError",
    "NotEnoughSamplesError",
)
# What a two-sample Kolmogorov-Smirnov test of thirty columns may reach by chance, in standard
# errors: sqrt(ln(2 * 30 / 0.05) / 2).
CHANCE = 1.9


@dataclass(frozen=True)
class Outcome:
    """What a check measured, whether its condition holds, the threshold used, columns seen.

    `notes` are words to add to the columns of a measurement; `rows` how many it looked at, of how
    many; `metric` the one it judged by.
    """

    measured: Measured
    holds: bool
    threshold: float
    columns: int
    notes: dict[tuple[str, ...], str] = field(default_factory=dict)
    rows: tuple[int, int] = (0, 0)
    metric: str = ""


class Deepchecks:
    """The samples as Deepchecks wants them.

    Columns get names of our own, since Deepchecks trips over some ("", "index", the name of the
    target), and classes a number in front, since it wants them sorted.
    """

    def __init__(self, inputs: Inputs, seed: int, display: bool) -> None:
        os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "true"
        logging.disable(logging.CRITICAL)
        np.seterr(all="ignore")
        warnings.simplefilter("ignore")
        # A grammar of web addresses that takes seconds to build; jsonschema does without it.
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
        self.tabular = importlib.import_module("deepchecks.tabular")
        self.checks = importlib.import_module("deepchecks.tabular.checks")
        self.parallel_config = importlib.import_module("joblib").parallel_config
        # Once more: Deepchecks puts filters of its own in front when it is imported.
        warnings.simplefilter("ignore")
        self.version: str = importlib.import_module("deepchecks").__version__
        self.inputs, self.seed, self.display = inputs, seed, display
        self.results: list[Any] = []
        self.contexts: dict[int, Any] = {}
        schema = inputs.schema
        width = len(str(len(schema.classes)))
        self.classes = {name: f"{i:0{width}} {name}" for i, name in enumerate(schema.classes)}
        if display:
            self.classes = {name: harmless(shown) for name, shown in self.classes.items()}
        self.names = {
            f"{i}_{re.sub('[^a-zA-Z0-9]+', '_', name)[:30]}": name
            for i, name in enumerate(schema.features)
            if name not in schema.words
        }
        self.real = {**self.names, LABEL: schema.target, "time": schema.time, "id": schema.id}
        self.frames = {side: self._frame(side, table) for side, table in inputs.tables.items()}
        empty = {n for frame in self.frames.values() for n in self.names if frame[n].isna().all()}
        self.usable = [name for name in self.names if name not in empty]
        self.left_out = {self.names[name] for name in empty}

    def run(self, rule: Rule) -> Outcome:
        """Raises `NotApplicable` where there is nothing to check, and what Deepchecks raises."""
        if not self.usable or any(frame.empty for frame in self.frames.values()):
            raise NotApplicable("no row has a target and a feature, other than text, with a value")
        columns = min(rule.columns or len(self.usable), len(self.usable))
        kind = getattr(self.checks, rule.deepchecks)
        single = issubclass(kind, self.tabular.SingleDatasetCheck)
        sides = [list(self.frames)[-1]] if single else list(self.frames)
        seen = {side: min(len(f), rule.rows or len(f)) for side, f in self.frames.items()}
        chance = rule.noise * CHANCE * sqrt(sum(1 / size for size in seen.values()))
        options: dict[str, Any] = {"n_samples": max(seen.values()), "random_state": self.seed}
        if rule.judged:
            options["alternative_scorer"] = {self.judge.name: self.judge.scorer(self._test_rows)}
            chance *= self.judge.spread
        threshold = rule.threshold + chance
        check = kind(**options)
        argument = (0, threshold) if rule.limit == "rare_below" else threshold
        add_condition = getattr(check, f"add_condition_{rule.condition}")
        add_condition(**dict.fromkeys(rule.arguments, argument))
        try:
            # A process for each would import all of this anew, for a few milliseconds of work.
            with self.parallel_config(backend="threading"):
                result = self._result(check, self._context(columns))
        except Exception as error:
            if type(error).__name__ in TOO_LITTLE:
                raise NotApplicable("too few rows, or no column of the kind it needs") from None
            raise
        verdicts = {condition.category.name for condition in result.conditions_results}
        if not verdicts or "ERROR" in verdicts:
            raise RuntimeError("the condition gave no verdict")
        self.results.append(result)
        measured = self._named(MEASURES.get(rule.measure, each)(result.value))
        notes = self._named(NOTES.get(rule.measure, lambda _: {})(result.value))
        holds = verdicts == {"PASS"}
        if rule.judged:  # Deepchecks' ratio turns round where a score is negative
            holds = all(number <= threshold for number in measured.values())
        tables = self.inputs.tables
        rows = sum(seen[side] for side in sides), sum(tables[side].rows for side in sides)
        metric = self.judge.name if rule.judged else ""
        return Outcome(measured, holds, threshold, columns, notes, rows, metric)

    @cached_property
    def judge(self) -> Judge:
        """The metric that the rules judge by, on all rows."""
        return Judge(self.inputs.answers, self.inputs.schema, self.inputs.gates)

    def _test_rows(self, index: pd.Index) -> Any:
        """The rows of the test file that an index of ours names; negative where it is of train."""
        sampled = self.inputs.held_out.positions
        ours = index.to_numpy() - FIRST_TEST_ROW
        return np.where(ours < 0, -1, sampled[np.maximum(ours, 0)])

    def aside(self, outcome: Outcome) -> str:
        """What the check did not look at, to end its message with."""
        said = ""
        seen, rows = outcome.rows
        if seen < rows:
            said += f" (in the sample, {seen:,} of {rows:,} rows)"
        if outcome.columns < len(self.usable):
            said += f" (looked at {outcome.columns} of {len(self.usable)} columns)"
        if absent := self.inputs.left_out:
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            said += f" (not compared: {', '.join(name[:40] for name in absent[:5])}{more})"
        return said

    def _named(self, found: dict[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
        """With the names that the columns really have."""
        return {
            tuple(str(self.real.get(name, name)) for name in names): value
            for names, value in found.items()
        }

    def _result(self, check: Any, context: Any) -> Any:
        single, kind = issubclass(type(check), self.tabular.SingleDatasetCheck), None
        if single:
            kinds = importlib.import_module("deepchecks.core.checks").DatasetKind
            kind = kinds.TEST if "test" in self.frames else kinds.TRAIN
        result = check.run_logic(context, kind) if single else check.run_logic(context)
        context.finalize_check_result(result, check, kind)
        return result

    def _frame(self, side: str, table: Table) -> pd.DataFrame:
        schema, predictions = self.inputs.schema, self.inputs.predictions.get(side)
        sample = table.sample
        columns = {name: _column(sample[real]) for name, real in self.names.items()}
        label = sample[schema.target] if predictions is None else predictions["truth"]
        if self.classes:
            # Integrity checks see the classes as they are, model checks in their order.
            codes = self.classes if predictions is not None else {c: c for c in self.classes}
            columns[LABEL] = _column(label, as_text=True).map(codes).astype(object)
        else:
            columns[LABEL] = pd.to_numeric(label, errors="coerce").astype("float64")
        if schema.time:
            columns["time"] = moments(sample[schema.time])
        if schema.id:
            columns["id"] = _column(sample[schema.id])
        frame = pd.DataFrame(columns)
        frame.index += FIRST_TEST_ROW if side == "test" else 0
        if self.display:
            words = frame.select_dtypes(object).columns
            frame[words] = frame[words].map(harmless, na_action="ignore")
        return frame[frame[LABEL].notna()]

    def _context(self, columns: int) -> Any:
        if columns not in self.contexts:
            names = self.usable
            if columns < len(names):
                names = self._strongest(columns)
                self.left_out |= {self.names[n] for n in self.usable if n not in names}
            self.contexts[columns] = self._build(names)
        return self.contexts[columns]

    def _build(self, names: list[str]) -> Any:
        schema, options = self.inputs.schema, {}
        for side, frame in self.frames.items():
            options[side] = self.tabular.Dataset(
                frame,
                label=LABEL,
                features=names,
                cat_features=[name for name in names if frame[name].dtype == object],
                index_name="id" if schema.id else None,
                datetime_name="time" if schema.time else None,
                convert_datetime=False,
                label_type=schema.task,
            )
            if side in self.inputs.predictions:
                given = self.inputs.predictions[side].iloc[frame.index % FIRST_TEST_ROW]
                predicted = given["prediction"]
                options[f"y_pred_{side}"] = (
                    predicted.map(self.classes) if self.classes else predicted.astype("float64")
                )
                if self.classes:
                    options["model_classes"] = list(self.classes.values())
                    proba = [f"p_{i}" for i in range(len(self.classes))]
                    options[f"y_proba_{side}"] = given[proba].to_numpy()
        return self.tabular.Context(**options, with_display=self.display)

    def _strongest(self, columns: int) -> list[str]:
        """The columns that follow the target most closely, in the order of the schema."""
        frame = self.frames["train"][[*self.usable, LABEL]]
        codes = frame.apply(lambda c: pd.factorize(c, sort=True)[0] if c.dtype == object else c)
        strength = codes[self.usable].corrwith(codes[LABEL], method="spearman").abs().fillna(0)
        chosen = set(strength.sort_values(kind="stable").index[-columns:])
        return [name for name in self.usable if name in chosen]


def _column(values: pd.Series, *, as_text: bool = False) -> pd.Series:
    """Numbers and times as floating point, everything else as text; missing is NaN."""
    if as_text or is_text(values):
        # As objects first: pandas maps nullable integers as floating point ("1.0").
        words = values.astype(object).map(text, na_action="ignore")
        return words.astype(object).where(values.notna(), np.nan)
    return moments(values).replace([np.inf, -np.inf], np.nan)


def harmless(words: str) -> str:
    """Text of the data that no page takes for markup: its signs as their wide twins."""
    return words.translate({ord(sign): ord(sign) + 0xFEE0 for sign in "<>&\"'"})


def save(path: Path, desks: list[Deepchecks]) -> None:
    """Write the charts of all results to one HTML page."""
    suite = importlib.import_module("deepchecks.core.suite").SuiteResult
    results = [result for desk in desks for result in desk.results]
    suite("Gatehouse checks", results).save_as_html(str(path), as_widget=False)
