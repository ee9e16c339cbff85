"""The result of a pass as one page: what is wrong first, then why, then how it went over time."""

from collections.abc import Mapping
from typing import Any

from gatehouse.core.project import Project
from gatehouse.registry.record import short
from gatehouse.report.markdown import Chart, Section, number, show, table
from gatehouse.report.page import render

LONG, MOST, PASSES = 300, 60, 26
ORDER = {"fail": 0, "error": 0, "warn": 1, "skipped": 2, "pass": 3}
MANY = 100_000  # records from which on thousands are drawn
KINDS = ("reference", "estimated", "realised")


def page(project: Project, report: Mapping[str, Any], passes: list[dict[str, Any]]) -> str:
    """HTML of the report and of the passes up to it, the oldest first."""
    window, bad = report["window"], report["incidents"]
    state = f"incident: {', '.join(sorted(bad))}" if bad else "clean"
    title = f"{project.root.name}: {state}, {window['from'][:10]} to {window['until'][:10]}"
    passes = sorted({one["until"]: one for one in passes}.values(), key=lambda one: one["until"])
    body = [
        Section("Findings", 9, [_findings(report)]),
        *_performance(report, passes[-PASSES:]),
        *_columns(report),
        Section("Windows", 9, [*_volume(passes[-PASSES:]), _history(passes[-PASSES:])]),
    ]
    return render(show(title, LONG), body, f"Monitor: {state}")


def _findings(report: Mapping[str, Any]) -> str:
    rows = [
        [
            one["status"] if ORDER[one["status"]] > 1 else f"**{one['status']}**",
            show(one["check"]),
            show(one["message"], LONG),
            show(one["fix"], LONG) if one["fix"] else "",
        ]
        for one in sorted(report["findings"], key=lambda one: ORDER[one["status"]])
    ]
    window = report["window"]
    told = f"{window['rows']:,} predictions, {window['labelled']:,} of them with their truth; "
    told += f"the model that shall run is {show(short(report['model']))}."
    return (
        told + "\n\n" + table(" | ".join(["", "check", "what was seen", "what to do"]), rows[:MOST])
    )


def _performance(report: Mapping[str, Any], passes: list[dict[str, Any]]) -> list[Section]:
    if not report["metrics"]:
        return []
    rows = []
    for name, seen in report["metrics"].items():
        cells = [_cell(seen.get(kind)) for kind in KINDS]
        rows.append([show(name), *cells])
    blocks: list[str | Chart] = [table(" | ".join(["metric", *KINDS]), rows)]
    main = next(iter(report["metrics"]))
    for kind in ("estimated", "realised"):
        points = [
            (one["until"][:10], value)
            for one in passes
            if (value := ((one["metrics"].get(main) or {}).get(kind) or {}).get("value"))
            is not None
        ]
        if len(points) > 1:
            labels, values = zip(*points, strict=True)
            title = f"{main}, {kind}"
            blocks.append(
                Chart(title, "end of the window", main, list(labels), {kind: list(values)})
            )
    return [Section("Performance", 9, blocks)]


def _cell(one: dict[str, Any] | None) -> str:
    if one is None or one.get("value") is None:
        return "-" if one is None or not one.get("why") else show(one["why"], LONG)
    said = f"{number(one['value'])} ({number(one['low'])} to {number(one['high'])})"
    return (
        said
        if one.get("reliable", True)
        else f"{said}, not reliable here: {show(one['why'], LONG)}"
    )


def _columns(report: Mapping[str, Any]) -> list[Section]:
    seen = sorted(report["columns"], key=lambda one: -(one["distance"] or 0))
    if not seen:
        return []
    rows = [
        [
            show(one["name"]),
            number(one["distance"]),
            number(one["q"]),
            "**moved**" if one["drifted"] else "as before",
        ]
        for one in seen[:MOST]
    ]
    head = "column | distance from the reference | q | "
    first = [one for one in seen if one["distance"] is not None][:12]
    chart = Chart(
        "Distance from the reference",
        "column",
        "distance, 0 to 1",
        [one["name"] for one in first],
        {"distance": [one["distance"] for one in first]},
        True,
    )
    return [Section("Columns", 9, [chart, table(head, rows)] if first else [table(head, rows)])]


def _volume(passes: list[dict[str, Any]]) -> list[Chart]:
    labels = [one["until"][:10] for one in passes]
    rows = [float(one["rows"] or 0) for one in passes]
    many = max(rows, default=0) > MANY
    series = {"predictions": [count / 1000 if many else count for count in rows]}
    unit = "thousand records" if many else "records"
    return [Chart("Predictions in the window", "end of the window", unit, labels, series, True)]


def _history(passes: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{one['until'][:10]} {one['until'][11:16]}",
            f"{one['rows']:,}",
            show(short(one["model"] or "-")),
            show(", ".join(f"{k}: {v}" for k, v in sorted(one["incidents"].items())) or "clean"),
            show(", ".join(one["drifted"][:5]) or "-", LONG),
        ]
        for one in reversed(passes)
    ]
    return table("until (UTC) | predictions | model | incidents | moved", rows)
