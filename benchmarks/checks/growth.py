"""How the cost of the checks grows with the table.

``python benchmarks/checks/growth.py CHECKS_PYTHON [ROWS ...]``: both stages of ``gatehouse.checks``,
each in a fresh process, on tables of 28 features of mixed types, a binary target and a row id that are
made here, in chunks; CHECKS_PYTHON is the interpreter in a project's ``.venv-checks``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

TEMPLATE = Path(__file__).resolve().parents[2]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
CHUNK = 100_000
WORDS = np.array([f"town {k}" for k in range(40)], dtype=object)
KINDS = {"number": 16, "integer": 4, "string": 6, "boolean": 2}
CLASSES = np.array(["no", "yes"], dtype=object)
# Run in the fresh process: the stage, then the most memory that it held, in MB.
MEASURE = """
import resource, runpy, sys
try:
    runpy.run_module("gatehouse.checks", run_name="__main__")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def features(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    """Columns of every kind, some cells missing."""
    made = {}
    for kind, count in KINDS.items():
        for k in range(count):
            values = {
                "number": lambda: rng.normal(size=rows),
                "integer": lambda: rng.integers(0, 90_000, rows),
                "string": lambda: rng.choice(WORDS, rows),
                "boolean": lambda: rng.random(rows) < 0.3,
            }[kind]()
            made[f"{kind}_{k}"] = pa.array(values, mask=rng.random(rows) < 0.02)
    return made


def write(folder: Path, rows: int) -> None:
    """The files that both stages read."""
    for name in ("data", "predictions", "reports"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    columns = {f"{kind}_{k}": kind for kind, count in KINDS.items() for k in range(count)}
    described = {name: {"type": kind, "role": "feature"} for name, kind in columns.items()}
    described["late"] = {"type": "string", "role": "target"}
    schema = {"target": "late", "task": "binary", "classes": ["no", "yes"], "columns": described}
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    (folder / "gates.yaml").write_text((PROJECT / "gates.yaml").read_text(encoding="utf-8"))
    writers: dict[str, pq.ParquetWriter] = {}

    def put(name: str, table: pa.Table) -> None:
        if name not in writers:
            writers[name] = pq.ParquetWriter(folder / name, table.schema)
        writers[name].write_table(table)

    rng = np.random.default_rng(0)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        made = features(rng, count)
        first = made["number_0"].fill_null(0).to_numpy()
        truth = (first + rng.normal(size=count) > 1).astype(int)
        positive = 1 / (1 + np.exp(-2 * first + 2))
        table = pa.table(made | {"late": CLASSES[truth], "__row_id": np.arange(count) + start})
        predicted = pa.table(
            {
                "row_id": table["__row_id"],
                "truth": table["late"],
                "prediction": CLASSES[(positive > 0.5).astype(int)],
                "p_0": 1 - positive,
                "p_1": positive,
            }
        )
        put("data/dataset.parquet", table)
        cut = count * 4 // 5
        for side, at in (("train", slice(0, cut)), ("test", slice(cut, count))):
            rows_of = pa.array(np.arange(count)[at])
            put(f"data/{side}.parquet", table.take(rows_of))
            put(f"predictions/{side}.parquet", predicted.take(rows_of))
        if start == 0:
            (folder / "champion").mkdir(exist_ok=True)
            for path in ("data/reference.parquet", "champion/reference.parquet"):
                pq.write_table(table.slice(0, 10_000), folder / path)
    for writer in writers.values():
        writer.close()


def measure(python: str, folder: Path, stage: str) -> tuple[float, float, int, int]:
    """Wall and CPU seconds, peak memory in MB, and how many checks ended with an error."""
    before, spent = time.perf_counter(), sum(os.times()[2:4])
    done = subprocess.run(
        [python, "-c", MEASURE, stage],
        cwd=folder,
        env={"PYTHONPATH": str(TEMPLATE / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = time.perf_counter() - before, sum(os.times()[2:4]) - spent
    report = json.loads((folder / f"reports/{stage}.json").read_text(encoding="utf-8"))
    errors = sum(finding["status"] == "error" for finding in report["findings"])
    return wall, cpu, int(done.stdout), errors


if __name__ == "__main__":
    print("| rows | stage | seconds | CPU seconds | peak MB | checks that crashed |")
    print("|--:|---|--:|--:|--:|--:|", flush=True)
    for size in map(int, sys.argv[2:] or SIZES):
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), size)
            for stage in ("data", "model"):
                wall, cpu, memory, errors = measure(sys.argv[1], Path(name), stage)
                line = f"| {size:,} | {stage} | {wall:.0f} | {cpu:.0f} | {memory:,} | {errors} |"
                print(line, flush=True)
