"""A project of odd names with its model, and its service: for the tests that ask a real one."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from baked import BakedProject
from filelock import FileLock
from projects import TEMPLATE, described, trained

MARKUP, QUOTES, WHEN = "</script><script>alert(1)</script>", 'it\'s "odd"', "when 🕑"
TARGET = "<img src=x onerror=alert(2)>"


def odd_table(rows: int = 2500) -> pd.DataFrame:
    """Names and categories that are markup, quotes, keywords, blanks, or no ASCII."""
    rng = np.random.default_rng(5)
    size = rng.normal(size=rows).round(3)
    kind = rng.choice(["<b>bold</b>", "</script>", 'say "no"', "it's"], rows)
    yes = size + (kind == "it's") + rng.normal(scale=0.5, size=rows) > 0.2
    flag = pd.Series(rng.random(rows) < 0.5).astype(object)
    flag[rng.random(rows) < 0.2] = None
    moments = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 9000, rows), "h")
    return pd.DataFrame(
        {
            MARKUP: size,
            QUOTES: kind,
            "class": flag,
            WHEN: moments,
            "größe in m²": rng.integers(1, 40, rows),
            TARGET: np.where(yes, "<i>yes</i>", "no"),
        }
    )


def odd_project(shared: Path) -> BakedProject:
    """Made once in ``shared``, the folder of all workers; to be read, not changed."""
    folder = shared / "odd_names"
    with FileLock(shared / "odd.lock"):
        if not (folder / ".ran").exists():
            shutil.rmtree(folder, ignore_errors=True)
            odd_table().to_csv(shared / "odd.csv", index=False)
            answers = {"target": TARGET, "project_name": "Odd Names"}
            trained(described(folder, shared / "odd.csv", **answers))
            (folder / ".ran").touch()
    return BakedProject(folder)


def golden(project: BakedProject) -> dict[str, Any]:
    """Rows of the test side, and what the pipeline's own model said of them."""
    return dict(json.loads(project.read("predictions/golden.json")))


@contextmanager
def served(project: BakedProject, **settings: str) -> Iterator[str]:
    """The address of the project's own service, with these ``SERVICE_…`` variables."""
    command = [sys.executable, "-m", "gatehouse.serving"]
    with listening(command, project.path, settings) as address:
        yield address


@contextmanager
def listening(command: list[str], folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """Start a server on a free port, wait until it is ready, end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SERVICE_")}
    environment |= {f"SERVICE_{name.upper()}": value for name, value in settings.items()}
    environment |= {"SERVICE_PORT": str(port), "SERVICE_DRAIN_SECONDS": "0"}
    environment |= {"PYTHONPATH": str(TEMPLATE / "src")}
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=folder, env=environment) as server:
        try:
            for _ in range(1500):
                try:
                    urllib.request.urlopen(f"{address}/readyz", timeout=30).close()
                    break
                except OSError:
                    assert server.poll() is None, "the service ended instead of starting"
                    time.sleep(0.2)
            yield address
        finally:
            server.terminate()
