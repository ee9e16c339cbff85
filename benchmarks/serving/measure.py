"""Rounds: every server of every model once, then again."""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from closed import closed_loop, write_bodies
from common import HERE, LOAD_CORE, Trouble, say, write_json, write_text
from correct import check_answers, refused
from environments import versions
from plot import plot
from process import Running
from projects import MODELS, Project, commit, project
from servers import PACKAGES, SERVERS, Server
from tables import tables

CONNECTIONS, QUICK_CONNECTIONS = (1, 16, 64), (1, 16)
ROWS, QUICK_ROWS = (1, 100, 1000), (1, 100)
FEW, LONGER = 3, 5  # so few answers a connection are measured again, so many times as long
RATES, QUICK_RATES = (500, 1000, 2000, 3000), (500, 2000)


def measure(given: argparse.Namespace) -> int:
    """All rounds; results are written after each, 1 if a server could not be measured."""
    projects = {name: project(given.folder, name) for name in given.models}
    results: dict[str, Any] = {"about": about(given), "models": {}}
    for model in given.models:
        results["models"][model] = {
            "title": MODELS[model],
            "template": projects[model].template,
            "servers": {},
        }
        for name in given.only:
            results["models"][model]["servers"][name] = {"rounds": [], "trouble": None}
    for number in range(1, given.rounds + 1):
        for model in given.models:
            for name in given.only:
                entry = results["models"][model]["servers"][name]
                if entry["trouble"]:
                    continue
                say(f"round {number}/{given.rounds}, {model}: {name}")
                try:
                    entry["rounds"].append(one(given, projects[model], name, entry))
                except Trouble as trouble:
                    entry["trouble"] = str(trouble)
                    say(f"NOT MEASURED: {name} on {model}: {trouble}")
        write_json(given.folder / "results.json", results)
        write_text(given.folder / "results.md", tables(results))
        if not given.rates:
            write_text(given.folder / "results.svg", plot(results))
    sys.stdout.write(tables(results))
    say(f"written: results.json, results.md, results.svg in {given.folder}")
    servers = [s for m in results["models"].values() for s in m["servers"].values()]
    return 1 if any(server["trouble"] for server in servers) else 0


def one(
    given: argparse.Namespace, served: Project, name: str, entry: dict[str, Any]
) -> dict[str, Any]:
    """Start one server, hold it against golden answers, measure it, end it."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = SERVERS[name](served, given.folder, port)
    log = given.folder / f"{name}.log"
    with Running(name, server, port, log) as running:
        entry["difference"] = check_answers(server, port, served)
        entry["refused"] = refused(server, port, served)
        entry.setdefault("versions", versions(server.python, PACKAGES))
        shapes = write_requests(given, server, served)
        round_: dict[str, Any] = {"cold_start_s": round(running.cold_start, 2)}
        closed_loop(port, *shapes["1 row"], 16, 1 if given.quick else 3)  # warm
        running.settle()
        held, round_["closed"] = float("inf"), {}
        if not given.rates:
            round_["closed"] = closed(given, running, shapes)
            # The rows of one request fit one send; more rows have no fixed rates.
            held = max(cell["rate"] for key, cell in round_["closed"].items() if "1 row," in key)
        round_["open"] = opened(given, running, shapes["1 row"], held)
        running.check()
        round_["memory_mib"] = running.memory()
        return round_


def write_requests(
    given: argparse.Namespace, server: Server, served: Project
) -> dict[str, tuple[str, Path]]:
    """Files of bodies for each form of request, with the path that they are sent to."""
    found: dict[str, tuple[str, Path]] = {}
    for rows in QUICK_ROWS if given.quick else ROWS:
        batches = served.batches(rows)
        forms = {f"{rows} row{'s' if rows > 1 else ''}": server.one if rows == 1 else server.many}
        if rows > 1 and server.columns:
            forms[f"{rows} in columns"] = server.columns
        for key, form in forms.items():
            path = given.folder / f"bodies {key}.jsonl"
            found[key] = write_bodies(path, [form(batch) for batch in batches]), path
    return found


def closed(
    given: argparse.Namespace, running: Running, shapes: dict[str, tuple[str, Path]]
) -> dict[str, Any]:
    """Every form of request by every number of connections."""
    found = {}
    for key, (url, bodies) in shapes.items():
        for connections in QUICK_CONNECTIONS if given.quick else CONNECTIONS:
            cell = closed_loop(running.port, url, bodies, connections, given.seconds)
            running.settle()
            if cell["requests"] < FEW * connections:  # too short for so slow a server
                cell = closed_loop(running.port, url, bodies, connections, LONGER * given.seconds)
                running.settle()
            running.check()
            say(f"  {key}, {connections} connections: {cell['rate']:,.0f}/s")
            found[f"{key}, {connections} connections"] = cell
    return found


def opened(
    given: argparse.Namespace, running: Running, shape: tuple[str, Path], held: float
) -> dict[str, Any]:
    """One row at fixed rates; those that the closed loop did not reach are left out."""
    found: dict[str, Any] = {}
    for rate in QUICK_RATES if given.quick else RATES:
        if rate > held:
            found[str(rate)] = {"left_out": f"it answers {held:,.0f}/s at most"}
            continue
        url, bodies = shape
        command = ["taskset", "-c", LOAD_CORE, sys.executable, str(HERE / "openloop.py")]
        command += [str(running.port), url, str(bodies), str(rate), str(given.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        running.check()
        if done.returncode:
            raise Trouble(f"at {rate}/s: {done.stderr.strip()[-300:]}")
        found[str(rate)] = json.loads(done.stdout)
        say(f"  at {rate}/s: p50 {found[str(rate)]['p50_ms']}, p99 {found[str(rate)]['p99_ms']} ms")
    return found


def about(given: argparse.Namespace) -> dict[str, Any]:
    """What was measured where."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    [name, *_] = [line.split(":")[1].strip() for line in cpu.splitlines() if "model name" in line]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": name,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "template": commit(),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "quick": given.quick,
    }
