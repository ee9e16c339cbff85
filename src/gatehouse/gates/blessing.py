"""Stage ``blessing``: is the candidate good enough to move on?

Blessed means: there are rules, and for every metric and slice they name the value is there and
finite, judged on enough rows, within its bounds, and against another model on the same rows no
worse than ``margin`` and better than ``gain``, both with 95 % confidence. No check and no test of
the model failed or crashed. Anything missing is *not blessed*.
"""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse.core.config import results
from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import OTHERS, Rule, is_number, read_rules
from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL, code_digest, file_digest, model_digest
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import read_json
from gatehouse.core.findings import closing
from gatehouse.core.layout import BLESSING as BLESSING  # for verdict.py
from gatehouse.core.layout import CHAMPION, PARITY, ROUND_TRIP
from gatehouse.core.project import Project
from gatehouse.core.version import LIBRARY, __version__
from gatehouse.metrics.slices import TEST, by_column, expand, masks_of

from . import data_gate as data
from . import own_stages

if TYPE_CHECKING:
    from gatehouse.metrics.comparison import Comparison, Predictions

CHECKS, TESTS = Path("reports/model.json"), Path("reports/model_tests.json")
GATES = Path("gates.yaml")
JUDGE = LIBRARY
RESAMPLES, LEAST, MOST = 1000, 100, 100_000
NOTICED = 0.1  # the share of the margin against linear below which a sure loss is not told


def bless(project: Project) -> int:
    """Write ``blessing.json``, blessed or not; the exit code says only that it was judged."""
    (project / BLESSING).unlink(missing_ok=True)
    gates = gates_section(project, "model")
    checks = closing(
        results.read_findings(project / CHECKS) + results.read_findings(project / TESTS)
    )
    least = gates.get("rows_min")
    rows_min = int(least) if is_number(least) else 0
    reasons = [] if rows_min >= 1 else ["gates.yaml has no model.rows_min"]
    rules = read_rules(gates.get("rules"), max(rows_min, 1))
    champion, said, why_not = _champion(project, gates.get("bootstrap"))
    reasons += [why_not] if why_not else []
    resamples = gates.get("resamples", RESAMPLES)
    if not isinstance(resamples, int) or not LEAST <= resamples <= MOST:
        reasons.append(f"model.resamples in gates.yaml must be {LEAST} to {MOST:,}")
        resamples = RESAMPLES
    judged, not_judged, rows = judge(project, rules, champion, resamples)
    if not judged:
        reasons.append(
            "gates.yaml has no model.rules that can be judged: without a rule nothing is blessed"
        )
    beaten = by_linear(project, judged)
    reasons += [entry["reason"] for entry in judged if not entry["passed"]]
    reasons += [f"{f.check}: {f.message}" for f in checks]
    round_trip = results.read_result(project / ROUND_TRIP, results.RoundTrip)
    reasons += [_differs(one) for one in round_trip.differ]
    report = project / data.REPORT
    blessing = results.Blessing.model_validate(
        {
            "blessed": not reasons,
            "model_digest": model_digest(project / MODEL),
            "serving": results.dump(results.read_result(project / PARITY, results.Parity)),
            "round_trip": results.dump(round_trip),
            "champion": said,
            "beaten": beaten,
            "reasons": reasons,
            "rules": judged,
            "not_judged": not_judged,
            "rows": rows,
            "data_rows": results.read_result(report, results.DataGate).rows
            if report.exists()
            else None,
            "judge": {
                "version": __version__,
                "digest": code_digest(JUDGE),
                "own": own_stages.replaced(project),
            },
            "digests": {
                "test_data": file_digest(project / TEST),
                "gates": file_digest(project / GATES),
                "code": code_digest(project / "src"),
            },
        }
    )
    results.write_result(project / BLESSING, blessing)
    for reason in reasons:
        say(f"blessing: {reason}")
    say(f"blessing: {'blessed' if not reasons else 'NOT blessed'} (comparisons: {len(judged)})")
    return GOOD


def by_linear(project: Project, judged: list[dict[str, Any]]) -> str:
    """A sentence where the candidate is surely worse than the linear baseline on all rows."""
    for rule in judged:
        # A tenth of what the rule allows is no difference that anybody acts on.
        least = NOTICED * (rule.get("margin") or 0)
        surely = is_number(rule["high"]) and rule["high"] < -least
        if rule["against"] == "linear" and rule["slice"] == "all" and surely:
            values = f"{rule['metric']} {rule['candidate']:.4g} against {rule['champion']:.4g}"
            return f"surely worse than a linear model ({values}): {_mends(project)}"
    return ""


def _mends(project: Project) -> str:
    """The line of params.yaml that does."""
    asked = None
    with suppress(Stop):  # a damaged file is told by those who need it
        asked = read_json(project / MODEL / CARD).get("choice", {}).get("asked")
    if asked == "linear":
        return "it is one itself, so set `features` in params.yaml to auto"
    return f"`model: {'linear' if asked == 'auto' else 'auto'}` in params.yaml mends it"


def _differs(one: results.Differs) -> str:
    """A way on which rows of the source mean something else than in the file."""
    columns = ", ".join(repr(name) for name in one.columns)
    where = (
        f", by column {columns}: give its words for missing as null_values in schema.yaml"
        if columns
        else ""
    )
    ways = {"json": "JSON to the service", "catalogue": "the catalogue's model"}
    way = ways.get(one.way, f"the {one.way}")
    return f"round trip: by {way}, {one.reason} than by the source{where}"


def _champion(
    project: Project, bootstrap: Any
) -> tuple["Predictions | None", dict[str, Any] | None, str]:
    """The champion's predictions or None, what the record says of it, and why not blessed."""
    from gatehouse.metrics.predictions import read_other

    record = results.read_result(project / CHAMPION, results.Champion, old=True)
    if record.found:
        predictions, reason = read_other(project, "champion")
        why_not = f"the champion cannot be compared: {reason}" if reason else ""
        said = {k: v for k, v in results.dump(record).items() if k in ("model_digest", "data_rows")}
        return predictions, said, why_not
    if isinstance(bootstrap, str) and bootstrap.strip():
        return None, {"bootstrap": bootstrap}, ""
    if record.released:
        why = "the candidate itself is in production, and no release was before it"
        return None, {"bootstrap": why}, ""
    why_not = (
        "there is no champion: say why in model.bootstrap of gates.yaml, or bring one with "
        "`git fetch` and `dvc fetch`"
    )
    return None, None, why_not


def judge(
    project: Project, rules: list[Rule], champion: "Predictions | None", resamples: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Every rule on every slice it means; slices that were left out; the number of test rows."""
    from gatehouse.metrics.comparison import compare
    from gatehouse.metrics.predictions import FOLDER, dummy, read_candidate, read_other

    task, candidate, baseline, cost = read_candidate(project, project / FOLDER)
    rows = len(candidate.truth)
    others = {"": None, "champion": champion, "dummy": dummy(candidate, baseline)}
    others["linear"], why_not = read_other(project, "linear")
    faults = [_misfit(rule, task, cost, why_not) for rule in rules]
    rules = [
        replace(rule, fault=rule.fault or fault) for rule, fault in zip(rules, faults, strict=True)
    ]
    rules, not_judged = by_column(project, rules)
    masks = masks_of(project, rules, rows)
    plan: list[tuple[Rule, list[str], str]] = []
    slices: dict[str, Any] = {}
    for rule in rules:
        chosen, few, wrong = expand(rule, masks, rows)
        not_judged += few
        fault = rule.fault or wrong
        slices |= chosen
        plan.append((rule, [] if fault else list(chosen), fault))
    found = {
        name: compare(
            candidate,
            other,
            slices,
            [(rule.metric, at) for rule, names, _ in plan if rule.against == name for at in names],
            baseline=baseline,
            resamples=resamples,
            cost=cost,
        )
        for name, other in others.items()
    }
    judged = []
    for rule, names, fault in plan:
        seen = {name: found[rule.against][rule.metric, name] for name in names}
        if fault:
            entry = _entry(rule, rule.column or "all")
            judged.append(entry | {"reason": f"{rule.metric}: {fault}"})
        elif "gap" in rule.bounds:
            judged.append(judge_gap(rule, seen))
        else:
            asked = rule.relative and (rule.against != "champion" or champion is not None)
            judged += [judge_one(rule, name, one, asked) for name, one in seen.items()]
    return judged, not_judged, rows


def _misfit(rule: Rule, task: str, cost: Any, no_linear: str) -> str:
    """Why this rule cannot be judged here."""
    from gatehouse.metrics.table import METRICS

    metric = METRICS.get(rule.metric)
    if metric is None or task not in metric.tasks:
        return f"it is no metric of a {task} task"
    if rule.relative and not metric.direction:
        return "neither more nor less of it is better: give min, max or gap"
    if rule.metric == "value" and cost is None:
        return "ml-canvas.yaml gives no cost matrix"
    if rule.against == "linear" and no_linear:
        return f"{OTHERS['linear']} cannot be compared: {no_linear}"
    return ""


def judge_one(rule: Rule, name: str, seen: "Comparison", asked: bool) -> dict[str, Any]:
    """One rule on one slice: passed, or the reason why not. ``asked``: is there another model?"""
    measured = asdict(seen)
    entry = _entry(rule, name) | {"champion": measured.pop("other")} | measured
    where = rule.metric if name == "all" else f"{rule.metric} on {name}"
    bounds, value = rule.bounds, seen.candidate
    reason = _unusable(where, rule, seen)
    if value is None or reason:
        pass
    elif value < bounds.get("min", value):
        reason = f"{where} is {value:.4g}, below the minimum {bounds['min']:.4g}"
    elif value > bounds.get("max", value):
        reason = f"{where} is {value:.4g}, above the maximum {bounds['max']:.4g}"
    elif asked:
        reason = _against(where, rule, seen)
    return entry | {"passed": not reason, "reason": reason}


def judge_gap(rule: Rule, seen: dict[str, "Comparison"]) -> dict[str, Any]:
    """The distance of the two extreme groups of a column: passed, or the reason why not."""
    entry = _entry(rule, str(rule.column)) | {"rows": sum(one.rows for one in seen.values())}
    lacking = (_unusable(f"{rule.metric} on {name}", rule, one) for name, one in seen.items())
    reason = next((why for why in lacking if why), "")
    if not reason:
        groups = sorted((one.candidate or 0.0, name) for name, one in seen.items())
        (least, low), (most, high) = groups[0], groups[-1]
        entry |= {"candidate": most - least, "groups": {low: least, high: most}}
        if not most - least <= rule.bounds["gap"]:
            reason = (
                f"{rule.metric} is {least:.4g} on {low} and {most:.4g} on {high}: a gap of "
                f"{most - least:.4g}, above {rule.bounds['gap']:.4g}"
            )
    return entry | {"passed": not reason, "reason": reason}


def _unusable(where: str, rule: Rule, seen: "Comparison") -> str:
    if seen.rows < rule.rows_min:
        return f"{where}: only {seen.rows} test rows, at least {rule.rows_min} are asked for"
    return f"{where} is missing or not finite for this candidate" if seen.candidate is None else ""


def _against(where: str, rule: Rule, seen: "Comparison") -> str:
    whom, bounds = OTHERS[rule.against], rule.bounds
    if seen.other is None or seen.low is None or seen.high is None:
        return f"{where} is missing or not finite for {whom}"
    values = f"{seen.candidate:.4g} against {seen.other:.4g}"
    shown = f"{values}, improvement [{seen.low:+.4g}, {seen.high:+.4g}]"
    if "margin" in bounds and not seen.low >= -bounds["margin"]:
        return f"{where} may be worse than {whom} by more than {bounds['margin']:.4g}: {shown}"
    if "gain" in bounds and not seen.low > bounds["gain"]:
        return f"{where} is not surely better than {whom} by {bounds['gain']:.4g}: {shown}"
    return ""


def _entry(rule: Rule, name: str) -> dict[str, Any]:
    bounds = {key: value for key, value in rule.bounds.items() if is_number(value)}
    empty = dict.fromkeys(("rows", "candidate", "champion", "difference", "low", "high"))
    about = {"metric": rule.metric, "slice": name, "against": rule.against or None}
    return {**about, **empty, **bounds, "passed": False}
