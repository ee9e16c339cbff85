"""Verb ``test-model``: run ``tests/model`` by pytest, and make a finding of each test."""

import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .console import GOOD, Stop, read_section, say, write_json
from .findings import Finding, Status, closing

TESTS = Path("tests/model")
REPORT = Path("reports/model_tests.json")
BUDGET = Path("reports/budget.json")  # what tests/model/test_budget.py measured, if it came to it
RUN = f"Run `pytest {TESTS}` to see why."
WIDTH, MOST = 200, 100_000
STATUS: dict[str, Status] = {"failure": "fail", "error": "error", "skipped": "skipped"}
AUTHORS = ("AssertionError", "Failed", "InputError")
WRONG = {2: "was interrupted", 3: "failed itself", 4: "was called wrongly", 5: "found no test"}


def test_model() -> int:
    """Write ``reports/model_tests.json``; the blessing judges what stands there."""
    REPORT.unlink(missing_ok=True)
    rules = read_section(Path("gates.yaml"), "model_tests")
    may_skip, minutes = rules.get("may_skip") or [], rules.get("timeout_minutes", 10)
    if not isinstance(may_skip, list):
        raise Stop("gates.yaml: model_tests.may_skip must be a list of test functions: correct it")
    if type(minutes) not in (int, float) or not 0 < minutes <= MOST:
        raise Stop(f"gates.yaml: model_tests.timeout_minutes must be above 0, up to {MOST:,}")
    write_json(BUDGET, {})
    with tempfile.TemporaryDirectory() as folder:
        findings = run_pytest(Path(folder) / "junit.xml", may_skip, minutes)
    write_json(REPORT, {"stage": "model_tests", "findings": [f.as_json() for f in findings]})
    say(f"test-model: {len(findings)} findings, {len(closing(findings))} of them close the gate")
    return GOOD


def run_pytest(junit: Path, may_skip: list[Any], minutes: float) -> list[Finding]:
    """A finding a test, and one more where pytest itself did not come to a good end."""
    # People name behaviours in their own language; pytest would write \xe9 for a letter of it.
    readable = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=true"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", readable]
    command += ["-o", "junit_family=xunit1"]  # the other takes no record_property
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["BUDGET_FILE"] = str(BUDGET)
    try:
        code = subprocess.run(
            [*command, f"--junitxml={junit}", str(TESTS)],
            stdout=sys.__stderr__,
            env=environment,
            timeout=60 * minutes,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        fix = "Make the tests faster, or raise model_tests.timeout_minutes in gates.yaml."
        said, most = f"not done after {minutes:g} minutes", f"{minutes:g} minutes"
        return [Finding("pytest", "error", said, fix, "not done", most)]
    try:
        cases = list(ElementTree.parse(junit).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        said = f"it ended with {code} and without a report"
        return [Finding("pytest", "error", said, RUN, "no report", "a report")]
    findings = [_finding(case, may_skip) for case in cases if case.get("name")]
    if code not in (0, 1) or (code == 1 and not closing(findings)) or not findings:
        said = f"it {WRONG.get(code, f'ended with {code}')}"
        findings.append(Finding("pytest", "error", said, RUN, f"exit code {code}", "exit code 0"))
    return findings


def _finding(case: ElementTree.Element, may_skip: list[Any]) -> Finding:
    name = " ".join(case.get("name", "").split())
    if not case.get("classname"):  # a module that could not be collected, by its dotted path
        name = name.rpartition(".")[2]
    check = name if len(name) <= WIDTH // 2 else name[: WIDTH // 2 - 1] + "…"
    outcome = next((child for child in case if child.tag in STATUS), None)
    if outcome is None:
        return Finding(check, "pass", "passed")
    said = (outcome.get("message") or "").strip().partition("\n")[0]
    if outcome.tag != "skipped":
        # What the test itself gave to pytest's `record_property`.
        given = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        value = _number(given.get("value"), "failed")
        threshold = _number(given.get("threshold"), "passed")
        fix, why = given.get("fix") or RUN, _reason(said)[:WIDTH]
        return Finding(check, STATUS[outcome.tag], why, fix[:WIDTH], value, threshold)
    said = f"skipped: {said or 'no reason given'}"[:WIDTH]
    if name.partition("[")[0] in may_skip:
        return Finding(check, "skipped", said)
    fix = "Make it run, or list its function in model_tests.may_skip of gates.yaml."
    return Finding(check, "error", said, fix, "skipped", "passed")


def _number(text: str | None, otherwise: str) -> float | str:
    """A number of the test; any other text might hold values of the data."""
    try:
        number = float(text or "")
    except ValueError:
        return otherwise
    return number if math.isfinite(number) else otherwise


def _reason(said: str) -> str:
    """What the author of the test says; what Python says may hold values of the data."""
    if said.startswith("[XPASS"):
        return "it passes although it is marked as one that fails (xfail, strict)"
    found = re.fullmatch(r'(failed on \w+ with ")?(?:[\w.]+\.)?(\w+)(?:: (.*?))?"?', said)
    where, kind, text = found.groups() if found else (None, "assert", None)
    if text and kind in AUTHORS and not text.startswith("assert "):
        return str(text)
    if said == "collection failure":
        return "it cannot be imported"
    raised = (
        "an assertion does not hold"
        if kind in ("assert", "AssertionError")
        else f"{kind} was raised"
    )
    return raised + (" before or after the test itself" if where else "")
