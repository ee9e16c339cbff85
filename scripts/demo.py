"""``make demo``: the example, from nothing to a served prediction, each step as a user would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[1]
FOLDER = TEMPLATE / "demo"
PROJECT = FOLDER / "flight-delays"
PORT = int(os.environ.get("PORT", "3000"))
FLIGHT = {  # a flight that left Newark for Houston half an hour late
    "year": 2013, "month": 11, "day": 3, "hour": 8, "minute": 30,
    "time_hour": "2013-11-03T13:00:00", "dep_time": 900, "sched_dep_time": 830,
    "dep_delay": 30, "sched_arr_time": 1100,
    "carrier": "UA", "flight": 1545, "tailnum": "N14228", "origin": "EWR", "dest": "IAH",
    "distance": 1400,
}  # fmt: skip


def step(title: str, *command: str) -> None:
    """Announce and run one command of the user; stop where it fails."""
    print(f"\n\x1b[1m{title}\x1b[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)
    start = time.perf_counter()
    code = subprocess.run(command, cwd=PROJECT if PROJECT.exists() else FOLDER, check=False)
    if code.returncode:
        raise SystemExit(f"demo: {' '.join(command)} failed; mend what it says, then `make demo`")
    print(f"   {time.perf_counter() - start:.1f} s", flush=True)


def ask(path: str, body: dict[str, Any]) -> Any:
    """POST ``body`` to the demo's service and return its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def serve_once() -> Any:
    """Start the service, ask it for one prediction, stop it."""
    command = ["make", "serve", f"PORT={PORT}"]
    log = (FOLDER / "serve.log").open("w", encoding="utf-8")
    with (
        log,
        subprocess.Popen(
            command, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True
        ) as server,
    ):
        try:
            for _ in range(1500):
                if server.poll() is not None:
                    raise SystemExit(f"demo: the service did not start: see {log.name}")
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=30).close()
                    break
                except OSError:
                    time.sleep(0.2)
            return ask("/predict", FLIGHT)
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def main() -> None:
    """Generate, set up, run the pipeline, ask the gate, serve, predict, say where things are."""
    start = time.perf_counter()
    shutil.rmtree(PROJECT, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    generate = [
        sys.executable,
        "-m",
        "cookiecutter",
        str(TEMPLATE),
        "--no-input",
        "-o",
        str(FOLDER),
    ]
    step("1/4 generate: cookiecutter gatehouse", *generate, "-o", str(FOLDER))
    step("2/4 set up: environments from the locks, the data, its schema", "make", "setup")
    step("3/4 pipeline and verdict: make pipeline gate", "make", "pipeline", "gate")
    print("\n4/4 serve and predict: make serve", flush=True)
    answer = serve_once()
    print(f"   POST /predict {json.dumps(FLIGHT)}\n   -> {json.dumps(answer)}")
    where = PROJECT.relative_to(TEMPLATE)
    print(f"""
Done in {time.perf_counter() - start:.0f} s. Where everything is, in {where}/:
  data            data/source.csv, described by schema.yaml
  model           model/, its metrics in metrics.json, its predictions in predictions/
  verdict         blessing.json, the findings in reports/         make gate
  catalogue       .mlflow/                                        make ui
  service         http://127.0.0.1:3000                           make serve""")


if __name__ == "__main__":
    main()
