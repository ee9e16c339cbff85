"""The infra blessing: the built image is started and held to what it must do.

It loads, answers golden requests as offline, keeps the contract of its OpenAPI page, stays within
the budget of gates.yaml, holds nothing that only training needs, and loses no request when told to
stop. What cannot be measured closes the gate.
"""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import is_number
from gatehouse.core.console import say
from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.layout import GOLDEN
from gatehouse.core.project import Project

from .contract.run import against
from .docker import Container, alone, docker, last_words, run
from .golden_requests import HEADERS, read_golden, wait_ready, wrong

BUDGET = {
    "startup_seconds": "s from start to ready",
    "latency_ms": "ms for one row (95th percentile)",
    "memory_mb": "MB of memory at its highest",
    "size_mb": "MB on disk",
}
REQUESTS, CLIENTS = 200, 4
STOP_SECONDS = 40  # drain, requests in flight, and some
# What only trains, and what only builds.
UNWANTED = ("bentoml", "deepchecks", "dvc", "mlflow", "pip")
LOOK = """
import importlib.util as u, json, os, re, shutil, sys
sys.path[:0] = ["/app/site"]
status = open("/proc/1/status").read()
try:
    open("/app/written", "w").close(); writable = True
except OSError:
    writable = False
print(json.dumps({
    "unwanted": [n for n in "UNWANTED".split() if os.path.exists("/app/site/" + n)],
    "compilers": [n for n in ("gcc", "cc", "g++", "clang", "make") if shutil.which(n)],
    "root": os.getuid() == 0, "writable": writable,
    "memory_mb": int(re.findall("VmHWM:\\s+(\\d+)", status)[0]) / 1024,
}))
""".replace("UNWANTED", " ".join(UNWANTED))


def probe(project: Project, image: str) -> tuple[list[str], dict[str, float]]:
    """Why ``image`` may not move on (nothing if it may), and what was measured."""
    budget = gates_section(project, "image")
    reasons = [
        f"gates.yaml has no image.{name}: say how many {unit} are allowed"
        for name, unit in BUDGET.items()
        if not is_number(budget.get(name)) or budget[name] <= 0
    ]
    if reasons:
        return reasons, {}
    golden = read_golden(project / GOLDEN)
    measured = {"size_mb": int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6}
    say("image: starting it, as hardened as in production")
    with ExitStack() as stack:
        try:
            container = stack.enter_context(alone(image, options=("--env", "SERVICE_PAGES=on")))
            measured["startup_seconds"] = wait_ready(
                container.address, 2 * budget["startup_seconds"]
            )
        except Stop as stop:
            if stop.exit_code != CLOSED:
                raise
            return [f"it does not start: {stop}"], measured
        reasons += _answers(container, golden, measured)
        say("image: stopping it with requests in flight")
        reasons += _stopped(container, golden)
    for name, unit in BUDGET.items():
        if name in measured and not measured[name] <= budget[name]:
            reasons.append(f"{measured[name]:.4g} {unit}, above {budget[name]:g} (image.{name})")
    return reasons, {name: round(value, 3) for name, value in measured.items()}


def _answers(
    container: Container, golden: Mapping[str, Any], measured: dict[str, float]
) -> list[str]:
    reasons = []
    if said := wrong(container.address, golden):
        reasons.append(said)
    say("image: holding it against its OpenAPI page")
    if said := _contract(container.address):
        reasons.append(said)
    try:
        measured["latency_ms"] = _latency(container.address, golden["rows"])
    except (OSError, http.client.HTTPException) as error:
        reasons.append(f"its latency cannot be measured ({error})")
    look = run("exec", container.id, "python3", "-ISc", LOOK)
    try:
        found = json.loads(look.stdout)
        measured["memory_mb"] = found["memory_mb"]
    except (ValueError, KeyError):
        return [*reasons, f"it cannot be looked into: {last_words(look)}"]
    held = found["unwanted"] + found["compilers"]
    reasons += [f"it holds {', '.join(held)}, which nothing in it needs"] if held else []
    reasons += ["it runs as root"] if found["root"] else []
    reasons += ["its file system can be written to"] if found["writable"] else []
    return reasons


def _contract(address: str) -> str:
    """What the contract says of the service at ``address``, if anything is wrong."""
    done = against(address, quiet=True)
    skipped = "skipped" in last_words(done)
    if done.returncode or skipped:
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return f"contract: {(failed or [last_words(done)])[0]}"
    return ""


def _latency(address: str, rows: list[Any]) -> float:
    """95th percentile in ms of one row at a time over one connection, after some to warm up."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    bodies = [json.dumps(row) for row in rows]
    taken = []
    for number in range(REQUESTS + 20):
        start = time.perf_counter()
        connection.request("POST", "/predict", bodies[number % len(bodies)], HEADERS)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - start)
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
    connection.close()
    return sorted(taken[20:])[int(REQUESTS * 0.95)] * 1000


def _stopped(container: Container, golden: Mapping[str, Any]) -> list[str]:
    """SIGTERM while clients send: each request that was taken is answered, and the end is good."""
    body, lost = json.dumps({"rows": golden["rows"]}), []

    def send() -> None:
        try:
            connection = http.client.HTTPConnection(urlsplit(container.address).netloc, timeout=30)
            connection.connect()
        except OSError as error:
            lost.append(str(error))
            return
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until:
            try:
                connection.request("POST", "/predict_batch", body, HEADERS)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                lost.append(type(error).__name__)
                return
            if answer.status != 200:
                lost.append(f"status {answer.status}")
                return
            if answer.will_close:
                return  # as it was asked to, with the answer to a request that came after SIGTERM
        lost.append("it was still taking requests")

    clients = [threading.Thread(target=send, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(0.3)
    run("kill", "--signal", "TERM", container.id)
    for client in clients:
        client.join(STOP_SECONDS)
    ended = run("wait", container.id) if _ends(container) else None
    if ended is None:
        return [f"told to stop, it still runs after {STOP_SECONDS} s"]
    reasons = [f"told to stop, it lost requests: {', '.join(sorted(set(lost)))}"] if lost else []
    if ended.stdout.strip() != "0":
        reasons.append(f"told to stop, it ended with exit code {ended.stdout.strip() or '?'}")
    return reasons


def _ends(container: Container) -> bool:
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until:
        state = run("inspect", "--format", "{{.State.Running}}", container.id).stdout.strip()
        if state != "true":
            return True
        time.sleep(0.2)
    return False
