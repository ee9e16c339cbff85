"""Closed loop: so many connections, each asking again as soon as it is answered. By wrk."""

import json
import subprocess
from pathlib import Path
from typing import Any

from common import HERE, LOAD_CORE, Trouble
from servers import Request

TIMEOUT = 30  # seconds for one answer


def write_bodies(path: Path, requests: list[Request]) -> str:
    """Write bodies, one a line, for both kinds of load; returns their common path."""
    [url] = {url for url, _ in requests}
    lines = [json.dumps(body, separators=(",", ":")) + "\n" for _, body in requests]
    path.write_text("".join(lines), encoding="utf-8")
    return url


def closed_loop(
    port: int, url: str, bodies: Path, connections: int, seconds: float
) -> dict[str, Any]:
    """Requests a second, p50 and p99 in milliseconds, answers that are not 200."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "--threads", "1"]
    command += ["--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", f"{TIMEOUT}s", "--script", str(HERE / "load.lua")]
    command += [f"http://127.0.0.1:{port}{url}", "--", str(bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:] or [""]
    try:
        found: dict[str, Any] = json.loads(last[0])
    except ValueError:
        raise Trouble(f"wrk failed: {done.stdout[-300:]}{done.stderr[-300:]}") from None
    found["rate"] = round((found["requests"] - found["not_200"]) / found["seconds"], 1)
    return found
