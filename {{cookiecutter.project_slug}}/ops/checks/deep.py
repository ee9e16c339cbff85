"""Running one Deepchecks check on the samples, and asking its condition."""

import importlib
import logging
import os
import re
import warnings
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from .exact import Measured, NotApplicable
from .files import Inputs, Table, moments, text
from .settings import Rule

LABEL = "target"
# Deepchecks looks rows up by index, and those of train and test must differ.
FIRST_TEST_ROW = 10**9
NOT_APPLICABLE = (
    "DatasetValidationError",
    "DeepchecksNotSupportedError",
    "DeepchecksProcessError",
    "NotEnoughSamplesError",
)
# Ranges over some thirty columns: sqrt(ln(2 * 30 / 0.05) / 2), the band of a two-sample KS test.
CHANCE = 1.9


class Deepchecks:
    """The samples as Deepchecks wants them.

    Columns get names of our own, since Deepchecks trips over some ("", "index", the name of the
    target), and classes a number in front, since it wants them sorted.
    """

    def __init__(self, inputs: Inputs, seed: int, display: bool) -> None:
        os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "true"
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        logging.disable(logging.CRITICAL)
        self.tabular = importlib.import_module("deepchecks.tabular")
        self.checks = importlib.import_module("deepchecks.tabular.checks")
        self.kind = importlib.import_module("deepchecks.core.checks").DatasetKind
        # Importing Deepchecks puts its own filter for warnings in front of ours.
        warnings.simplefilter("ignore")
        self.version: str = importlib.import_module("deepchecks").__version__
        self.inputs, self.seed, self.display = inputs, seed, display
        self.results: list[Any] = []
        self.contexts: dict[int, Any] = {}
        width = len(str(len(inputs.schema.classes)))
        self.classes = {c: f"{i:0{width}} {c}" for i, c in enumerate(inputs.schema.classes)}
        self.names = {
            f"{i}_{re.sub(r'[^a-zA-Z0-9]+', '_', name)[:30]}": name
            for i, name in enumerate(inputs.schema.features)
        }
        self.real = {**self.names, LABEL: inputs.schema.target}
        self.real |= {"time": inputs.schema.time or "", "id": inputs.schema.id or ""}
        sides = {"train": inputs.train, "test": inputs.test}
        self.frames = {side: self._frame(side, table) for side, table in sides.items() if table}
        empty = {n for frame in self.frames.values() for n in self.names if frame[n].isna().all()}
        self.usable = [name for name in self.names if name not in empty]
        self.left_out = {self.names[name] for name in empty}

    def run(self, rule: Rule) -> tuple[Measured, bool, float, int]:
        """The measurements by real column names, whether the condition holds, its limit, columns.

        Raises `NotApplicable` where there is nothing to check, and whatever Deepchecks raises.
        """
        rows = min((len(frame) for frame in self.frames.values()), default=0)
        if not self.usable or not rows:
            raise NotApplicable("no row has a target and a feature with a value")
        spec, columns = rule.spec, min(rule.columns or len(self.usable), len(self.usable))
        limit = rule.limit
        if spec.noise:
            sizes = [min(len(frame), rule.rows or len(frame)) for frame in self.frames.values()]
            limit += spec.noise * CHANCE * sqrt(sum(1 / size for size in sizes))
        options = {"n_samples": rule.rows or 10**7, "random_state": self.seed, **spec.options}
        if spec.scorers:
            regression = self.inputs.schema.task == "regression"
            metrics = spec.scorers[2] if regression else spec.scorers[1]
            options[spec.scorers[0]] = {metric: metric for metric in metrics}
        check = getattr(self.checks, spec.deepchecks)(**options)
        arguments = {name: spec.shape(limit) for name in spec.arguments}
        getattr(check, f"add_condition_{spec.condition}")(**arguments, **spec.fixed)
        try:
            context = self._context(columns)
            side = "train" if spec.stage == "data" else spec.side
            kind = getattr(self.kind, side.upper()) if side else None
            result = check.run_logic(context, **({"dataset_kind": kind} if kind else {}))
            context.finalize_check_result(result, check, kind)
        except Exception as error:
            if type(error).__name__ in NOT_APPLICABLE:
                raise NotApplicable("too few rows or columns of the kind it needs") from None
            raise
        self.results.append(result)
        measured = {
            tuple(self.real.get(name, name) for name in names): number
            for names, number in spec.measure(result.value).items()
        }
        categories = {condition.category.name for condition in result.conditions_results}
        if not categories or "ERROR" in categories:
            raise RuntimeError("the condition gave no verdict")
        return measured, categories == {"PASS"}, limit, columns

    def save(self, path: str) -> None:
        """Write the charts of all results to one HTML page."""
        suite = importlib.import_module("deepchecks.core.suite").SuiteResult
        if os.path.exists(path):
            os.remove(path)  # Deepchecks would write a second file beside it.
        suite("Gatehouse checks", self.results).save_as_html(path, as_widget=False)

    def _frame(self, side: str, table: Table) -> pd.DataFrame:
        schema, predictions = self.inputs.schema, self.inputs.predictions.get(side)
        sample = table.sample
        frame = {name: _column(sample[real]) for name, real in self.names.items()}
        label = predictions["truth"] if predictions is not None else sample[schema.target]
        if schema.task == "regression":
            frame[LABEL] = pd.to_numeric(label, errors="coerce").astype("float64")
        else:
            words = label.map(text, na_action="ignore")
            # Integrity checks see the classes as they are, model checks in their order.
            codes = self.classes if predictions is not None else {c: c for c in self.classes}
            frame[LABEL] = words.map(codes).astype(object)
        for name, real in (("time", schema.time), ("id", schema.id)):
            if real:
                frame[name] = moments(sample[real]) if name == "time" else _column(sample[real])
        result = pd.DataFrame(frame)
        result.index = pd.RangeIndex(len(result)) + (FIRST_TEST_ROW if side == "test" else 0)
        return result[result[LABEL].notna()]

    def _context(self, columns: int) -> Any:
        if columns not in self.contexts:
            names = self.usable
            if columns < len(names):
                names = self._strongest(columns)
                self.left_out |= {self.names[n] for n in self.usable if n not in names}
            self.contexts[columns] = self._build(names)
        return self.contexts[columns]

    def _build(self, names: list[str]) -> Any:
        schema = self.inputs.schema
        data, options = {}, {}
        for side, frame in self.frames.items():
            data[side] = self.tabular.Dataset(
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
                kept = self.inputs.predictions[side].iloc[frame.index % FIRST_TEST_ROW]
                given = kept["prediction"]
                options[f"y_pred_{side}"] = given.map(self.classes if self.classes else float)
                if self.classes:
                    proba = [f"p_{i}" for i in range(len(self.classes))]
                    options[f"y_proba_{side}"] = kept[proba].to_numpy()
        if options and self.classes:
            options["model_classes"] = list(self.classes.values())
        return self.tabular.Context(**data, with_display=self.display, **options)

    def _strongest(self, columns: int) -> list[str]:
        """The columns that follow the target most closely, in the order of the schema."""
        frame = self.frames["train"][[*self.usable, LABEL]]
        codes = frame.apply(lambda c: pd.factorize(c, sort=True)[0] if c.dtype == object else c)
        strength = codes[self.usable].corrwith(codes[LABEL], method="spearman").abs().fillna(0)
        chosen = set(strength.sort_values(kind="stable").index[-columns:])
        return [name for name in self.usable if name in chosen]


def _column(values: pd.Series) -> pd.Series:
    """Numbers and times as floating point, everything else as text; missing is NaN."""
    if pd.api.types.is_bool_dtype(values) or not (
        pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values)
    ):
        return values.map(text, na_action="ignore").astype(object).where(values.notna(), np.nan)
    return moments(values).replace([np.inf, -np.inf], np.nan)
