"""Stages ``data_checks`` and ``model_checks``: the schema here, Deepchecks in its own environment.

Only files cross. Findings go to ``reports/``; the gate after them judges. Broken data are said at
once, without Deepchecks, which could only stumble over it.
"""

import os
import subprocess
import time
from pathlib import Path

from gatehouse.core import environments
from gatehouse.core.config.results import Checks, entries, read_result, write_result
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_yaml
from gatehouse.core.findings import Finding, closing
from gatehouse.core.project import Project

DATASET = Path("data/dataset.parquet")
LEFT = "GATEHOUSE_CHECKS_LEFT"  # set in the candidate's run: the judge asks Deepchecks


def check_data(project: Project) -> int:
    """Check the dataset, write ``reports/data.json``."""
    report = _report_of(project, "data")
    rows, findings = check_schema(project)
    if closing(findings):
        message = "Deepchecks did not run, since the data gate is closed already"
        findings.append(Finding("deepchecks", "skipped", message, "Mend the other findings first."))
        write_result(report, Checks(stage="data", rows=rows, findings=entries(findings)))
        say(f"checks: {len(closing(findings))} findings close the data gate already")
        return GOOD
    return with_deepchecks(project, "data", report, findings)


def check_model(project: Project) -> int:
    """Check the candidate, write ``reports/model.json``."""
    from .packages import served

    report = _report_of(project, "model")
    if not os.environ.get(LEFT):
        checks_python()  # without it nothing is checked, and that comes first
    return with_deepchecks(project, "model", report, served(project))


def draw(project: Project, what: str) -> int:
    """Draw ``reports/WHAT-checks.html``: Deepchecks with all its charts."""
    return deepchecks(project, what, project / "reports" / f"{what}-checks.html", "--html")


def _report_of(project: Project, what: str) -> Path:
    report = project / "reports" / f"{what}.json"
    report.unlink(missing_ok=True)
    return report


def with_deepchecks(project: Project, what: str, report: Path, findings: list[Finding]) -> int:
    """Run Deepchecks, and put our own findings before what it found; its exit code."""
    if os.environ.get(LEFT):
        said = Finding("deepchecks", "skipped", "the judge asks Deepchecks, and believes no other")
        rows = parquet_rows(project / DATASET)
        write_result(report, Checks(stage=what, rows=rows, findings=entries([*findings, said])))
        return GOOD
    code = deepchecks(project, what, report)
    if code == GOOD:
        found = read_result(report, Checks)
        both = entries(findings) + found.findings
        write_result(report, found.model_copy(update={"findings": both}))
    return code


def parquet_rows(path: Path) -> int:
    """The number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def check_schema(project: Project) -> tuple[int, list[Finding]]:
    """The number of rows, and the dataset held against ``schema.yaml``: broken, personal, moved."""
    import pyarrow.parquet as pq

    from gatehouse.data.contract import broken, moved, unknown_columns
    from gatehouse.data.personal import personal

    schema = read_yaml(project / "schema.yaml")
    if not schema.get("columns"):
        raise Stop(
            "schema-no-columns",
            "schema.yaml describes no columns: run `gatehouse schema`, review it, commit it",
        )
    table = pq.read_table(project / DATASET)
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


def deepchecks(project: Project, what: str, report: Path, *options: str) -> int:
    """Run ``gatehouse.checks`` and return its exit code; no report is never good news.

    The last of ``options`` is the one that takes the report, ``--out`` if none is given.
    """
    say(f"checks: starting Deepchecks on the {what}")
    start = time.perf_counter()
    # The other environments' settings must not leak into this one.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [
        str(checks_python()),
        *("-P", "-m", "gatehouse.checks"),
        what,
        *(options or ("--out",)),
        str(report),
    ]
    code = subprocess.run(command, env=environment, check=False, cwd=project.root).returncode
    if code == GOOD and not report.exists():
        raise Stop(
            "checks-crashed",
            f"the checks ended without {report}: run `make pipeline` again",
            INFRASTRUCTURE,
        )
    say(f"checks: {what} done in {time.perf_counter() - start:.1f} s")
    return code


def checks_python() -> Path:
    """The interpreter of the checks environment; a missing one is never "0 findings"."""
    python = environments.python("checks")
    if not python.exists():
        folder = environments.FOLDERS["checks"]
        raise Stop(
            "environment-missing",
            f"the checks environment {folder} is missing: run `make setup`",
            INFRASTRUCTURE,
        )
    return python
