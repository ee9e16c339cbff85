"""``gatehouse monitor``: one look at the live model, by its inference log.

Volume and freshness come first, then what the records hold, then drift, then performance. What is
wrong becomes an incident: ``github.alerts`` tells people, ``retraining`` decides the rest.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from gatehouse.core.config.monitor import Settings, load
from gatehouse.core.console import paint, say
from gatehouse.core.errors import GOOD
from gatehouse.core.files import write_json, write_text
from gatehouse.core.findings import Finding
from gatehouse.core.project import Project
from gatehouse.registry.record import short

from . import clock, deep, history, moved, numbers, page, performance, quality, reference, window

REPORT, PAGE = Path("reports/monitor.json"), Path("reports/monitor.html")
NUMBERS = Path("reports/monitor.prom")
COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "skipped": "yellow", "error": "red"}
# The first words of the findings that are a sign of it; one column alone is no incident.
INCIDENTS = {
    "no-data": ("volume", "freshness"),
    "broken-data": ("log", "model", "missing", "unseen"),
    "drift": ("moved", "domain", "predictions"),
    "performance": ("estimated", "realised", "concept", "gate"),
    "fairness": ("fairness",),
}


def monitor(project: Project, *, as_json: bool, checks: bool) -> int:
    """Look once; write reports/monitor.{json,html,prom}, and Deepchecks' page with ``checks``.

    Ends with 0 whatever it finds: incidents are for alerts, which also write the pass down. Raises
    ``Stop`` where it cannot look.
    """
    start = time.perf_counter()
    settings, until = load(project), clock.now()
    live = reference.bring(project)
    earlier = [one for one in history.passes(project) if one["until"] < clock.text(until)]
    seen = window.read(project, settings, until, live.model)
    found, metrics, columns = _look(project, settings, live, seen, [one["rows"] for one in earlier])
    report = {
        "window": {
            "from": clock.text(seen.since),
            "until": clock.text(until),
            "rows": seen.records.num_rows,
            "labelled": seen.labelled.num_rows,
        },
        "model": live.model,
        "findings": [f.as_json() | {"incident": incident(f)} for f in found],
        "incidents": incidents(found),
        "metrics": metrics,
        "columns": columns,
    }
    write_json(project / REPORT, report)
    write_text(project / PAGE, page.page(project, report, [*earlier, history.of_report(report)]))
    write_text(project / NUMBERS, numbers.text(report, until.timestamp()))
    if checks:
        deep.draw(project, live.folder, seen.labelled)
    _tell(report, as_json=as_json)
    say(f"monitor: {PAGE} written ({time.perf_counter() - start:.1f} s)")
    return GOOD


def incident(finding: Finding) -> str | None:
    """What a finding is a sign of; None where it only informs."""
    word = finding.check.partition(":")[0].partition(" ")[0]
    return next((name for name, words in INCIDENTS.items() if word in words), None)


def incidents(found: list[Finding]) -> dict[str, str]:
    """Incident -> warn or fail, the worse of its findings."""
    seen: dict[str, str] = {}
    for finding in found:
        name = incident(finding)
        if name and finding.status in ("warn", "fail") and seen.get(name) != "fail":
            seen[name] = finding.status
    return seen


def _look(
    project: Project,
    settings: Settings,
    live: reference.Reference,
    seen: window.Window,
    usual: list[int],
) -> tuple[list[Finding], dict[str, Any], list[dict[str, Any]]]:
    """Findings, metrics and columns. ``usual``: how many records the windows before had."""
    rows, least = seen.records.num_rows, settings.window.rows_min
    found = quality.volume(seen.records["__time"], seen.until, usual, settings)
    found += quality.log_health(seen.counts, rows, settings)
    if not rows:
        return found, {}, []
    mine = seen.records.filter(pc.equal(seen.records["__model"], live.model))
    found.append(_answered_by(live.model, mine.num_rows, rows))
    columns: list[dict[str, Any]] = []
    metrics: dict[str, Any] = {}
    auc: float | None = None
    if rows < least:
        why = f"{rows:,} records are too few to judge drift, {least:,} are asked for"
        found.append(Finding("moved columns", "skipped", why, "Make the window longer."))
    else:
        before = window.reference(project, settings, live, seen)
        say(f"monitor: {rows:,} records against {before.num_rows:,} of the reference")
        kinds = window.kinds(project, before.column_names, settings)
        found += quality.columns(before, seen.records, kinds, settings)
        more, columns, auc = moved.look(
            project, settings, live.folder, before, seen.records, mine, kinds
        )
        found += more
    if mine.num_rows:
        say(f"monitor: performance, {seen.labelled.num_rows:,} labels are there")
        features = window.kinds(project, mine.column_names, settings)
        metrics, said = performance.look(
            project, live.folder, mine, seen.labelled, features, settings, auc
        )
        found += said
    return found, metrics, columns


def _answered_by(model: str, mine: int, rows: int) -> Finding:
    if mine:
        said = f"{mine:,} of {rows:,} predictions are by {short(model)}, which shall run"
        return Finding("model", "pass", said, "", round(mine / rows, 6))
    said = f"none of {rows:,} predictions is by {short(model)}, which shall run"
    fix = "What runs? `make status`, then `make deploy`."
    return Finding("model", "warn", said, fix, 0.0, "above 0")


def _tell(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        lines = [json.dumps(report, indent=2, ensure_ascii=False)]
    else:
        bad, window = report["incidents"], report["window"]
        state = paint("INCIDENT", "red") + f": {', '.join(sorted(bad))}"
        state = state if bad else paint("CLEAN", "green")
        span = f"{window['from'][:10]} to {window['until'][:10]}"
        lines = [f"{state}, {span}, {window['rows']:,} predictions"]
        for one in report["findings"]:
            status = paint(f"{one['status']:<8}", COLOURS[one["status"]])
            lines.append(f"  {status} {one['check']}: {one['message']}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
