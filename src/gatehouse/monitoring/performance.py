"""How good the live model is: estimated where no truth is known yet, realised where it is.

Both are held against the model's own test rows. Where estimate and truth part on the same rows, the
world has changed and not only the input: concept drift. The rules of gates.yaml that need no other
model, with their slices and gaps, are asked of the labelled records as well.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.monitor import Settings
from gatehouse.core.config.rules import is_number, read_rules
from gatehouse.core.findings import Finding, Status
from gatehouse.core.project import Project
from gatehouse.metrics.predictions import class_labels, predictions, read_candidate

if TYPE_CHECKING:
    from gatehouse.metrics.comparison import Predictions

    from .estimate import Estimate

TWO_SIDED, ONE_SIDED = 1.96, 1.6449
LABELS = "Let labels arrive: files with `id` and the target, where monitor.yaml says (log.labels)."


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
    task, tested, baseline, cost = read_candidate(project, folder / "predictions")
    labels = class_labels(project)
    live, truths = _guess(window, labels), _known(labelled, labels)
    wanted = [settings.performance.metric]
    wanted += [m for m in _metrics(project, task, cost) if m not in wanted]
    about = {"folder": folder, "task": task, "tested": tested, "baseline": baseline, "cost": cost}
    about["kinds"] = kinds
    enough = len(truths.truth) >= settings.performance.labels_min
    on_window = _estimate(about, window, live, wanted, domain_auc)
    on_labelled = _estimate(about, labelled, truths.guess, wanted[:1], domain_auc) if enough else {}
    metrics: dict[str, Any] = {}
    for name in wanted:
        metrics[name] = {"reference": _interval(name, tested, baseline, cost)}
        metrics[name]["estimated"] = _said(on_window.get(name))
        metrics[name]["realised"] = _interval(name, truths, baseline, cost) if enough else None
    main = metrics[wanted[0]]
    main["expected"] = _said(on_labelled.get(wanted[0]))
    found = _worse(wanted[0], main, settings, window.num_rows, len(truths.truth))
    found += _gap(wanted[0], main, settings)
    return metrics, found + (
        _rules(project, task, truths, labelled, baseline, cost) if enough else []
    )


def guesses(project: Project, folder: Path, records: pa.Table) -> tuple[Any, Any]:
    """What the model said of its test rows and of these records: (n, k) or (n,)."""
    _, tested, _, _ = read_candidate(project, folder / "predictions")
    return tested.guess, _guess(records, class_labels(project))


def _metrics(project: Project, task: str, cost: Any) -> list[str]:
    """The metrics of gates.yaml that suit the task; ``value`` where the canvas has gains."""
    from gatehouse.metrics.table import METRICS

    rules = gates_section(project, "model").get("rules") or []
    names = [str(r.get("metric")) for r in rules if isinstance(r, dict)] + ["value"] * (
        cost is not None
    )
    return [n for n in dict.fromkeys(names) if n in METRICS and task in METRICS[n].tasks]


def _guess(records: pa.Table, labels: list[str]) -> Any:
    if labels:
        return np.stack([records[f"__p_{k}"].to_numpy() for k in range(len(labels))], axis=1)
    return records["__prediction"].to_numpy()


def _known(labelled: pa.Table, labels: list[str]) -> "Predictions":
    names = [f"p_{k}" for k in range(len(labels))] or ["prediction"]
    columns = {"truth": labelled["__truth"]} | {n: labelled[f"__{n}"] for n in names}
    return predictions(pa.table(columns), labels)


def _estimate(
    about: dict[str, Any], records: pa.Table, guess: Any, wanted: list[str], auc: float | None
) -> "dict[str, Estimate]":
    """By the test rows, those counting more that look like the live ones."""
    import pyarrow.parquet as pq

    from . import domain, estimate

    test = pq.read_table(about["folder"] / "data/test.parquet")
    kinds = {
        name: kind
        for name, kind in about["kinds"].items()
        if name in test.column_names and name in records.column_names
    }
    known, live = test.select(list(kinds)), records.select(list(kinds))
    tested, baseline = about["tested"], about["baseline"]
    if about["task"] == "regression":
        return estimate.regression(
            known, tested, live, guess, wanted, kinds, baseline=baseline, domain_auc=auc
        )
    return estimate.classification(
        tested,
        guess,
        wanted,
        baseline=baseline,
        cost=about["cost"],
        weights=domain.weights(known, live, kinds),
        domain_auc=auc,
    )


def _said(one: "Estimate | None") -> dict[str, Any] | None:
    if one is None or one.value is None:
        return None if one is None else {"value": None, "reliable": False, "why": one.why}
    said = {"value": one.value, "low": one.low, "high": one.high}
    return {k: round(float(v or 0.0), 6) for k, v in said.items()} | {
        "reliable": one.reliable,
        "why": one.why,
    }


def _interval(name: str, rows: "Predictions", baseline: Any, cost: Any) -> dict[str, Any] | None:
    """A metric with its 95 % interval, by its influence; None where it is undefined."""
    from gatehouse.metrics.table import METRICS, Rows

    if not len(rows.truth):
        return None
    measured = METRICS[name].measure(Rows(rows.truth, rows.guess, baseline, cost))
    if measured is None or not np.isfinite(measured[0]) or not np.isfinite(measured[1]).all():
        return None
    value, influence = measured
    error = float(np.sqrt(np.sum(influence**2) + np.abs(influence).max() ** 2)) / len(influence)
    return {
        "value": round(value, 6),
        "low": round(value - TWO_SIDED * error, 6),
        "high": round(value + TWO_SIDED * error, 6),
        "rows": len(influence),
    }


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
    from gatehouse.metrics.table import METRICS

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
        what: Status = status if bad else "pass"
        found.append(Finding(check, what, said, fix if bad else "", round(worse, 6), least))
    return found


def _gap(name: str, seen: dict[str, Any], settings: Settings) -> list[Finding]:
    """Estimate and truth on the same labelled rows: what parts them is concept drift."""
    from gatehouse.metrics.table import METRICS

    expected, realised = seen["expected"], seen["realised"]
    if not expected or expected.get("value") is None or not realised:
        return []
    gap, bad = _surely(expected, realised, settings.performance.gap, METRICS[name].direction or 1)
    seen["gap"] = round(gap, 6)
    if not expected["reliable"]:
        return [Finding("concept drift", "skipped", f"not reliable here: {expected['why']}")]
    said = f"{name} is {realised['value']:.4g} where {expected['value']:.4g} was to be expected"
    if not bad:
        return [Finding("concept drift", "pass", said, "", round(gap, 6), settings.performance.gap)]
    fix = "The same input means something else now: train on new rows, ask what has changed."
    return [Finding("concept drift", "warn", said, fix, round(gap, 6), settings.performance.gap)]


def _rules(
    project: Project, task: str, known: "Predictions", labelled: pa.Table, baseline: Any, cost: Any
) -> list[Finding]:
    """The rules of gates.yaml with min, max or gap, on the labelled records."""
    from gatehouse.gates.blessing import judge_gap, judge_one
    from gatehouse.metrics.comparison import compare
    from gatehouse.metrics.slices import by_column, expand, masks
    from gatehouse.metrics.table import METRICS

    section = gates_section(project, "model")
    least = section.get("rows_min")
    rules, _ = by_column(
        project, read_rules(section.get("rules"), int(least) if is_number(least) else 1)
    )
    found = []
    for rule in rules:
        bounds = {k: v for k, v in rule.bounds.items() if k in ("min", "max", "gap")}
        metric = METRICS.get(rule.metric)
        if rule.fault or not bounds or metric is None or task not in metric.tasks:
            continue
        rule = replace(rule, bounds=bounds)
        columns = [rule.column] if rule.column in labelled.column_names else []
        chosen, _, wrong = expand(rule, masks(labelled.select(columns)), len(known.truth))
        chosen = {n: mask for n, mask in chosen.items() if mask.sum() >= rule.rows_min}
        if wrong or not chosen:
            continue  # the labels that are here do not reach for it; another window may
        asked = [(rule.metric, name) for name in chosen]
        seen = compare(known, None, chosen, asked, baseline=baseline, cost=cost, resamples=1)
        values = {name: seen[rule.metric, name] for name in chosen}
        gap = "gap" in bounds
        judged = (
            [judge_gap(rule, values)]
            if gap
            else [judge_one(rule, name, one, False) for name, one in values.items()]
        )
        found += [_judged(rule.metric, entry, gap) for entry in judged]
    return found


def _judged(metric: str, entry: dict[str, Any], gap: bool) -> Finding:
    where = "" if entry["slice"] == "all" else f" on {entry['slice']}"
    check = f"{'fairness' if gap else 'gate'}: {metric}{where}"
    value = entry["candidate"]
    message = entry["reason"] or f"{value:.4g} on {entry['rows']:,} labelled records"
    fix = "gates.yaml asks for this: look at these records, then train or go back."
    limit = next((entry[k] for k in ("gap", "min", "max") if entry.get(k) is not None), None)
    value = None if value is None else round(value, 6)
    if entry["passed"]:
        return Finding(check, "pass", message, "", value, limit)
    return Finding(check, "warn" if gap else "fail", message, fix, value, limit)
