"""What the inference log costs the service, and how fast a million records are read back.

    python benchmarks/log/run.py FOLDER [--rounds 30] [--seconds 1] [--connections 16] [--records N]

One row a request, one core for the service and one for the load (wrk). Two services stand side by
side, one with the log and one without, and are asked in turn, a second each, so that what else the
machine does falls on both. FOLDER keeps the generated project, of the flights, for another call,
and gets log.json. Needs what benchmarks/serving/run.py needs.
"""

import argparse
import json
import os
import shutil
import socket
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serving"))

from closed import closed_loop, write_bodies
from common import Trouble, require, run, say, write_json
from process import Running
from projects import Project, project
from run import with_environment
from servers import SERVERS, one_row

DAY = datetime(2026, 11, 20, tzinfo=UTC)
FILE_BYTES = 16 * 2**20
READ = """
import json, resource, sys, time
from datetime import datetime, timedelta, UTC
from pathlib import Path
from gatehouse.core.files import read_yaml
from gatehouse.monitoring import records
start = time.perf_counter()
day = datetime(2026, 11, 20, tzinfo=UTC)
read = records.read(sys.argv[1], day, day + timedelta(days=1), read_yaml(Path("schema.yaml")))
print(json.dumps({
    "records": read.table.num_rows,
    "counts": {name: count for name, count in read.counts.items() if count},
    "seconds": round(time.perf_counter() - start, 2),
    "cpu_seconds": round(time.process_time(), 2),
    "megabytes_read": round(read.bytes / 1e6),
    "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "columns": read.table.num_columns,
}))
"""


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--records", type=int, default=1_000_000, help="0: reading is left out")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    try:
        require("taskset", "wrk", "make", "git")
        given.folder.mkdir(parents=True, exist_ok=True)
        served = project(given.folder, "flights")
        found: dict[str, Any] = {"serving": serving(given, served)} if given.rounds else {}
        if given.records:
            found["reading"] = reading(given, served)
    except Trouble as trouble:
        say(f"error: {trouble}")
        return 3
    write_json(given.folder / "log.json", found)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


def serving(given: argparse.Namespace, served: Project) -> dict[str, Any]:
    """Medians of both, and of the ratios of neighbouring slots."""
    folder = given.folder / "log"
    shutil.rmtree(folder, ignore_errors=True)
    bodies = given.folder / "bodies log.jsonl"
    pairs: list[dict[str, dict[str, float]]] = []
    with started(given, served, "off") as off, started(given, served, "on", folder) as on:
        url = write_bodies(bodies, [one_row(batch) for batch in served.batches(1)])
        for number in range(given.rounds + 1):
            order = [("off", off), ("on", on)][:: 1 if number % 2 else -1]
            pair = {name: slot(given, running, url, bodies) for name, running in order}
            if number:  # the first one warms
                pairs.append(pair)
                say(f"round {number}/{given.rounds}: {pair}")
    asked = sum(round(pair["on"]["requests"]) for pair in pairs)
    written = sum(path.read_bytes().count(b"\n") for path in folder.glob("*/*.jsonl"))
    if written < asked:
        raise Trouble(f"{asked:,} answers left only {written:,} records")
    names = ("rate", "p50_ms", "p99_ms", "cpu_us")
    return {
        **{
            log: {name: round(median(pair[log][name] for pair in pairs), 2) for name in names}
            for log in ("off", "on")
        },
        "on / off": {
            name: interval([p["on"][name] / p["off"][name] for p in pairs]) for name in names
        },
        "records": written,
        "rounds": pairs,
    }


def started(
    given: argparse.Namespace, served: Project, name: str, folder: Path | None = None
) -> Running:
    """The service; idle, it costs the other one nothing."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = SERVERS["ours"](served, given.folder, port)
    more = {"SERVICE_LOG_FOLDER": str(folder)} if folder else {}
    server = replace(server, env={**server.env, **more})
    return Running(f"log {name}", server, port, given.folder / f"log {name}.log")


def slot(given: argparse.Namespace, running: Running, url: str, bodies: Path) -> dict[str, float]:
    """One measurement; ``cpu_us`` is the processor time of the whole process for one request."""
    before = running.ticks()
    cell = closed_loop(running.port, url, bodies, given.connections, given.seconds)
    spent = (running.ticks() - before) / os.sysconf("SC_CLK_TCK")
    if cell["not_200"] or cell["broken"]:
        raise Trouble(f"not every request was answered: {cell}")
    found = {name: cell[name] for name in ("requests", "rate", "p50_ms", "p99_ms")}
    return {**found, "cpu_us": round(1e6 * spent / cell["requests"], 2)}


def interval(ratios: list[float]) -> dict[str, float]:
    """The median, and where it lies with 95 % confidence (order statistics)."""
    ordered, n = sorted(ratios), len(ratios)
    reach = round(0.98 * n**0.5)
    low, high = max(0, n // 2 - reach), min(n - 1, (n - 1) // 2 + reach)
    return {
        "median": round(median(ordered), 4),
        "low": round(ordered[low], 4),
        "high": round(ordered[high], 4),
    }


def reading(given: argparse.Namespace, served: Project) -> dict[str, Any]:
    """Write so many records as the service would, and read them in a process of its own."""
    folder = given.folder / "records"
    made = folder / f".{given.records}"
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        say(f"writing {given.records:,} records")
        write_records(folder / DAY.date().isoformat(), given.records, served)
        made.touch()
    python = str(served.path / ".venv/bin/python")
    said = run([python, "-c", READ, str(folder)], served.path, "reading", PYTHONPATH=".")
    return dict(json.loads(said))


def write_records(folder: Path, count: int, served: Project) -> None:
    """Lines with the rows and answers of golden requests, every id and time another."""
    folder.mkdir(parents=True)
    model = json.loads((served.path / "blessing.json").read_text(encoding="utf-8"))
    golden = list(zip(served.golden["rows"], served.golden["answers"], strict=True))
    ends = [_end(row, answer, model["model_digest"]) for row, answer in golden]
    step, number, file, size = timedelta(days=1) / count, 0, None, FILE_BYTES
    for k in range(count):
        moment = DAY + k * step
        if size >= FILE_BYTES:
            if file is not None:
                file.close()
            number += 1
            name = f"{moment:%H%M%S}-host-1-{number}.jsonl"
            file, size = (folder / name).open("w", encoding="utf-8"), 0
        assert file is not None
        time = moment.isoformat(timespec="microseconds").removesuffix("+00:00")
        size += file.write(f'{{"id":"f4e96bb9450e-{k:x}","time":"{time}Z",{ends[k % len(ends)]}\n')
    if file is not None:
        file.close()


def _end(row: Any, answer: Any, digest: str) -> str:
    said = {
        "seconds": 0.000761,
        "schema": "01234567",
        "model": digest,
        "request": row,
        "answer": {**answer, "model_digest": digest},
        "unusual": [],
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)[1:]


if __name__ == "__main__":
    with_environment()
    raise SystemExit(main())
