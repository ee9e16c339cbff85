"""The last pass for Prometheus, in its text format: node_exporter's textfile collector takes it.

``deploy/grafana/dashboard.json`` draws these and those of the service.
"""

from collections.abc import Iterator, Mapping
from typing import Any

LEVELS = {"warn": 1, "fail": 2}
INCIDENTS = ("no-data", "broken-data", "drift", "performance", "fairness")
HELP = {
    "monitor_last_pass_timestamp_seconds": "When monitoring last looked, since 1970",
    "monitor_records": "Predictions in the window",
    "monitor_labelled_records": "Predictions of the live model whose truth is known",
    "monitor_incident": "0 clean, 1 warning, 2 failure",
    "monitor_metric": "A metric of the live model: reference, estimated, realised",
    "monitor_column_distance": "Distance of a column from the reference, 0 to 1",
    "monitor_column_drifted": "1 for a column that has moved",
}


def text(report: Mapping[str, Any], seconds: float) -> str:
    """All of it; ``seconds`` since 1970 is when the pass was."""
    lines, last = [], ""
    for name, labels, value in _samples(report, seconds):
        if name != last:
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
            last = name
        said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(name + ("{" + said + "}" if said else "") + f" {value:.10g}")
    return "\n".join(lines) + "\n"


def _samples(
    report: Mapping[str, Any], seconds: float
) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "monitor_last_pass_timestamp_seconds", {}, seconds
    yield "monitor_records", {}, report["window"]["rows"]
    yield "monitor_labelled_records", {}, report["window"]["labelled"]
    for name in INCIDENTS:
        level = LEVELS.get(report["incidents"].get(name, ""), 0)
        yield "monitor_incident", {"incident": name}, level
    for metric, seen in report["metrics"].items():
        for kind in ("reference", "estimated", "realised"):
            value = (seen.get(kind) or {}).get("value")
            if value is not None:
                yield "monitor_metric", {"metric": metric, "kind": kind}, value
    for one in report["columns"]:
        if one["distance"] is not None:
            yield "monitor_column_distance", {"column": one["name"]}, one["distance"]
    for one in report["columns"]:
        yield "monitor_column_drifted", {"column": one["name"]}, int(one["drifted"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
