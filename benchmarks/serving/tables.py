"""results.json as tables, with the ratios that we want to hold."""

from statistics import median
from typing import Any

# server, measurement, at least this many times the server named last
GOALS = (
    ("1 row, 16 connections", 0.9, "fastapi-onnx"),
    ("1 row, 16 connections", 4.0, "fastapi-sklearn"),
    ("1 row, 16 connections", 10.0, "bentoml-tutorial"),
    ("1 row, 16 connections", 20.0, "mlflow-serve"),
    ("100 rows, 16 connections", 1.5, "fastapi-onnx"),
)

HELD = 0.97  # share of a fixed rate below which a server falls behind


def middle(server: dict[str, Any], *path: str) -> float | None:
    """The median of one figure over rounds; None where it was not measured."""
    found = []
    for one in server["rounds"]:
        value: Any = one
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found.append(float(value))
    return median(found) if found else None


def rounds(about: dict[str, Any]) -> str:
    """Of how many rounds the figures are medians."""
    return "one round" if about["rounds"] == 1 else f"medians of {about['rounds']} rounds"


def tables(results: dict[str, Any]) -> str:
    """The whole page, Markdown."""
    about = results["about"]
    lines = [
        "# Serving",
        "",
        f"{about['cpu']}, one core for the server and one for the load; template "
        f"{about['template']}, {about['date']}; {rounds(about)}, "
        f"{about['seconds']:g} s a measurement.",
    ]
    if about["quick"]:
        lines += ["", "**A quick run: too short for figures to be relied on.**"]
    for model in results["models"].values():
        lines += ["", f"## {model['title']}", "", *_loudly(model)]
        lines += _throughput(model) + _latency(model) + _costs(model) + _goals(model)
    lines += ["", "## Versions", "", *_versions(results)]
    return "\n".join(lines) + "\n"


def _loudly(model: dict[str, Any]) -> list[str]:
    lines = []
    for name, server in model["servers"].items():
        if server["trouble"]:
            said = server["trouble"].strip().splitlines()
            why = " ".join(dict.fromkeys([said[0], said[-1].strip()]))
            lines += [f"**{name}: {'DIED' if server['rounds'] else 'NOT RUN'}: {why}**", ""]
        for one in server["rounds"]:
            for key, cell in one["closed"].items():
                if cell["not_200"] or cell["broken"]:
                    lines += [
                        f"**{name}, {key}: {cell['not_200']} answers were not 200, "
                        f"{cell['broken']} broke off**",
                        "",
                    ]
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = "|---|" + "--:|" * (len(head) - 1)
    return ["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]


def _throughput(model: dict[str, Any]) -> list[str]:
    keys: list[str] = []
    for server in model["servers"].values():
        for one in server["rounds"]:
            keys += [key for key in one["closed"] if key not in keys]
    forms = list(dict.fromkeys(key.rpartition(", ")[0] for key in keys))
    if not forms:
        return []
    lines = ["Requests a second (p99 in milliseconds), closed loop:"]
    for form in forms:
        loads = [key.rpartition(", ")[2] for key in keys if key.rpartition(", ")[0] == form]
        rows = []
        for name, server in model["servers"].items():
            cells = []
            for load in loads:
                rate = middle(server, "closed", f"{form}, {load}", "rate")
                p99 = middle(server, "closed", f"{form}, {load}", "p99_ms")
                cells.append("-" if rate is None else f"{rate:,.0f} ({p99:,.1f})")
            if not form.endswith("columns") or any(cell != "-" for cell in cells):
                rows.append([name, *(cells if server["rounds"] else ["not run"] * len(cells))])
        lines += ["", *_table([form, *loads], rows)]
    return lines


def _latency(model: dict[str, Any]) -> list[str]:
    rates: list[str] = []
    for server in model["servers"].values():
        for one in server["rounds"]:
            rates += [rate for rate in one["open"] if rate not in rates]
    if not rates:
        return []
    rows = []
    for name, server in model["servers"].items():
        cells = [_at_rate(server, rate) for rate in rates]
        rows.append([name, *cells])
    head = ["one row at a fixed rate", *(f"{rate}/s" for rate in rates)]
    return ["", "p50 / p99 in milliseconds, from when a request was due:", "", *_table(head, rows)]


def _at_rate(server: dict[str, Any], rate: str) -> str:
    if not server["rounds"]:
        return "not run"
    reached = middle(server, "open", rate, "rate")
    if reached is None:
        return "does not hold it"
    p50, p99 = (middle(server, "open", rate, key) for key in ("p50_ms", "p99_ms"))
    behind = "" if reached >= HELD * float(rate) else ", falls behind"
    return f"{p50:,.2f} / {p99:,.2f}{behind}"


def _costs(model: dict[str, Any]) -> list[str]:
    rows = []
    for name, server in model["servers"].items():
        if not server["rounds"]:
            rows.append([name, *["not run"] * 5])
            continue
        start = middle(server, "cold_start_s")
        pss, rss = (middle(server, "memory_mib", key) for key in ("pss", "rss"))
        rows.append(
            [
                name,
                f"{start:.1f}",
                f"{pss:,.0f}",
                f"{rss:,.0f}",
                server["refused"],
                f"{server['difference']:.0e}",
            ]
        )
    head = ["", "cold start s", "PSS MiB after load", "RSS MiB", "wrong rows refused", "difference"]
    return ["", *_table(head, rows)]


def _goals(model: dict[str, Any]) -> list[str]:
    servers = model["servers"]
    lines = []
    for name in ("ours", "ours-bentoml"):
        if name not in servers or not servers[name]["rounds"]:
            continue
        for key, times, other in GOALS:
            mine = middle(servers[name], "closed", key, "rate")
            theirs = middle(servers[other], "closed", key, "rate") if other in servers else None
            if mine is not None and theirs:
                held = "held" if mine / theirs >= times else "MISSED"
                ratio = f"{mine / theirs:.2f} times {other}"
                lines.append(f"- {name}, {key}: {ratio} (goal {times:g}: {held})")
        lines += _columns(name, servers) + _p99_goals(name, servers)
    return ["", *lines] if lines else []


def _columns(name: str, servers: dict[str, Any]) -> list[str]:
    if "fastapi-onnx" not in servers:
        return []
    mine = middle(servers[name], "closed", "100 in columns, 16 connections", "rate")
    theirs = middle(servers["fastapi-onnx"], "closed", "100 rows, 16 connections", "rate")
    if mine is None or not theirs:
        return []
    return [f"- {name}, 100 in columns: {mine / theirs:.2f} times fastapi-onnx with 100 rows"]


def _p99_goals(name: str, servers: dict[str, Any]) -> list[str]:
    other = servers.get("fastapi-onnx", {"rounds": []})
    lines = []
    for rate in [key for one in other["rounds"][:1] for key in one["open"]]:
        mine = middle(servers[name], "open", rate, "p99_ms")
        theirs = middle(other, "open", rate, "p99_ms")
        if mine is not None and theirs is not None:
            held = "held" if mine <= theirs else "MISSED"
            said = f"p99 {mine:.2f} ms, fastapi-onnx {theirs:.2f}"
            lines.append(f"- {name}, {rate}/s: {said} (goal not more: {held})")
    return lines


def _versions(results: dict[str, Any]) -> list[str]:
    found: dict[str, dict[str, str]] = {}
    for model in results["models"].values():
        for name, server in model["servers"].items():
            found.setdefault(name, server.get("versions", {}))
    return [
        f"- {name}: " + (", ".join(f"{k} {v}" for k, v in have.items()) or "not run")
        for name, have in found.items()
    ]
