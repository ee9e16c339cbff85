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

from .deep import Deepchecks
from .exact import Measured, NotApplicable
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
from .settings import Rule, Settings, read_settings


def main() -> int:
    """Run one stage; see the module."""
    options = _options()
    started = time.monotonic()
    try:
        settings = read_settings(options.gates, options.stage)
        inputs = _inputs(options, settings, read_schema(options.schema))
    except BrokenInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    deep = Deepchecks(inputs, settings.seed, display=options.html is not None)
    findings = []
    for number, rule in enumerate(settings.rules, 1):
        before = time.monotonic()
        findings.append(_finding(rule, inputs, deep))
        seconds = time.monotonic() - before
        where = f"check {number}/{len(settings.rules)} {rule.name}"
        print(f"{where} {findings[-1]['status']} {seconds:.1f} s", file=sys.stderr)
    tables = [table for table in (inputs.train, inputs.test) if table]
    report = {
        "stage": options.stage,
        "rows": sum(table.rows for table in tables),
        "rows_checked": sum(len(frame) for frame in deep.frames.values()),
        "columns_checked": len(inputs.schema.features) - len(deep.left_out),
        "columns_not_checked": [n for n in inputs.schema.features if n in deep.left_out],
        "deepchecks": deep.version,
        "findings": findings,
    }
    _write(options.out, json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False))
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        deep.save(str(options.html))
    counts = {s: sum(f["status"] == s for f in findings) for s in ("pass", "warn", "fail", "error")}
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    seconds = time.monotonic() - started
    print(f"{options.out}: {len(findings)} checks, {words}, {seconds:.1f} s", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.checks", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage, files in (
        ("data", {"dataset": "data/dataset.parquet"}),
        (
            "model",
            {
                "train": "data/train.parquet",
                "test": "data/test.parquet",
                "train-predictions": "predictions/train.parquet",
                "test-predictions": "predictions/test.parquet",
            },
        ),
    ):
        command = stages.add_parser(stage, help=f"check the {stage}")
        files |= {"schema": "schema.yaml", "gates": "gates.yaml", "out": f"reports/{stage}.json"}
        for name, default in files.items():
            command.add_argument(f"--{name}", type=Path, default=Path(default), metavar="FILE")
        command.add_argument("--html", type=Path, metavar="FILE", help="also draw charts (slow)")
    return parser.parse_args()


def _inputs(options: argparse.Namespace, settings: Settings, schema: Schema) -> Inputs:
    if options.stage == "data":
        return Inputs(schema, scan(options.dataset, schema, settings.rows, settings.seed), None, {})
    tables, predictions = {}, {}
    for side, data, predicted in (
        ("train", options.train, options.train_predictions),
        ("test", options.test, options.test_predictions),
    ):
        tables[side] = scan(data, schema, settings.rows, settings.seed)
        predictions[side] = _predictions(tables[side], predicted, schema)
    return Inputs(schema, tables["train"], tables["test"], predictions)


def _predictions(table: Table, path: Path, schema: Schema) -> Any:
    """The predictions for the sampled rows; refused when they are for other rows."""
    if not read_column(path, "row_id").equals(read_column(table.path, ROW_ID)):
        raise BrokenInput(f"{path} is not for the rows of {table.path}: evaluate the model again.")
    proba = [f"p_{i}" for i in range(len(schema.classes))]
    frame = read_rows(path, ["truth", "prediction", *proba], table.positions)
    strange = frame[["prediction", *proba]].isna().any().any() or (
        schema.classes and not frame["prediction"].isin(schema.classes).all()
    )
    if strange:
        raise BrokenInput(f"{path} has predictions that are missing or no class of the schema.")
    return frame


def _finding(rule: Rule, inputs: Inputs, deep: Deepchecks) -> dict[str, Any]:
    finding = {"check": rule.name, "status": "error", "value": None, "threshold": None}
    finding |= {"message": "", "fix": rule.spec.fix}
    try:
        if inputs.schema.task not in rule.spec.tasks:
            raise NotApplicable(f"not for a {inputs.schema.task} task")
        note = ""
        if rule.spec.exact:
            measured, limit = rule.spec.exact(inputs), rule.limit
            good = all(number <= limit for number in measured.values())
        else:
            measured, good, limit, columns = deep.run(rule)
            if columns < len(deep.usable):
                note = f" (looked at {columns} of {len(deep.usable)} columns)"
        if not measured:
            raise NotApplicable("no column is of the kind it looks at")
        if not all(math.isfinite(number) for number in measured.values()):
            raise ArithmeticError
    except NotApplicable as reason:
        status = "skipped" if rule.may_skip else "error"
        return finding | {"status": status, "message": f"Not applicable: {reason}."}
    except Exception as error:
        # The text of an exception may quote the data.
        return finding | {"message": f"The check stopped with {type(error).__name__}."}
    worst = (min if rule.spec.limit == "min" else max)(measured.values())
    return finding | {
        "status": "pass" if good else rule.severity,
        "value": worst,
        "threshold": limit if rule.spec.limit else None,
        "message": _message(rule, measured, worst, limit, good) + note + ".",
    }


def _message(rule: Rule, measured: Measured, worst: float, limit: float, good: bool) -> str:
    what = rule.spec.what[0].upper() + rule.spec.what[1:]
    bound = f", limit {limit:.3g}" if rule.spec.limit else ""
    if list(measured) == [()]:
        return f"{what}: {worst:.3g}{bound}"
    ranked = sorted(measured.items(), key=lambda item: -item[1])
    positive = [item for item in ranked if item[1] > 0]
    bad = [item for item in positive if item[1] >= limit] or positive
    if good or not bad:
        return f"{what}: at most {worst:.3g}{bound}"
    named, shown = [], 0
    for names, number in bad:
        shown += len(names)
        if shown > 5:
            break
        named.append(f"{' and '.join(name[:40] for name in names)} {number:.3g}")
    more = f" and {len(bad) - len(named)} more" if len(bad) > len(named) else ""
    return f"{what}{bound}: {', '.join(named)}{more}"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(content + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    np.random.seed(0)
    sys.exit(main())
