"""Verb ``trial``: the candidate of staging beside the champion in production, for a while.

``canary`` gives it a share of the requests, ``ab`` a share of the keys in header X-Assign-Key, and
``shadow`` copies whose answers nobody gets. A champion of its own gets as many.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from gatehouse.core.config.deploy import Environment, environment
from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import is_number
from gatehouse.core.console import paint, say
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.files import write_json, write_text
from gatehouse.core.project import Project
from gatehouse.packaging.golden_requests import wait_ready
from gatehouse.registry import record
from gatehouse.registry.promote import same, told

from . import trial_stack
from .rollout import Clock, fit_to_run, golden_of
from .targets import target_of
from .trial_log import labels, read, values
from .trial_stack import MODES
from .trial_verdict import Rule, judge, judge_changed, judge_value

LOG, REPORT, GATES = Path("reports/trial.jsonl"), Path("reports/trial.json"), Path("gates.yaml")
NUMBERS = ("requests", "keys", "error_rate", "changed", "by")
PAUSE = 5.0
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def run(project: Project, options: SimpleNamespace) -> int:
    """What ``gatehouse trial ACTION`` asks for."""
    name = options.environment
    match options.action:
        case "start":
            return start(project, name, options.mode, options.share, options.replicas)
        case "stop":
            return stop(project, name)
        case "status":
            return status(project, name, as_json=options.json)
        case "config":
            sys.stdout.write(trial_stack.config(options.mode, options.share, "", kubernetes=True))
            return GOOD
    return verdict(project, name, options.log, options.outcomes, options.wait, as_json=options.json)


def start(project: Project, name: str, mode: str, share: float, replicas: int) -> int:
    """Start the trial, or bring it to this mode and share; idempotent."""
    where = _swarm(project, name)
    most = 100 if mode == "shadow" else 50  # the champion beside it gets as many
    if mode not in MODES or not 0.01 <= share <= most:
        raise Stop(
            "trial-share", f"{mode} of {share:g} %: say {', '.join(MODES)}, and 0.01 to {most}"
        )
    top = record.tip(project)
    champion, candidate = record.read(project, name, top), record.read(project, "staging", top)
    if champion is None or candidate is None:
        raise Stop(
            "trial-no-release",
            f"a trial needs a release in {name} and another in staging: promote them first",
        )
    if same(champion, candidate):
        raise Stop(
            "trial-same-release",
            f"staging and {name} have the same release: there is nothing to try",
        )
    target, clock = target_of(where), Clock("trial")
    found = target.running()
    if found is None or found.image != champion.image:
        raise Stop(
            "trial-record-differs",
            f"{name} does not run what its record says: `make deploy ENV={name}` first",
        )
    clock(f"{mode} of {told(candidate)}")
    fit_to_run(project, target, where, candidate, golden_of(project, candidate), clock)
    images = {"champion": champion.image, "candidate": candidate.image}
    trial_stack.start(project, where, images, mode, share, replicas)
    clock("runs")
    sys.stdout.write(f"{paint('TRIES', 'green')}: {mode} {share:g} % of {told(candidate)}\n")
    return GOOD


def stop(project: Project, name: str) -> int:
    """Keep what was logged, and let production answer alone; idempotent."""
    where = _swarm(project, name)
    if trial_stack.running(where):
        _keep(project, where)
        trial_stack.end(where)
    with target_of(where).front() as address:
        wait_ready(address, 30)
    sys.stdout.write(f"{name} answers alone\n")
    return GOOD


def status(project: Project, name: str, *, as_json: bool) -> int:
    """What is tried, if anything."""
    found = trial_stack.running(_swarm(project, name))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found is None:
        sys.stdout.write(f"{name}: no trial\n")
    else:
        sys.stdout.write(f"{name}: {found['mode']} {found['share']:g} % of {found['candidate']}\n")
    return GOOD


def verdict(
    project: Project,
    name: str,
    files: list[Path],
    outcomes: Path | None,
    wait: float,
    *,
    as_json: bool,
) -> int:
    """Judge the trial that runs, the one that was stopped last, or these logs; 0 only if it passes.

    ``wait``: ask again for so many seconds while it is inconclusive; one that fails is stopped.
    """
    numbers = _numbers(project)
    until, where = time.monotonic() + wait, None if files else _swarm(project, name)
    runs = where is not None and trial_stack.running(where) is not None
    while True:
        if runs and where:
            _keep(project, where)
        mode, asked, answers = read(files or [project / LOG])
        rules = judge(asked, numbers, numbers["p99_ms"])
        if mode == "shadow":
            rules.append(judge_changed(answers, numbers, classes=bool(labels(project))))
        if outcomes:
            sides, unit = values(project, outcomes, asked, answers)
            rules.append(judge_value(sides, numbers, unit))
        elif mode == "ab":
            rules.append(Rule("value", "inconclusive", "no outcomes yet: give them by --outcomes"))
        states = [rule.state for rule in rules]
        state = next((s for s in ("fail", "inconclusive") if s in states), "pass")
        if state != "inconclusive" or not runs or time.monotonic() >= until:
            break
        time.sleep(PAUSE)
    content = {"verdict": state, "mode": mode, "rules": [rule._asdict() for rule in rules]}
    write_json(project / REPORT, content)
    if as_json:
        sys.stdout.write(json.dumps(content) + "\n")
    else:
        _print(state, mode, rules)
    if wait and runs and where and state == "fail":
        trial_stack.end(where)
    return GOOD if state == "pass" else CLOSED


def _swarm(project: Project, name: str) -> Environment:
    where = environment(project, name)
    if where.target != "swarm":
        raise Stop(
            "trial-target",
            f"{name} has target {where.target}: docs/trials.md says how to try there",
        )
    return where


def _keep(project: Project, where: Environment) -> None:
    write_text(project / LOG, trial_stack.logs(where) + "\n")


def _numbers(project: Project) -> dict[str, float]:
    said = gates_section(project, "trial")
    said["p99_ms"] = gates_section(project, "release").get("p99_ms")
    for name in (*NUMBERS, "p99_ms"):
        if not is_number(said.get(name)) or said[name] < 0:
            raise Stop(
                "gate-no-rule",
                f"gates.yaml has no trial.{name}: say how much is needed or allowed",
                CLOSED,
            )
    return said


def _print(state: str, mode: str, rules: list[Rule]) -> None:
    say(f"reports: {LOG} and {REPORT}")
    sys.stdout.write(f"{paint(state.upper(), COLOURS[state])}: {mode}\n")
    for rule in rules:
        word = f"{rule.state:12}"
        sys.stdout.write(f"  {rule.name:8} {paint(word, COLOURS[rule.state])} {rule.said}\n")
