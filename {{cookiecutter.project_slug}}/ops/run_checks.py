"""Verb ``checks``: the schema here, Deepchecks in its own environment, where only files cross.

Findings go to ``reports/``; the gate after them judges. Broken data are said at once, without
Deepchecks, which could only stumble over it.
"""

import os
import subprocess
import time
from pathlib import Path

from .console import GOOD, INFRASTRUCTURE, Stop, read_json, read_yaml, say, write_json
from .findings import Finding, closing

ENVIRONMENT = Path(".venv-checks")
DATASET = Path("data/dataset.parquet")


def run_checks(what: str, html: bool = False) -> int:
    """Check the dataset or the candidate; with ``html``, only draw the page of Deepchecks."""
    if html:
        return deepchecks(what, Path("reports") / f"{what}-checks.html", "--html")
    report = Path("reports") / f"{what}.json"
    report.unlink(missing_ok=True)
    if what == "model":
        from .packages import served

        checks_python()  # without it nothing is checked, and that comes first
        return with_deepchecks(what, report, served())
    rows, findings = check_schema()
    if closing(findings):
        message = "Deepchecks did not run, since the data gate is closed already"
        findings.append(Finding("deepchecks", "skipped", message, "Mend the other findings first."))
        write_json(report, _report(rows, findings))
        say(f"checks: {len(closing(findings))} findings close the data gate already")
        return GOOD
    return with_deepchecks(what, report, findings)


def with_deepchecks(what: str, report: Path, findings: list[Finding]) -> int:
    """Run Deepchecks, and put our own findings before what it found; its exit code."""
    code = deepchecks(what, report)
    if code == GOOD:
        found = read_json(report)
        found["findings"] = [f.as_json() for f in findings] + found["findings"]
        write_json(report, found)
    return code


def check_schema() -> tuple[int, list[Finding]]:
    """The number of rows, and the dataset held against ``schema.yaml``: broken, personal, moved."""
    import pyarrow.parquet as pq

    from .gates.schema import broken, moved, unknown_columns
    from .personal import personal

    schema = read_yaml(Path("schema.yaml"))
    if not schema.get("columns"):
        raise Stop("schema.yaml describes no columns: run `make schema`, review it, commit it")
    table = pq.read_table(DATASET)
    findings = broken(table, schema)
    if findings:
        findings += unknown_columns(table, schema)
    else:
        count = len(schema["columns"])
        findings = [
            Finding("schema", "pass", f"all {count} columns are as schema.yaml says"),
            *moved(table, schema),
        ]
    return table.num_rows, findings + personal(table, schema)


def deepchecks(what: str, report: Path, *options: str) -> int:
    """Run ``ops/checks`` and return its exit code; no report is never good news.

    The last of ``options`` is the one that takes the report, ``--out`` if none is given.
    """
    say(f"checks: starting Deepchecks on the {what}")
    start = time.perf_counter()
    # The other environments' settings must not leak into this one.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [
        str(checks_python()),
        "-m",
        "ops.checks",
        what,
        *(options or ("--out",)),
        str(report),
    ]
    code = subprocess.run(command, env=environment, check=False).returncode
    if code == GOOD and not report.exists():
        raise Stop(f"the checks ended without {report}: run `make pipeline` again", INFRASTRUCTURE)
    say(f"checks: {what} done in {time.perf_counter() - start:.1f} s")
    return code


def checks_python() -> Path:
    """The interpreter of the checks environment; a missing one is never "0 findings"."""
    for name in ("bin/python", "Scripts/python.exe"):
        if (ENVIRONMENT / name).exists():
            return ENVIRONMENT / name
    raise Stop(f"the checks environment {ENVIRONMENT} is missing: run `make setup`", INFRASTRUCTURE)


def _report(rows: int, findings: list[Finding]) -> dict[str, object]:
    return {"stage": "data", "rows": rows, "findings": [f.as_json() for f in findings]}
