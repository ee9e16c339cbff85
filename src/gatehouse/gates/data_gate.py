"""Stage ``data_gate``: broken data stops the pipeline before anything is trained.

What breaks the schema (a column missing, of another type, empty where it must not be) closes the
gate: investigate. Values that have moved (out of range, a new category) are findings: they may be
a reason to retrain.
"""

from pathlib import Path

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.results import Checks, DataGate, entries, read_result, write_result
from gatehouse.core.config.rules import is_number
from gatehouse.core.console import say
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.findings import Finding, closing
from gatehouse.core.project import Project

CHECKS = Path("reports/data.json")
REPORT = Path("reports/data_gate.json")


def judge(project: Project) -> int:
    """Write ``reports/data_gate.json``; exit 1 when the gate is closed."""
    (project / REPORT).unlink(missing_ok=True)
    rules = gates_section(project, "data")
    least, checks = rules.get("rows_min"), read_result(project / CHECKS, Checks)
    if not is_number(least) or least < 1:
        raise Stop(
            "gate-no-rule",
            "gates.yaml has no data.rows_min: a gate without rules is no gate; restore it",
        )
    if checks.rows is None:
        raise Stop(
            "findings-damaged",
            f"{CHECKS} does not say how many rows were checked: run `make pipeline`",
        )
    findings = [_enough(checks.rows, int(least)), *checks.stated(project / CHECKS)]
    closed = closing(findings)
    gate = DataGate(
        open=not closed,
        rows=checks.rows,
        reasons=[f"{f.check}: {f.message}" for f in closed],
        findings=entries(findings),
    )
    write_result(project / REPORT, gate)
    for finding in findings:
        if finding.status not in ("pass", "skipped"):
            message = finding.message.rstrip(".")
            say(f"data_gate: {finding.status}: {finding.check}: {message}. {finding.fix}")
    counts = {s: sum(f.status == s for f in findings) for s in ("pass", "warn", "skipped")}
    summary = ", ".join(f"{n} {s}" for s, n in counts.items())
    say(f"data_gate: {'CLOSED' if closed else 'open'} ({len(closed)} closing, {summary})")
    return CLOSED if closed else GOOD


def _enough(rows: int, least: int) -> Finding:
    return Finding(
        "rows",
        "pass" if rows >= least else "fail",
        f"{rows:,} rows with a target, at least {least:,} are asked for",
        "Add data, or lower data.rows_min in gates.yaml.",
        rows,
        least,
    )
