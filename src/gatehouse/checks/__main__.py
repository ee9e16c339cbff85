"""`python -m gatehouse.checks data|model`: runs the checks of `gates.yaml`, writes findings.

Exit code 0 when the checks ran, whatever they found (a gate decides), 2 for broken input.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from gatehouse.core.errors import InputError
from gatehouse.core.findings import Finding, Status

from . import exact
from .deep import CHANCE, Deepchecks, Outcome, save
from .exact import SAMPLED, Measured, NotApplicable
from .files import read_schema
from .inputs import DATA_FILES, MODEL_FILES, champion_inputs, read_inputs
from .rules import Rule, read_rules


def main() -> int:
    """Run one stage; see the module."""
    options, started = _options(), time.monotonic()
    try:
        rows, seed, rules = read_rules(options.gates, options.stage)
        desks = _desks(options, rules, rows, seed)
    except InputError as error:
        print(error.told("error"), file=sys.stderr)
        return 2
    except (OSError, pa.ArrowException) as error:
        why = type(error).__name__
        print(f"error: a Parquet file is damaged ({why}): make it again.", file=sys.stderr)
        return 2
    np.random.seed(seed)  # Deepchecks draws from the global generator in places.
    findings = []
    for number, rule in enumerate(rules, 1):
        before = time.monotonic()
        findings.append(_finding(rule, desks[rule.against]))
        took = f"{findings[-1].status} {time.monotonic() - before:.1f} s"
        print(f"check {number}/{len(rules)} {rule.name} {took}", file=sys.stderr)
    written = options.html or options.out
    written.parent.mkdir(parents=True, exist_ok=True)
    draft = written.with_name(f".{os.getpid()}.{written.name}")
    if options.html:
        save(draft, [desk for desk in desks.values() if isinstance(desk, Deepchecks)])
    else:
        report = _report(options.stage, desks[""]) | {"findings": [f.as_json() for f in findings]}
        content = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        draft.write_text(content + "\n", encoding="utf-8")
    draft.replace(written)
    found = [finding.status for finding in findings]
    counts = ", ".join(f"{found.count(status)} {status}" for status in get_args(Status))
    print(f"{written}: {counts}, {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gatehouse.checks", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage, files in (("data", DATA_FILES), ("model", MODEL_FILES)):
        command = stages.add_parser(stage, help=f"check the {stage}")
        own = {"schema": "schema.yaml", "gates": "gates.yaml", "out": f"reports/{stage}.json"}
        for name, default in (files | own).items():
            command.add_argument(
                f"--{name}", type=Path, default=Path(default), metavar="FILE", dest=name
            )
        command.add_argument("--html", type=Path, metavar="FILE", help="draw charts, nothing else")
    return parser.parse_args()


def _desks(options: argparse.Namespace, rules: list[Rule], rows: int, seed: int) -> dict[str, Any]:
    """What a rule is `against` -> Deepchecks on these tables, or the reason why there are none."""
    files, schema = vars(options), read_schema(options.schema)
    display = options.html is not None
    desks: dict[str, Any] = {"": Deepchecks(read_inputs(files, schema, rows, seed), seed, display)}
    if any(rule.against for rule in rules):
        try:
            inputs = champion_inputs(files, schema, rows, seed)
            desks["champion"] = Deepchecks(inputs, seed, display)
        except NotApplicable as reason:
            desks["champion"] = reason
    return desks


def _report(stage: str, desk: Deepchecks) -> dict[str, Any]:
    features = desk.inputs.schema.features
    return {
        "version": 1,
        "stage": stage,
        "rows": sum(table.rows for table in desk.inputs.tables.values()),
        "rows_checked": sum(len(frame) for frame in desk.frames.values()),
        "columns_checked": len(features) - len(desk.left_out),
        "columns_not_checked": [name for name in features if name in desk.left_out],
        "deepchecks": desk.version,
    }


def _finding(rule: Rule, desk: Deepchecks | NotApplicable) -> Finding:
    status: Status = "error"
    fix = rule.remedy([])
    value: float | str = "not measured"
    threshold: float = rule.threshold
    try:
        if isinstance(desk, NotApplicable):
            raise desk
        outcome = _outcome(rule, desk)
    except NotApplicable as reason:
        status = "skipped" if rule.may_skip else "error"
        message = f"Not applicable: {reason}."
    except Exception as error:
        # Only the kind of error: its text may quote the data.
        message = f"The check stopped with {type(error).__name__}."
    else:
        beyond = _beyond(rule, outcome)
        broken = {names: v for names, v in beyond.items() if not {*names} & {*rule.accept}}
        worst = broken or beyond or dict([next(iter(outcome.measured.items()))])
        holds = outcome.holds or (bool(beyond) and not broken)
        status = "pass" if holds else rule.severity
        value = next(iter(worst.values()))
        threshold = outcome.threshold
        message = _message(rule, outcome, value, [] if holds else list(worst))
        if accepted := _columns(names for names in beyond if names not in broken):
            message += f" (accepted: {', '.join(accepted)})"
        message += f"{desk.aside(outcome)}."
        fix = rule.remedy(_columns(worst))
    return Finding(rule.name, status, message, fix, value, threshold)


def _outcome(rule: Rule, desk: Deepchecks) -> Outcome:
    """What the check measured, the largest first."""
    inputs = desk.inputs
    if inputs.schema.task not in rule.tasks:
        raise NotApplicable(f"not for a {inputs.schema.task} task")
    if rule.deepchecks:
        outcome = desk.run(rule)
    elif rule.judged:
        judge = desk.judge
        threshold = rule.threshold + rule.noise * CHANCE * judge.reach
        found: Measured = {(): judge.worse}
        holds = judge.worse <= threshold
        outcome = Outcome(found, holds, threshold, len(desk.usable), metric=judge.name)
    else:
        table = inputs.tables["train"]
        measured = (rule.own or getattr(exact, rule.measure))(inputs, table)
        holds = all(number <= rule.threshold for number in measured.values())
        rows = (len(table.sample), table.rows) if rule.measure in SAMPLED else (0, 0)
        outcome = Outcome(measured, holds, rule.threshold, len(desk.usable), rows=rows)
    if not outcome.measured:
        raise NotApplicable("no column is of the kind it looks at")
    if not all(math.isfinite(number) for number in outcome.measured.values()):
        raise ArithmeticError
    ranked = sorted(outcome.measured.items(), key=lambda item: item[1], reverse=True)
    return replace(outcome, measured=dict(ranked))


def _beyond(rule: Rule, outcome: Outcome) -> Measured:
    """The measurements on the wrong side of the threshold."""
    bound, rare = outcome.threshold, rule.limit == "rare_below"
    return {
        names: number
        for names, number in outcome.measured.items()
        if (0 < number < bound if rare else number > bound)
    }


def _columns(places: Iterable[tuple[str, ...]]) -> list[str]:
    """Each column once, in order."""
    return list(dict.fromkeys(name for names in places for name in names))


def _message(rule: Rule, outcome: Outcome, value: float, worst: list[tuple[str, ...]]) -> str:
    """What was measured and where: a few columns and never a value of one."""
    message = (rule.what[0].upper() + rule.what[1:]).replace("{metric}", outcome.metric)
    if rule.limit:
        message += f": {value:.3g}, threshold {outcome.threshold:.3g}"
    places = [
        " and ".join(name[:40] for name in names) + outcome.notes.get(names, "")
        for names in worst
        if names
    ]
    if places:
        shown = 5 if max(map(len, worst)) == 1 else 3
        more = f" and {len(places) - shown} more" if len(places) > shown else ""
        message += f", at {', '.join(places[:shown])}{more}"
    return message


if __name__ == "__main__":
    sys.exit(main())
