"""The bake time: a new release is watched before it counts as good.

Golden requests go through the front all the while, so that there is something to see without any
traffic; what clients got is read from the containers' own counts. Both are held against
``release`` in gates.yaml; what cannot be measured closes the gate.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import is_number
from gatehouse.core.project import Project
from gatehouse.packaging.golden_requests import ask, wrong

from .target import Step

BUDGET = ("error_rate", "p99_ms")
PAUSE, TELL = 0.2, 10.0
LINE = re.compile(r"^(service_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Seen(NamedTuple):
    """What one container has counted since it started."""

    model: str
    requests: float
    errors: float
    buckets: dict[float, float]  # answered within so many seconds


def watch(
    project: Project,
    address: str,
    golden: Mapping[str, Any],
    seconds: float,
    headers: Mapping[str, str],
    step: Step,
) -> str:
    """Why the release is not good, in one sentence; "" where it is."""
    budget = gates_section(project, "release")
    for name in BUDGET:
        if not is_number(budget.get(name)) or budget[name] < 0:
            return f"gates.yaml has no release.{name}: say how much is allowed"
    start, told, asked, failed, why = time.monotonic(), 0.0, 0, 0, ""
    replicas: dict[str, Seen] = {}
    while (passed := time.monotonic() - start) < seconds or not asked:
        asked += 1
        if said := wrong(address, golden, headers):
            failed, why = failed + 1, said
            if asked >= 5 and failed / asked > max(budget["error_rate"], 0.5):
                break  # no need to see more of it
        look(address, headers, replicas)
        if passed - told >= TELL:
            told = passed
            step(f"watched for {passed:.0f} of {seconds:g} s: {failed} of {asked} golden failed")
        time.sleep(PAUSE)
    if failed / asked > budget["error_rate"]:
        return f"{failed} of {asked} golden requests failed, the last because {why}"
    return judge(replicas, str(golden["model_digest"]), budget)


def look(address: str, headers: Mapping[str, str], replicas: dict[str, Seen]) -> None:
    """Note the counts of the container that answers; the proxy chooses which."""
    try:
        status, body = ask(address, "/metrics", headers=headers)
    except OSError:
        return
    if status != 200:
        return
    model, name, requests, errors, buckets = "", "", 0.0, 0.0, dict[float, float]()
    for metric, labels, number in LINE.findall(body.decode("utf-8", "replace")):
        said, value = dict(LABEL.findall(labels)), float(number)
        if metric == "service_model":
            model = said.get("model_digest", "")
        elif metric == "service_started_seconds":
            name = number
        elif not said.get("route", "").startswith("/predict"):
            continue
        elif metric == "service_requests_total":
            requests += value
            errors += value if said.get("status", "").startswith("5") else 0
        elif metric == "service_request_seconds_bucket":
            at = float(said["le"])
            buckets[at] = buckets.get(at, 0.0) + value
    if name:
        replicas[name] = Seen(model, requests, errors, buckets)


def judge(replicas: Mapping[str, Seen], model: str, budget: Mapping[str, float]) -> str:
    """Whether the containers of ``model`` answered well, over all that they were asked."""
    mine = [seen for seen in replicas.values() if seen.model == model]
    total = sum(seen.requests for seen in mine)
    if not total:
        return "no container of the release tells what it counted (/metrics)"
    rate = sum(seen.errors for seen in mine) / total
    if not rate <= budget["error_rate"]:
        return f"{rate:.2%} of {total:.0f} requests failed, above {budget['error_rate']:.2%}"
    slow = p99(mine) * 1000
    if not slow <= budget["p99_ms"]:
        return f"the slowest 1 % of requests took over {budget['p99_ms']:g} ms (up to {slow:g} ms)"
    return ""


def p99(seen: list[Seen]) -> float:
    """Upper bound in seconds of the bucket that the 99th percentile lies in.

    Of few requests the slowest one is left out: one that had to wait for a start says nothing.
    """
    bounds = sorted({bound for one in seen for bound in one.buckets})
    counts = [sum(one.buckets.get(bound, 0.0) for one in seen) for bound in bounds]
    if not counts or not counts[-1]:
        return float("inf")
    enough = min(0.99 * counts[-1], max(counts[-1] - 1, 1))
    return next(b for b, c in zip(bounds, counts, strict=True) if c >= enough)
