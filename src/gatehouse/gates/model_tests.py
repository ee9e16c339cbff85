"""Stage ``model_tests``: run the suite, and tests/test_model.py, and make a finding of each test.

Each of the two has a process of its own, and of the project only that file steers pytest: no
conftest.py, no settings, no module that has a name like one of ours.
"""

import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.results import Checks, entries, write_result
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_json
from gatehouse.core.findings import Finding, Status, closing
from gatehouse.core.hooks import SOURCE, confined
from gatehouse.core.project import Project

SUITE = Path(__file__).with_name("suite")
OWN = Path("tests/test_model.py")
FIXTURES = "gatehouse.gates.suite.fixtures"
# Of a project, only the tests that are named here steer pytest.
ALONE = (
    *(sys.executable, "-P", "-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.", "--noconftest"),
    *("--import-mode=importlib", "-p", "no:cacheprovider"),
)
OPTIONS = (
    # People name behaviours in their own language; pytest would write \\xe9 for a letter of it.
    *("-o", "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=true"),
    *("-o", "junit_family=xunit1"),  # the other takes no record_property
)
REPORT = Path("reports/model_tests.json")
BUDGET = Path("reports/budget.json")  # what test_budget.py measured, if it came to it
RUN = "Run `gatehouse stage model_tests` to see why."
WIDTH, MOST = 200, 100_000
STATUS: dict[str, Status] = {"failure": "fail", "error": "error", "skipped": "skipped"}
AUTHORS = ("AssertionError", "Beyond", "Failed", "InputError")
WRONG = {2: "was interrupted", 3: "failed itself", 4: "was called wrongly", 5: "found no test"}


def test_model(project: Project) -> int:
    """Write ``reports/model_tests.json``; the blessing judges what stands there."""
    (project / REPORT).unlink(missing_ok=True)
    rules = gates_section(project, "model_tests")
    may_skip, minutes = rules.get("may_skip") or [], rules.get("timeout_minutes", 10)
    if not isinstance(may_skip, list):
        raise Stop(
            "rules-value",
            "gates.yaml: model_tests.may_skip must be a list of test functions: correct it",
        )
    if type(minutes) not in (int, float) or not 0 < minutes <= MOST:
        raise Stop(
            "rules-value",
            f"gates.yaml: model_tests.timeout_minutes must be above 0, up to {MOST:,}",
        )
    write_json(project / BUDGET, {})
    try:
        findings = run_all(project, may_skip, time.monotonic() + 60 * minutes)
    except subprocess.TimeoutExpired:
        fix = "Make the tests faster, or raise model_tests.timeout_minutes in gates.yaml."
        said, most = f"not done after {minutes:g} minutes", f"{minutes:g} minutes"
        findings = [Finding("pytest", "error", said, fix, "not done", most)]
    write_result(project / REPORT, Checks(stage="model_tests", findings=entries(findings)))
    say(f"model_tests: {len(findings)} findings, {len(closing(findings))} of them close the gate")
    return GOOD


def run_all(project: Project, may_skip: list[Any], until: float) -> list[Finding]:
    """The findings of suite and own tests; raises ``TimeoutExpired`` at ``until`` (monotonic)."""
    findings = []
    own = (project / OWN).exists() and not confined()  # the judge runs no code of the change
    with tempfile.TemporaryDirectory() as folder:
        for tests in (SUITE, project / OWN) if own else (SUITE,):
            junit = Path(folder) / f"{tests.stem}.xml"
            code = run_pytest(project, tests, junit, max(0.0, until - time.monotonic()))
            findings += read_junit(junit, code, may_skip)
    return findings


def run_pytest(project: Project, tests: Path, junit: Path, seconds: float) -> int:
    """Run the tests of a file or folder, and return the exit code of pytest."""
    environment = unsteered()
    if tests == SUITE:
        options = ["-p", FIXTURES]
        environment |= {"BUDGET_FILE": str(BUDGET), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    else:
        options = ["-o", f"pythonpath={shlex.quote(str((project / SOURCE).absolute()))}"]
    command = [*ALONE, *OPTIONS, *options, f"--junitxml={junit}"]
    return subprocess.run(
        [*command, str(tests)],
        stdout=sys.__stderr__,
        env=environment,
        timeout=seconds,
        check=False,
        cwd=project.root,
    ).returncode


def unsteered() -> dict[str, str]:
    """The environment, without what pytest takes for options."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}


def read_junit(junit: Path, code: int, may_skip: list[Any]) -> list[Finding]:
    """A finding a test, and one more where pytest itself did not come to a good end."""
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
