"""The generated pipeline against a plain script that does the same work.

``python benchmarks/pipeline/run.py FOLDER`` generates a project for the flights and one for a
million synthetic rows in FOLDER, sets them up, runs script and pipeline in turn on the same
machine, and prints a table: seconds, overhead, peak memory of the largest process.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parents[1]
ROUNDS = 3


@dataclass
class Run:
    """One command: wall seconds, peak resident MiB of its largest process, what it said."""

    seconds: float
    peak: float
    said: str


def timed(command: list[str], folder: Path) -> Run:
    """Run ``command`` in a process of its own, so that peak memory is this command's alone."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reader)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with os.fdopen(writer, "w") as pipe:
            json.dump([done.returncode, peak, done.stdout + done.stderr], pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        code, peak, said = json.load(pipe)
    os.waitpid(child, 0)
    if code:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return Run(time.perf_counter() - start, peak, said)


def synthetic(path: Path, rows: int, columns: int) -> Path:
    """A CSV of numeric columns with a signal that takes a model to find."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, columns)).round(5)
    score = values[:, 0] * values[:, 1] + values[:, 2] + rng.normal(size=rows)
    frame = pd.DataFrame(values, columns=[f"x{k}" for k in range(columns)])
    frame.assign(y=(score > 0).astype(int)).to_csv(path, index=False)
    return path


def generate(folder: Path, *answers: str) -> Path:
    """Generate and set up a project; returns its folder."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "-o", str(folder)]
    subprocess.run([*command, *answers], check=True, capture_output=True)
    [project] = folder.iterdir()
    subprocess.run(["make", "setup"], cwd=project, check=True)
    return project


def compare(name: str, project: Path, *plain: str) -> dict[str, object]:
    """Script and pipeline in turn, ``ROUNDS`` times; medians."""
    python = str(project / ".venv/bin/python")
    script = [python, str(HERE / "plain.py"), str(project / "data/source.csv"), *plain]
    rows = []
    for _ in range(ROUNDS):
        by_hand = timed(script, project)
        ours = timed(["make", "pipeline", "FORCE=1"], project)
        checks = [float(s) for s in re.findall(r"checks: \w+ done in ([\d.]+) s", ours.said)]
        rows.append((by_hand.seconds, ours.seconds, sum(checks), by_hand.peak, ours.peak))
    plain_s, total, checks_s, plain_mib, our_mib = np.median(np.array(rows), axis=0)
    again = [timed(["make", "pipeline"], project).seconds for _ in range(ROUNDS)]
    return {
        "data": name,
        "plain script s": round(plain_s, 1),
        "pipeline s": round(total, 1),
        "of which checks s": round(checks_s, 1),
        "overhead without checks s": round(total - checks_s - plain_s, 1),
        "ratio without checks": round((total - checks_s) / plain_s, 2),
        "nothing changed s": round(float(np.median(again)), 2),
        "plain script MiB": round(plain_mib),
        "pipeline MiB": round(our_mib),
    }


def main() -> None:
    """Run both comparisons and print the table."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True)
    million = synthetic(folder / "million.csv", 1_000_000, 30)
    flights = generate(folder / "flights")
    table = [compare("336,776 flights", flights, "late", "time_hour", "arr_delay")]
    large = generate(folder / "large", f"data={million}", "target=y", "project_name=Large")
    table.append(compare("1,000,000 x 30", large, "y"))
    names = list(table[0])
    for name in names:
        print("|", " | ".join([name, *(str(row[name]) for row in table)]), "|")
        if name == names[0]:
            print("|---" * (len(table) + 1) + "|")


if __name__ == "__main__":
    main()
