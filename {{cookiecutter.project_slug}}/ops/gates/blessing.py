"""Verb ``bless``: is the candidate good enough to move on?

Blessed means: there are rules, and for every metric and slice they name the value is there and
finite, judged on enough rows, within its bounds, and against the champion on the same rows no worse
than ``margin`` and better than ``gain``, both with 95 % confidence. No check of the model failed or
crashed. Anything missing is *not blessed*.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import GOOD, Stop, read_json, read_section, say, write_json
from ..findings import closing, read_findings
from .rules import Rule, is_number, read_rules
from .slices import TEST, expand, masks_of

if TYPE_CHECKING:
    from .statistics import Comparison

BLESSING = Path("blessing.json")
MODEL = Path("model")
CHAMPION = Path("champion/champion.json")
CHECKS = Path("reports/model.json")
GATES = Path("gates.yaml")
RESAMPLES = 1000


def bless() -> int:
    """Write ``blessing.json``, blessed or not; the exit code says only that it was judged."""
    BLESSING.unlink(missing_ok=True)
    gates = read_section(GATES, "model")
    checks = closing(read_findings(CHECKS))
    least = gates.get("rows_min")
    rows_min = int(least) if is_number(least) else 0
    reasons = [] if rows_min >= 1 else ["gates.yaml has no model.rows_min"]
    rules = read_rules(gates.get("rules"), max(rows_min, 1))
    if not rules:
        reasons.append("gates.yaml has no model.rules: without a rule nothing is blessed")
    champion, said, why_not = _champion(gates.get("bootstrap"))
    reasons += [why_not] if why_not else []
    judged, not_judged, rows = judge(rules, champion, gates.get("resamples", RESAMPLES))
    reasons += [entry["reason"] for entry in judged if not entry["passed"]]
    reasons += [f"{f.check}: {f.message}" for f in checks]
    write_json(
        BLESSING,
        {
            "blessed": not reasons,
            "model_digest": model_digest(),
            "champion": said,
            "reasons": reasons,
            "rules": judged,
            "not_judged": not_judged,
            "rows": rows,
            "digests": {
                "test_data": file_digest(TEST),
                "gates": file_digest(GATES),
                "code": code_digest(Path("src")),
            },
        },
    )
    for reason in reasons:
        say(f"bless: {reason}")
    say(f"bless: {'blessed' if not reasons else 'NOT blessed'} (comparisons: {len(judged)})")
    return GOOD


def _champion(bootstrap: Any) -> tuple[Any, dict[str, Any] | None, str]:
    """The champion's predictions or None, what the record says of it, and why not blessed."""
    from .predictions import read_champion

    record = read_json(CHAMPION)
    if record.get("found") is True:
        predictions, reason = read_champion()
        said = {"model_digest": record["model_digest"]}
        if reason:
            return None, said, f"the champion cannot be compared: {reason}"
        return predictions, said, ""
    if isinstance(bootstrap, str) and bootstrap.strip():
        return None, {"bootstrap": bootstrap}, ""
    return (
        None,
        None,
        (
            "there is no champion: say why in model.bootstrap of gates.yaml, or bring one with "
            "`git fetch` and `dvc fetch`"
        ),
    )


def judge(
    rules: list[Rule], champion: Any, resamples: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Every rule on every slice it means; slices that were left out; the number of test rows."""
    from .predictions import read_candidate
    from .statistics import METRICS, compare

    task, candidate, baseline, cost = read_candidate()
    rows = len(candidate.truth)
    masks = masks_of(sorted({rule.column for rule in rules if rule.column}))
    judged: list[dict[str, Any]] = []
    not_judged: list[dict[str, Any]] = []
    todo: list[tuple[Rule, str]] = []
    slices: dict[str, Any] = {}
    for rule in rules:
        chosen, few, wrong = expand(rule, masks, rows)
        not_judged += few
        known = rule.metric in METRICS and task in METRICS[rule.metric].tasks
        fault = rule.fault or wrong or ("" if known else f"it is no metric of a {task} task")
        if rule.metric == "value" and cost is None:
            fault = fault or "ml-canvas.yaml gives no cost matrix"
        if fault:
            judged.append(
                _entry(rule, rule.column or "all") | {"reason": f"{rule.metric}: {fault}"}
            )
            continue
        slices |= {name: mask for name, mask in chosen.items() if name != "all"}
        todo += [(rule, name) for name in chosen]
    wanted = list(dict.fromkeys((rule.metric, name) for rule, name in todo))
    found = compare(
        task, candidate, champion, slices, wanted,
        baseline=baseline, resamples=resamples, cost=cost,
    )  # fmt: skip
    bootstrapped = champion is None
    judged += [
        judge_one(rule, name, found[(rule.metric, name)], bootstrapped) for rule, name in todo
    ]
    return judged, not_judged, rows


def judge_one(rule: Rule, name: str, seen: "Comparison", bootstrapped: bool) -> dict[str, Any]:
    """One rule on one slice: passed, or the reason why not."""
    entry = _entry(rule, name) | {
        "rows": seen.rows,
        "candidate": seen.candidate,
        "champion": seen.champion,
        "difference": seen.difference,
        "low": seen.low,
        "high": seen.high,
    }
    where = rule.metric if name == "all" else f"{rule.metric} on {name}"
    bounds, value = rule.bounds, seen.candidate
    reason = ""
    if seen.rows < rule.rows_min:
        reason = f"{where}: only {seen.rows} test rows, at least {rule.rows_min} are asked for"
    elif value is None:
        reason = f"{where} is missing or not finite for this candidate"
    elif value < bounds.get("min", value):
        reason = f"{where} is {value:.4g}, below the minimum {bounds['min']:.4g}"
    elif value > bounds.get("max", value):
        reason = f"{where} is {value:.4g}, above the maximum {bounds['max']:.4g}"
    elif rule.relative and not bootstrapped:
        reason = _against_champion(where, bounds, seen)
    return entry | {"passed": not reason, "reason": reason}


def _against_champion(where: str, bounds: dict[str, float], seen: "Comparison") -> str:
    if seen.champion is None or seen.low is None or seen.high is None:
        return f"{where} is missing or not finite for the champion"
    interval = f"[{seen.low:+.4g}, {seen.high:+.4g}]"
    if "margin" in bounds and not seen.low >= -bounds["margin"]:
        return (
            f"{where} may be worse than the champion by more than {bounds['margin']:.4g}: "
            f"{seen.candidate:.4g} against {seen.champion:.4g}, improvement {interval}"
        )
    if "gain" in bounds and not seen.low > bounds["gain"]:
        return (
            f"{where} is not surely better than the champion by {bounds['gain']:.4g}: "
            f"{seen.candidate:.4g} against {seen.champion:.4g}, improvement {interval}"
        )
    return ""


def _entry(rule: Rule, name: str) -> dict[str, Any]:
    bounds = {key: value for key, value in rule.bounds.items() if is_number(value)}
    empty = dict.fromkeys(("rows", "candidate", "champion", "difference", "low", "high"))
    return {"metric": rule.metric, "slice": name, **empty, **bounds, "passed": False}


def model_digest(directory: Path = MODEL) -> str:
    """``sha256:…`` over the names and contents of the model's two files, as the service does it."""
    total = hashlib.sha256()
    for name in ("model.json", "model.skops"):
        content = file_digest(directory / name).removeprefix("sha256:")
        total.update(f"{name} {content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def code_digest(folder: Path) -> str:
    """``sha256:…`` over the Python files below ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(f"{path.as_posix()} {file_digest(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file's bytes."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise Stop(f"{path} is not there: run `make pipeline`") from None
