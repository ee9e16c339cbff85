"""Verb ``data-gate``: broken data stops the pipeline before anything is trained.

What breaks the schema (a column missing, of another type, empty where it must not be) closes the
gate: investigate. Values that have moved (out of range, a new category) are findings: they may be
a reason to retrain.
"""

from pathlib import Path

from ..console import CLOSED, GOOD, Stop, read_json, read_section, say, write_json
from ..findings import Finding, closing, read_findings
from .rules import is_number

CHECKS = Path("reports/data.json")
REPORT = Path("reports/data_gate.json")


def judge() -> int:
    """Write ``reports/data_gate.json``; exit 1 when the gate is closed."""
    REPORT.unlink(missing_ok=True)
    rules = read_section(Path("gates.yaml"), "data")
    least, rows = rules.get("rows_min"), read_json(CHECKS).get("rows")
    if not is_number(least) or least < 1:
        raise Stop("gates.yaml has no data.rows_min: a gate without rules is no gate; restore it")
    if not isinstance(rows, int):
        raise Stop(f"{CHECKS} does not say how many rows were checked: run `make pipeline`")
    findings = [_enough(rows, int(least)), *read_findings(CHECKS)]
    closed = closing(findings)
    write_json(
        REPORT,
        {
            "open": not closed,
            "rows": rows,
            "reasons": [f"{f.check}: {f.message}" for f in closed],
            "findings": [f.as_json() for f in findings],
        },
    )
    for finding in findings:
        if finding.status not in ("pass", "skipped"):
            message = finding.message.rstrip(".")
            say(f"data-gate: {finding.status}: {finding.check}: {message}. {finding.fix}")
    counts = {s: sum(f.status == s for f in findings) for s in ("pass", "warn", "skipped")}
    summary = ", ".join(f"{n} {s}" for s, n in counts.items())
    say(f"data-gate: {'CLOSED' if closed else 'open'} ({len(closed)} closing, {summary})")
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
