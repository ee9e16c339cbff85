"""How good the live model is: estimated where no truth is known yet, realised where it is.

Both are held against the model's own test rows. Where estimate and truth part on the same rows, the
world has changed and not only the input: concept drift. The rules of gates.yaml that need no other
model, with their slices and gaps, are asked of the labelled records as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.monitor import Settings
from gatehouse.core.config.rules import is_number, read_rules
from gatehouse.core.findings import Finding, Status, graded
from gatehouse.core.project import Project
from gatehouse.gates.blessing import judge_gap, judge_one
from gatehouse.metrics.comparison import Predictions, compare, measured
from gatehouse.metrics.predictions import class_labels, predictions, read_candidate
from gatehouse.metrics.slices import by_column, expand, masks
from gatehouse.metrics.table import METRICS, Rows

from . import domain, estimate

TWO_SIDED, ONE_SIDED = 1.96, 1.6449
LABELS = "Let labels arrive: files with `id` and the target, where monitor.yaml says (log.labels)."


@dataclass(frozen=True)
class _Live:
    """The live model: what it said of its test rows, and what its metrics are measured by."""

    folder: Path
    kinds: Mapping[str, str]
    task: str
    tested: Predictions
    baseline: Any
    cost: Any


def look(
    project: Project,
    folder: Path,
    window: pa.Table,
    labelled: pa.Table,
    kinds: Mapping[str, str],
    settings: Settings,
    domain_auc: float | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Metrics by name (reference, estimated, realised, gap) and the findings on them.

    ``folder`` holds ``predictions/`` and ``data/`` of the live model; ``window`` and ``labelled``
    are its records (``monitoring.records``), ``kinds`` the types of its features.
    """
    live = _Live(folder, kinds, *read_candidate(project, folder / "predictions"))
    labels = class_labels(project)
    truths = _known(labelled, labels)
    main = settings.performance.metric
    wanted = list(dict.fromkeys([main, *_metrics(project, live)]))
    enough = len(truths.truth) >= settings.performance.labels_min
    on_window = _estimate(live, window, _guess(window, labels), wanted, domain_auc)
    on_labelled = _estimate(live, labelled, truths.guess, [main], domain_auc) if enough else {}
    metrics: dict[str, Any] = {
        name: {
            "reference": _interval(name, live.tested, live),
            "estimated": _said(on_window.get(name)),
            "realised": _interval(name, truths, live) if enough else None,
        }
        for name in wanted
    }
    metrics[main]["expected"] = _said(on_labelled.get(main))
    found = _worse(main, metrics[main], settings, window.num_rows, len(truths.truth))
    found += _gap(main, metrics[main], settings)
    return metrics, found + (_rules(project, live, truths, labelled) if enough else [])


def guesses(project: Project, folder: Path, records: pa.Table) -> tuple[Any, Any]:
    """What the model said of its test rows and of these records: (n, k) or (n,)."""
    _, tested, _, _ = read_candidate(project, folder / "predictions")
    return tested.guess, _guess(records, class_labels(project))


def _metrics(project: Project, live: _Live) -> list[str]:
    """The metrics of gates.yaml that suit the task; ``value`` where the canvas has gains."""
    rules = gates_section(project, "model").get("rules") or []
    names = [str(rule.get("metric")) for rule in rules if isinstance(rule, dict)]
    names += [] if live.cost is None else ["value"]
    return [name for name in names if name in METRICS and live.task in METRICS[name].tasks]


def _guess(records: pa.Table, labels: list[str]) -> Any:
    if labels:
        return np.stack([records[f"__p_{k}"].to_numpy() for k in range(len(labels))], axis=1)
    return records["__prediction"].to_numpy()


def _known(labelled: pa.Table, labels: list[str]) -> Predictions:
    names = [f"p_{k}" for k in range(len(labels))] or ["prediction"]
    columns = {"truth": labelled["__truth"]} | {n: labelled[f"__{n}"] for n in names}
    return predictions(pa.table(columns), labels)


def _estimate(
    live: _Live, records: pa.Table, guess: Any, wanted: list[str], auc: float | None
) -> dict[str, estimate.Estimate]:
    """By the test rows, those counting more that look like the live ones."""
    test = pq.read_table(live.folder / "data/test.parquet")
    both = {*test.column_names} & {*records.column_names}
    kinds = {name: kind for name, kind in live.kinds.items() if name in both}
    known, now = test.select(list(kinds)), records.select(list(kinds))
    more = {"baseline": live.baseline, "domain_auc": auc}
    if live.task == "regression":
        return estimate.regression(known, live.tested, now, guess, wanted, kinds, **more)
    weights = domain.weights(known, now, kinds)
    return estimate.classification(
        live.tested, guess, wanted, cost=live.cost, weights=weights, **more
    )


def _said(one: estimate.Estimate | None) -> dict[str, Any] | None:
    if one is None:
        return None
    span = {} if one.value is None else _span(one.value, one.low, one.high)
    return {"value": None, **span, "reliable": one.reliable, "why": one.why}


def _span(value: Any, low: Any, high: Any) -> dict[str, float]:
    return {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6)}


def _interval(name: str, rows: Predictions, live: _Live) -> dict[str, Any] | None:
    """A metric with its 95 % interval, by its influence; None where it is undefined."""
    found = measured(METRICS[name], Rows(rows.truth, rows.guess, live.baseline, live.cost))
    if found is None:
        return None
    value, influence = found
    error = float(np.sqrt(np.sum(influence**2) + np.abs(influence).max() ** 2)) / len(influence)
    wide = TWO_SIDED * error
    return {**_span(value, value - wide, value + wide), "rows": len(influence)}


def _error(one: dict[str, Any]) -> float:
    return float(one["high"] - one["low"]) / 2 / TWO_SIDED


def _surely(
    before: dict[str, Any], after: dict[str, Any], least: float, direction: int
) -> tuple[float, bool]:
    """How much worse ``after`` is, and whether by ``least`` or more and by no chance."""
    worse = direction * (before["value"] - after["value"])
    sure = worse - ONE_SIDED * math.hypot(_error(before), _error(after)) > 0
    return worse, worse >= least and sure


def _worse(
    name: str, seen: dict[str, Any], settings: Settings, rows: int, labels: int
) -> list[Finding]:
    """Realised (fail) and estimated (warn) against the test rows.

    Where half of the truths are known they decide, and the estimate only informs.
    """
    found, least = [], settings.performance.loss
    direction = METRICS[name].direction or 1
    before = seen["reference"]
    fix = "Train a successor on newer data (`make pipeline gate`), or go back: `make rollback`."
    levels: dict[str, Status] = {"realised": "fail", "estimated": "warn"}
    for kind, status in levels.items():
        one, check = seen[kind], f"{kind} {name}"
        if before is None or one is None or one.get("value") is None:
            why = (one or {}).get("why") or (
                f"{labels:,} labels are there, {settings.performance.labels_min:,} are asked for"
                if kind == "realised"
                else f"{name} is undefined on these rows"
            )
            found.append(Finding(check, "skipped", why, LABELS if kind == "realised" else ""))
            continue
        said = f"{one['value']:.4g} [{one['low']:.4g}, {one['high']:.4g}]"
        said += f", {before['value']:.4g} on the test rows"
        if kind == "estimated" and not one["reliable"]:
            found.append(Finding(check, "skipped", f"{said}; not reliable here: {one['why']}"))
            continue
        worse, bad = _surely(before, one, least, direction)
        if kind == "estimated" and bad and seen["realised"] and labels >= rows / 2:
            said, bad = f"{said}; the truth is known and decides", False
        found.append(graded(check, bad, said, fix, worse, least, status))
    return found


def _gap(name: str, seen: dict[str, Any], settings: Settings) -> list[Finding]:
    """Estimate and truth on the same labelled rows: what parts them is concept drift."""
    expected, realised, most = seen["expected"], seen["realised"], settings.performance.gap
    if not expected or expected.get("value") is None or not realised:
        return []
    gap, bad = _surely(expected, realised, most, METRICS[name].direction or 1)
    seen["gap"] = round(gap, 6)
    if not expected["reliable"]:
        return [Finding("concept drift", "skipped", f"not reliable here: {expected['why']}")]
    said = f"{name} is {realised['value']:.4g} where {expected['value']:.4g} was to be expected"
    fix = "The same input means something else now: train on new rows, ask what has changed."
    return [graded("concept drift", bad, said, fix, gap, most)]


def _rules(project: Project, live: _Live, known: Predictions, labelled: pa.Table) -> list[Finding]:
    """The rules of gates.yaml with min, max or gap, on the labelled records."""
    section = gates_section(project, "model")
    least = section.get("rows_min")
    read = read_rules(section.get("rules"), int(least) if is_number(least) else 1)
    rules, _ = by_column(project, read)
    found = []
    for rule in rules:
        bounds = {k: v for k, v in rule.bounds.items() if k in ("min", "max", "gap")}
        metric = METRICS.get(rule.metric)
        if rule.fault or not bounds or metric is None or live.task not in metric.tasks:
            continue
        rule = replace(rule, bounds=bounds)
        columns = [rule.column] if rule.column in labelled.column_names else []
        chosen, _, wrong = expand(rule, masks(labelled.select(columns)), len(known.truth))
        chosen = {n: mask for n, mask in chosen.items() if mask.sum() >= rule.rows_min}
        if wrong or not chosen:
            continue  # the labels that are here do not reach for it; another window may
        asked = [(rule.metric, name) for name in chosen]
        by = {"baseline": live.baseline, "cost": live.cost}
        seen = compare(known, None, chosen, asked, resamples=1, **by)
        values = {name: seen[rule.metric, name] for name in chosen}
        if gap := "gap" in bounds:
            judged = [judge_gap(rule, values)]
        else:
            judged = [judge_one(rule, name, one, False) for name, one in values.items()]
        found += [_judged(rule.metric, entry, gap) for entry in judged]
    return found


def _judged(metric: str, entry: dict[str, Any], gap: bool) -> Finding:
    where = "" if entry["slice"] == "all" else f" on {entry['slice']}"
    check = f"{'fairness' if gap else 'gate'}: {metric}{where}"
    value = entry["candidate"]
    message = entry["reason"] or f"{value:.4g} on {entry['rows']:,} labelled records"
    fix = "gates.yaml asks for this: look at these records, then train or go back."
    limit = next((entry[k] for k in ("gap", "min", "max") if entry.get(k) is not None), None)
    worst: Status = "warn" if gap else "fail"
    return graded(check, not entry["passed"], message, fix, value, limit, worst)
