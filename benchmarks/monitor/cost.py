"""What one monitoring pass costs: a log of a million records, half of them with their truth.

`python benchmarks/monitor/cost.py PROJECT [--records 1000000]`: PROJECT is a generated project whose
pipeline has run. Its own test rows, as often as needed, are the records; the log is written beside it.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

DAYS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--records", type=int, default=1_000_000)
    options = parser.parse_args()
    until = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory(dir=options.project.parent) as name:
        folder = Path(name)
        size = write(options.project, folder, options.records, until)
        print(f"{options.records:,} records, {size / 1e6:,.0f} MB of JSON lines")
        seconds, memory = look(options.project, folder, until)
    print(f"one pass: {seconds:.1f} s, {memory / 1024:,.0f} MiB at its highest")


def write(project: Path, folder: Path, records: int, until: datetime) -> int:
    """The log and the labels; bytes of the log."""
    schema = yaml.safe_load((project / "schema.yaml").read_text())
    columns = {n: c for n, c in schema["columns"].items() if c["role"] in ("feature", "time")}
    rows = pq.read_table(project / "data/test.parquet")
    said = pq.read_table(project / "predictions/test.parquet")
    labels = [str(c).lower() if isinstance(c, bool) else str(c) for c in schema["classes"]]
    model = json.loads((project / "blessing.json").read_text())["model_digest"]
    bodies = [json.dumps(row, default=_iso) for row in rows.select(list(columns)).to_pylist()]
    answers = [json.dumps(one) for one in _answers(said, labels, model, schema["classes"])]
    step = timedelta(days=DAYS) / records
    size, day, file = 0, "", None
    for k in range(records):
        moment = until - timedelta(days=DAYS) + step * (k + 0.5)
        if moment.strftime("%Y-%m-%d") != day:
            day = moment.strftime("%Y-%m-%d")
            (folder / "log" / day).mkdir(parents=True)
            file = (folder / "log" / day / "000000-bench-1-1.jsonl").open("w", encoding="utf-8")
        at = k % len(bodies)
        assert file is not None
        size += file.write(
            f'{{"id":"r{k}","time":"{moment:%Y-%m-%dT%H:%M:%S.%f}Z","seconds":0.0009,'
            f'"schema":"00000000","model":"{model}","request":{bodies[at]},"answer":{answers[at]},'
            '"unusual":[]}\n'
        )
    (folder / "labels").mkdir()
    half = range(0, records, 2)
    truth = said["truth"].take(pa.array([k % len(bodies) for k in half]))
    table = pa.table({"id": [f"r{k}" for k in half], schema["target"]: truth})
    pq.write_table(table, folder / "labels" / "half.parquet")
    return size


def _answers(
    said: pa.Table, labels: list[str], model: str, classes: list[Any]
) -> list[dict[str, Any]]:
    if not labels:
        return [{"prediction": v, "model_digest": model} for v in said["prediction"].to_pylist()]
    known = dict(zip(labels, classes, strict=True))
    shares = zip(*(said[f"p_{k}"].to_pylist() for k in range(len(labels))), strict=True)
    return [
        {
            "prediction": known[text],
            "probabilities": dict(zip(labels, values, strict=True)),
            "model_digest": model,
        }
        for text, values in zip(said["prediction"].to_pylist(), shares, strict=True)
    ]


def _iso(value: Any) -> str:
    return str(value.isoformat())


def look(project: Path, folder: Path, until: datetime) -> tuple[float, float]:
    """Seconds and KiB of a pass, as `make monitor` runs it, with no cache of an earlier one."""
    environment = os.environ | {
        "LOG_URL": str(folder / "log"),
        "LABELS_URL": str(folder / "labels"),
        "AS_OF": until.isoformat(),
    }
    start = time.perf_counter()
    command = [".venv/bin/gatehouse", "monitor"]
    subprocess.run(command, cwd=project, env=environment, check=True)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


if __name__ == "__main__":
    main()
