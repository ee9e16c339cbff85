"""What the benchmarks of the monitor share: the library, data to draw, the peers' environments.

``python benchmarks/monitor/common.py`` compiles the locks of the peers again.
"""

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements"
ENVIRONMENTS = Path(tempfile.gettempdir()) / "gatehouse-monitor-peers"
PYTHON = "3.11"

sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parents[1] / "src"))
drift = importlib.import_module("gatehouse.monitoring.drift")
domain = importlib.import_module("gatehouse.monitoring.domain")
estimate = importlib.import_module("gatehouse.monitoring.estimate")
statistics = importlib.import_module("gatehouse.metrics.comparison")
Rows = importlib.import_module("gatehouse.metrics.table").Rows

LETTERS = np.array([f"k{i}" for i in range(12)])
# Of five columns each; a tenth of the last one is missing.
KINDS = ("number", "integer", "boolean", "string", "number")


def mixed(rng: Any, rows: int, width: int) -> tuple[pa.Table, dict[str, str]]:
    """Independent columns of mixed kinds: normal, Poisson, yes or no, twelve letters, missing."""
    columns = {}
    for j in range(width):
        columns[f"c{j}"] = draw(rng, rows, j % 5)
    kinds = {f"c{j}": KINDS[j % 5] for j in range(width)}
    return pa.table(columns), kinds


def draw(rng: Any, rows: int, which: int) -> pa.Array:
    """One column."""
    values = (
        lambda: rng.normal(size=rows),
        lambda: rng.poisson(3, rows),
        lambda: rng.random(rows) < 0.2,
        lambda: LETTERS[np.minimum(rng.geometric(0.25, rows) - 1, 11)],
        lambda: np.where(rng.random(rows) < 0.1, np.nan, rng.exponential(size=rows)),
    )[which]()
    return pa.array(values, from_pandas=True)


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment; made from its lock if it is not there."""
    lock, place = REQUIREMENTS / f"{name}.txt", ENVIRONMENTS / name
    python, stamp = place / "bin/python", place / ".lock"
    text = lock.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
        return python
    print(f"environment {name}: installing", file=sys.stderr)
    uv = _uv()
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", PYTHON, place], check=True)
    install = [uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock]
    subprocess.run(install, check=True)
    stamp.write_text(text, encoding="utf-8")
    return python


def peer(name: str, folder: Path) -> Any:
    """What ``peers/<name>.py`` says of the files in this folder."""
    command = [str(python_of(name)), "-W", "ignore", str(HERE / f"peers/{name}.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def interval(hits: int, trials: int) -> str:
    """A share in per cent with its 95 % Wilson interval."""
    share, z = hits / trials, 1.96
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    return f"{100 * share:.1f} ({100 * max(middle - half, 0):.1f}-{100 * (middle + half):.1f})"


def show(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table as the documentation has it."""
    head = list(head)
    print("\n| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def lock() -> None:
    """Compile every lock."""
    for source in sorted(REQUIREMENTS.glob("*.in")):
        command = [_uv(), "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--custom-compile-command", "python benchmarks/monitor/common.py"]
        command += ["--output-file", f"{source.stem}.txt", source.name]
        subprocess.run(command, cwd=REQUIREMENTS, check=True)


if __name__ == "__main__":
    lock()
