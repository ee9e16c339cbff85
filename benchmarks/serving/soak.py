"""Does the memory of our service grow under load that does not end?"""

import argparse
import json
import socket
import subprocess
import time
from contextlib import closing
from typing import Any

from closed import write_bodies
from common import HERE, LOAD_CORE, say, write_json
from correct import check_answers
from process import Running
from projects import project
from servers import SERVERS

EVERY, CONNECTIONS = 5.0, 16


def soak(given: argparse.Namespace) -> int:
    """Full load of one row by 16 connections for so many minutes; memory every five seconds.

    The growth is that between a tenth of the time, when caches are filled, and the end.
    """
    name = "ours" if "ours" in given.only else given.only[0]
    served = project(given.folder, given.models[0])
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = SERVERS[name](served, given.folder, port)
    samples: list[dict[str, float]] = []
    with Running(name, server, port, given.folder / f"{name}.log") as running:
        check_answers(server, port, served)
        bodies = given.folder / "bodies soak.jsonl"
        url = write_bodies(bodies, [server.one(batch) for batch in served.batches(1)])
        seconds = max(60, round(given.soak * 60))
        command = ["taskset", "-c", LOAD_CORE, "wrk", "--threads", "1", "--timeout", "30s"]
        command += ["--connections", str(CONNECTIONS), "--duration", f"{seconds}s"]
        command += ["--script", str(HERE / "load.lua"), f"http://127.0.0.1:{port}{url}"]
        begun = time.perf_counter()
        load = subprocess.Popen([*command, "--", str(bodies)], stdout=subprocess.PIPE, text=True)
        try:
            while load.poll() is None:
                time.sleep(min(EVERY, max(0.1, seconds - (time.perf_counter() - begun))))
                running.check()
                samples.append({"s": round(time.perf_counter() - begun, 1), **running.memory()})
                if len(samples) % 12 == 0:
                    say(f"soak: {samples[-1]['s']:.0f} s, {samples[-1]['rss']:,.0f} MiB RSS")
        finally:
            load.kill()
        said = (load.communicate()[0] or "").strip().splitlines()[-1:]
    first = next(one for one in samples if one["s"] >= seconds / 10)
    growth = 100 * (samples[-1]["rss"] / first["rss"] - 1)
    found: dict[str, Any] = {"server": name, "model": served.model, "seconds": seconds}
    found |= {"growth_percent": round(growth, 2), "load": json.loads(said[0]) if said else None}
    write_json(given.folder / "soak.json", {**found, "samples": samples})
    say(
        f"soak: {name}, {seconds / 60:.0f} min: {first['rss']:,.0f} to {samples[-1]['rss']:,.0f} "
        f"MiB RSS, {growth:+.1f} %; {found['load']}; written: soak.json"
    )
    return 0
