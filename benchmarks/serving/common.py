"""What all parts share: places, progress, and the commands they run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parents[1]
UV = TEMPLATE / ".venv/bin/uv"
SERVER_CORE, LOAD_CORE = [*map(str, sorted(os.sched_getaffinity(0))), "1"][:2]
# Nothing is sent home by any of the tools, and every server computes with one thread.
QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Trouble(Exception):
    """One sentence for the user: what is wrong and what to do."""


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: this one's, without what would lead it astray."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }
    return {**ours, **QUIET, **more}


def run(command: list[str], folder: Path, what: str, **more: str) -> str:
    """Run a command to its end; returns its stdout, or raises ``Trouble`` with its last lines."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Trouble(f"{what} failed with exit code {done.returncode}:\n{last}")
    return done.stdout


def require(*tools: str) -> None:
    """Refuse to begin without these commands."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Trouble(f"{', '.join(missing)} is not installed: `apt-get install {missing[0]}`")
    if len(os.sched_getaffinity(0)) < 2:
        raise Trouble("two cores are needed, one for the server and one for the load")


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
