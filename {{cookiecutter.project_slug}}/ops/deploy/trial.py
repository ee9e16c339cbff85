"""Verb ``trial``: the candidate of staging beside the champion in production, for a while.

``canary`` gives it a share of the requests, ``ab`` a share of the keys in header X-Assign-Key, and
``shadow`` copies whose answers nobody gets. A champion of its own gets as many.
"""

import json
import sys
import time
from argparse import Namespace
from pathlib import Path

from ..console import CLOSED, GOOD, Stop, paint, read_section, say, write_json, write_text
from ..gates.rules import is_number
from ..release import record
from ..release.promote import same, told
from . import target_of, trial_stack
from .deploy import Clock, fit_to_run, golden_of
from .golden import wait_ready
from .settings import Environment, environment
from .trial_log import labels, read, values
from .trial_stack import MODES
from .trial_verdict import Rule, judge, judge_changed, judge_value

LOG, REPORT, GATES = Path("reports/trial.jsonl"), Path("reports/trial.json"), Path("gates.yaml")
NUMBERS = ("requests", "keys", "error_rate", "changed", "by")
PAUSE = 5.0
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def run(options: Namespace) -> int:
    """What ``ops trial ACTION`` asks for."""
    name = options.environment
    match options.action:
        case "start":
            return start(name, options.mode, options.share, options.replicas)
        case "stop":
            return stop(name)
        case "status":
            return status(name, as_json=options.json)
        case "config":
            sys.stdout.write(trial_stack.config(options.mode, options.share, "", kubernetes=True))
            return GOOD
    return verdict(name, options.log, options.outcomes, options.wait, as_json=options.json)


def start(name: str, mode: str, share: float, replicas: int) -> int:
    """Start the trial, or bring it to this mode and share; idempotent."""
    where = _swarm(name)
    most = 100 if mode == "shadow" else 50  # the champion beside it gets as many
    if mode not in MODES or not 0.01 <= share <= most:
        raise Stop(f"{mode} of {share:g} %: say {', '.join(MODES)}, and 0.01 to {most}")
    top = record.tip()
    champion, candidate = record.read(name, top), record.read("staging", top)
    if champion is None or candidate is None:
        raise Stop(f"a trial needs a release in {name} and another in staging: promote them first")
    if same(champion, candidate):
        raise Stop(f"staging and {name} have the same release: there is nothing to try")
    target, clock = target_of(where), Clock("trial")
    found = target.running()
    if found is None or found.image != champion.image:
        raise Stop(f"{name} does not run what its record says: `make deploy ENV={name}` first")
    clock(f"{mode} of {told(candidate)}")
    fit_to_run(target, where, candidate, golden_of(candidate), clock)
    images = {"champion": champion.image, "candidate": candidate.image}
    trial_stack.start(where, images, mode, share, replicas)
    clock("runs")
    sys.stdout.write(f"{paint('TRIES', 'green')}: {mode} {share:g} % of {told(candidate)}\n")
    return GOOD


def stop(name: str) -> int:
    """Keep what was logged, and let production answer alone; idempotent."""
    where = _swarm(name)
    if trial_stack.running(where):
        _keep(where)
        trial_stack.end(where)
    with target_of(where).front() as address:
        wait_ready(address, 30)
    sys.stdout.write(f"{name} answers alone\n")
    return GOOD


def status(name: str, *, as_json: bool) -> int:
    """What is tried, if anything."""
    found = trial_stack.running(_swarm(name))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found is None:
        sys.stdout.write(f"{name}: no trial\n")
    else:
        sys.stdout.write(f"{name}: {found['mode']} {found['share']:g} % of {found['candidate']}\n")
    return GOOD


def verdict(
    name: str, files: list[Path], outcomes: Path | None, wait: float, *, as_json: bool
) -> int:
    """Judge the trial that runs, the one that was stopped last, or these logs; 0 only if it passes.

    ``wait``: ask again for so many seconds while it is inconclusive; one that fails is stopped.
    """
    numbers = _numbers()
    until, where = time.monotonic() + wait, None if files else _swarm(name)
    runs = where is not None and trial_stack.running(where) is not None
    while True:
        if runs and where:
            _keep(where)
        mode, asked, answers = read(files or [LOG])
        rules = judge(asked, numbers, numbers["p99_ms"])
        if mode == "shadow":
            rules.append(judge_changed(answers, numbers, classes=bool(labels())))
        if outcomes:
            sides, unit = values(outcomes, asked, answers)
            rules.append(judge_value(sides, numbers, unit))
        elif mode == "ab":
            rules.append(Rule("value", "inconclusive", "no outcomes yet: give them by --outcomes"))
        states = [rule.state for rule in rules]
        state = next((s for s in ("fail", "inconclusive") if s in states), "pass")
        if state != "inconclusive" or not runs or time.monotonic() >= until:
            break
        time.sleep(PAUSE)
    content = {"verdict": state, "mode": mode, "rules": [rule._asdict() for rule in rules]}
    write_json(REPORT, content)
    if as_json:
        sys.stdout.write(json.dumps(content) + "\n")
    else:
        _print(state, mode, rules)
    if wait and runs and where and state == "fail":
        trial_stack.end(where)
    return GOOD if state == "pass" else CLOSED


def _swarm(name: str) -> Environment:
    where = environment(name)
    if where.target != "swarm":
        raise Stop(f"{name} has target {where.target}: docs/trials.md says how to try there")
    return where


def _keep(where: Environment) -> None:
    write_text(LOG, trial_stack.logs(where) + "\n")


def _numbers() -> dict[str, float]:
    said = read_section(GATES, "trial")
    said["p99_ms"] = read_section(GATES, "release").get("p99_ms")
    for name in (*NUMBERS, "p99_ms"):
        if not is_number(said.get(name)) or said[name] < 0:
            raise Stop(f"gates.yaml has no trial.{name}: say how much is needed or allowed", CLOSED)
    return said


def _print(state: str, mode: str, rules: list[Rule]) -> None:
    say(f"reports: {LOG} and {REPORT}")
    sys.stdout.write(f"{paint(state.upper(), COLOURS[state])}: {mode}\n")
    for rule in rules:
        word = f"{rule.state:12}"
        sys.stdout.write(f"  {rule.name:8} {paint(word, COLOURS[rule.state])} {rule.said}\n")
