"""`python -m ops.checks data|model`: runs the checks of `gates.yaml` and writes their findings.

Exit code 0 when the checks ran, whatever they found (a gate decides), 2 for broken input.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from .deep import Deepchecks, Outcome
from .exact import EXACT, NotApplicable
from .files import (
    ROW_ID,
    BrokenInput,
    Inputs,
    Schema,
    Table,
    read_column,
    read_rows,
    read_schema,
    scan,
)
from .rules import Rule, read_rules

STATUSES = ("pass", "warn", "fail", "skipped", "error")
DATA_FILES = {"dataset": "data/dataset.parquet"}
MODEL_FILES = {
    "train": "data/train.parquet",
    "test": "data/test.parquet",
    "train-predictions": "predictions/train.parquet",
    "test-predictions": "predictions/test.parquet",
}


def main() -> int:
    """Run one stage; see the module."""
    options, started = _options(), time.monotonic()
    try:
        rows, seed, rules = read_rules(options.gates, options.stage)
        inputs = _inputs(options, rows, seed)
    except BrokenInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, pa.ArrowException) as error:
        why = type(error).__name__
        print(f"error: a Parquet file is damaged ({why}): make it again.", file=sys.stderr)
        return 2
    np.random.seed(seed)  # Deepchecks draws from the global generator in places.
    deep = Deepchecks(inputs, seed, display=options.html is not None)
    findings = []
    for number, rule in enumerate(rules, 1):
        before = time.monotonic()
        findings.append(_finding(rule, inputs, deep))
        took = f"{findings[-1]['status']} {time.monotonic() - before:.1f} s"
        print(f"check {number}/{len(rules)} {rule.name} {took}", file=sys.stderr)
    features = inputs.schema.features
    report = {
        "stage": options.stage,
        "rows": sum(table.rows for table in inputs.tables.values()),
        "rows_checked": sum(len(frame) for frame in deep.frames.values()),
        "columns_checked": len(features) - len(deep.left_out),
        "columns_not_checked": [name for name in features if name in deep.left_out],
        "deepchecks": deep.version,
        "findings": findings,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draft = options.out.with_name(f".{options.out.name}.{os.getpid()}")
    content = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    draft.write_text(content + "\n", encoding="utf-8")
    draft.replace(options.out)
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        deep.save(options.html)
    found = [finding["status"] for finding in findings]
    counts = ", ".join(f"{found.count(status)} {status}" for status in STATUSES)
    print(f"{options.out}: {counts}, {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.checks", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage, files in (("data", DATA_FILES), ("model", MODEL_FILES)):
        command = stages.add_parser(stage, help=f"check the {stage}")
        own = {"schema": "schema.yaml", "gates": "gates.yaml", "out": f"reports/{stage}.json"}
        for name, default in (files | own).items():
            command.add_argument(f"--{name}", type=Path, default=Path(default), metavar="FILE")
        command.add_argument("--html", type=Path, metavar="FILE", help="also draw charts (slow)")
    return parser.parse_args()


def _inputs(options: argparse.Namespace, rows: int, seed: int) -> Inputs:
    schema = read_schema(options.schema)
    if options.stage == "data":
        return Inputs(schema, {"train": scan(options.dataset, schema, rows, seed)}, {})
    files = {"train": options.train, "test": options.test}
    tables = {side: scan(path, schema, rows, seed) for side, path in files.items()}
    if not tables["train"].sample.dtypes.equals(tables["test"].sample.dtypes):
        raise BrokenInput(f"{options.test} has columns of other types than {options.train}.")
    paths = {"train": options.train_predictions, "test": options.test_predictions}
    predictions = {s: _predictions(tables[s], path, schema) for s, path in paths.items()}
    return Inputs(schema, tables, predictions)


def _predictions(table: Table, path: Path, schema: Schema) -> pd.DataFrame:
    """The predictions for the sampled rows; refused when they are for other rows."""
    if not read_column(path, "row_id").equals(read_column(table.path, ROW_ID)):
        raise BrokenInput(f"{path} is not for the rows of {table.path}: evaluate the model again.")
    proba = [f"p_{i}" for i in range(len(schema.classes))]
    frame = read_rows(path, ["truth", "prediction", *proba], table.positions)
    known = [*schema.classes, None, np.nan]
    if frame[["prediction", *proba]].isna().any().any():
        raise BrokenInput(f"{path} lacks predictions for some rows: evaluate the model again.")
    if schema.classes and not frame[["truth", "prediction"]].isin(known).all().all():
        raise BrokenInput(f"{path} has classes that the schema does not list: complete `classes`.")
    return frame


def _finding(rule: Rule, inputs: Inputs, deep: Deepchecks) -> dict[str, Any]:
    status, value, threshold = "error", None, None
    try:
        outcome = _outcome(rule, inputs, deep)
    except NotApplicable as reason:
        status = "skipped" if rule.may_skip else "error"
        message = f"Not applicable: {reason}."
    except Exception as error:
        # Only the kind of error: its text may quote the data.
        message = f"The check stopped with {type(error).__name__}."
    else:
        status = "pass" if outcome.holds else rule.severity
        worst = _worst(rule, outcome)
        value = worst[0][1]
        threshold = outcome.threshold if rule.limit else None
        message = _message(rule, outcome, worst, len(deep.usable))
    return {
        "check": rule.name,
        "status": status,
        "value": value,
        "threshold": threshold,
        "message": message,
        "fix": rule.fix,
    }


def _outcome(rule: Rule, inputs: Inputs, deep: Deepchecks) -> Outcome:
    if inputs.schema.task not in rule.tasks:
        raise NotApplicable(f"not for a {inputs.schema.task} task")
    if rule.deepchecks:
        outcome = deep.run(rule)
    else:
        measured = EXACT[rule.name](inputs, inputs.tables["train"])
        holds = all(number <= rule.threshold for number in measured.values())
        outcome = Outcome(measured, holds, rule.threshold, len(deep.usable))
    if not outcome.measured:
        raise NotApplicable("no column is of the kind it looks at")
    if not all(math.isfinite(number) for number in outcome.measured.values()):
        raise ArithmeticError
    return outcome


def _worst(rule: Rule, outcome: Outcome) -> list[tuple[tuple[str, ...], float]]:
    """The measurements that break the rule, or the one that comes closest."""
    bound = outcome.threshold
    ranked = sorted(outcome.measured.items(), key=lambda item: item[1], reverse=rule.limit != "min")
    broken = {
        "min": [item for item in ranked if item[1] < bound],
        "rare_below": [item for item in ranked if 0 < item[1] < bound],
    }.get(rule.limit, [item for item in ranked if item[1] > bound])
    return broken or ranked[:1]


def _message(
    rule: Rule, outcome: Outcome, worst: list[tuple[tuple[str, ...], float]], columns: int
) -> str:
    """One sentence with at most five columns and never a value of one."""
    message = rule.what[0].upper() + rule.what[1:]
    if rule.limit:
        message += f": {worst[0][1]:.3g}, threshold {outcome.threshold:.3g}"
    places = [" and ".join(name[:40] for name in names) for names, _ in worst]
    if not outcome.holds and any(places):
        shown = 5 // max(len(names) for names, _ in worst)
        more = f" and {len(places) - shown} more" if len(places) > shown else ""
        message += f", at {', '.join(places[:shown])}{more}"
    if outcome.columns < columns:
        message += f" (looked at {outcome.columns} of {columns} columns)"
    return message + "."


if __name__ == "__main__":
    sys.exit(main())
