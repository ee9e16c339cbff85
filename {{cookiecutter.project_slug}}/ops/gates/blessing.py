"""Verb ``bless``: is the candidate good enough to move on?

Blessed means: there are rules, every metric they name is there and finite and within its bounds on
enough rows, and no check of the model failed or crashed. Anything missing is *not blessed*.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

from ..console import GOOD, Stop, read_json, read_yaml, say, write_json
from ..findings import closing, read_findings

BLESSING = Path("blessing.json")
MODEL = Path("model")
METRICS = Path("metrics.json")
CHECKS = Path("reports/model.json")
TEST = Path("data/test.parquet")
GATES = Path("gates.yaml")


def bless() -> int:
    """Write ``blessing.json``, blessed or not; the exit code says only that it was judged."""
    BLESSING.unlink(missing_ok=True)
    gates, metrics = read_yaml(GATES).get("model") or {}, read_json(METRICS)
    rules = gates.get("metrics") or {}
    if not isinstance(rules, dict):
        raise Stop(f"{GATES}: model.metrics is no mapping of metrics to bounds: restore it")
    judged = [judge_rule(name, bounds, metrics["test"]) for name, bounds in rules.items()]
    reasons = [rule["reason"] for rule in judged if not rule["passed"]]
    if not judged:
        reasons.append("gates.yaml has no model.metrics: without a rule nothing is blessed")
    reasons += _too_few(metrics["test"].get("rows"), gates.get("rows_min"))
    reasons += [f"{f.check}: {f.message}" for f in closing(read_findings(CHECKS))]
    verdict = {
        "blessed": not reasons,
        "model_digest": model_digest(),
        "reasons": reasons,
        "rules": judged,
        "rows": metrics["test"].get("rows"),
        "digests": {"test_data": file_digest(TEST), "gates": file_digest(GATES)},
    }
    write_json(BLESSING, verdict)
    for reason in reasons:
        say(f"bless: {reason}")
    say(f"bless: {'blessed' if not reasons else 'NOT blessed'} (rules: {len(judged)})")
    return GOOD


def judge_rule(name: str, bounds: Any, found: dict[str, Any]) -> dict[str, Any]:
    """One metric against ``{min: …, max: …}``; missing, NaN, unbounded: not passed."""
    value = found.get(name)
    rule = {"metric": name, "slice": "all", "value": None, "passed": False}
    if not isinstance(bounds, dict) or not bounds or set(bounds) - {"min", "max"}:
        return rule | {"reason": f"{name}: its rule in gates.yaml must give min, max or both"}
    if not all(_is_number(bound) for bound in bounds.values()):
        return rule | {"reason": f"{name}: its bounds in gates.yaml are no finite numbers"}
    rule |= bounds
    if not _is_number(value):
        return rule | {"reason": f"{name} is missing or not finite for this candidate"}
    rule["value"] = value
    low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
    if value < low:
        return rule | {"reason": f"{name} is {value:.4g}, below the minimum {low:.4g}"}
    if value > high:
        return rule | {"reason": f"{name} is {value:.4g}, above the maximum {high:.4g}"}
    return rule | {"passed": True, "reason": ""}


def model_digest(directory: Path = MODEL) -> str:
    """``sha256:…`` over the names and contents of the model's two files, as the service does it."""
    total = hashlib.sha256()
    for name in ("model.json", "model.skops"):
        content = file_digest(directory / name).removeprefix("sha256:")
        total.update(f"{name} {content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file's bytes."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise Stop(f"{path} is not there: run `make pipeline`") from None


def _too_few(rows: Any, least: Any) -> list[str]:
    if not _is_number(least) or least < 1:
        return ["gates.yaml has no model.rows_min: it must say how many test rows judge a model"]
    if not _is_number(rows) or rows < least:
        return [f"only {rows} test rows judge this candidate, at least {least} are asked for"]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
