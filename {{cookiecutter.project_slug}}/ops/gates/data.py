"""Verb ``data-gate``: broken data stops the pipeline before anything is trained.

What breaks the schema (a column missing, of another type, empty where it must not be) closes the
gate: investigate. Values that have moved (out of range, a new category) are findings: they may be
a reason to retrain.
"""

from pathlib import Path
from typing import Any

from ..console import CLOSED, GOOD, Stop, read_yaml, say, write_json
from ..findings import Finding, closing, read_findings

DATASET = Path("data/dataset.parquet")
CHECKS = Path("reports/data.json")
REPORT = Path("reports/data_gate.json")


def judge() -> int:
    """Write ``reports/data_gate.json``; exit 1 when the gate is closed."""
    import pyarrow.parquet as pq

    REPORT.unlink(missing_ok=True)
    schema, rules = read_yaml(Path("schema.yaml")), read_yaml(Path("gates.yaml")).get("data") or {}
    if not schema.get("columns"):
        raise Stop("schema.yaml describes no columns: run `make schema`, review it, commit it")
    if not rules.get("rows_min"):
        raise Stop("gates.yaml has no data.rows_min: a gate without rules is no gate; restore it")
    table = pq.read_table(DATASET)
    findings = [_enough(table.num_rows, int(rules["rows_min"]))]
    findings += _schema_findings(table, schema)
    findings += read_findings(CHECKS)
    closed = closing(findings)
    write_json(
        REPORT,
        {
            "open": not closed,
            "rows": table.num_rows,
            "reasons": [f"{f.check}: {f.message}" for f in closed],
            "findings": [f.as_json() for f in findings],
        },
    )
    for finding in findings:
        if finding.status not in ("pass", "skipped"):
            say(f"data-gate: {finding.status}: {finding.check}: {finding.message}. {finding.fix}")
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


def _schema_findings(table: Any, schema: dict[str, Any]) -> list[Finding]:
    from .schema import broken, moved

    findings = broken(table, schema)
    if not closing(findings):
        findings += moved(table, schema)
    if not findings:
        count = len(schema["columns"])
        findings = [Finding("schema", "pass", f"all {count} columns are as schema.yaml says")]
    return findings
