"""How long the comparison of two models takes, and how much memory.

``python benchmarks/blessing/speed.py``: four metrics on all rows and on ten slices that either
share the rows out or hold half of them each, 1,000 resamples.
"""

import resource
import time
from typing import Any

import numpy as np
from aa import statistics

METRICS = ("accuracy", "log_loss", "roc_auc", "f1")


def once(rows: int, halves: bool) -> str:
    """One line of the table."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, rows)

    def model() -> Any:
        positive = 1 / (1 + np.exp(-(2 * truth - 1 + rng.normal(size=rows))))
        return statistics.Predictions(truth, np.stack([1 - positive, positive], axis=1))

    candidate, champion, group = model(), model(), rng.integers(0, 10, rows)
    slices = {f"{k}": rng.random(rows) < 0.5 if halves else group == k for k in range(10)}
    wanted = [(metric, name) for metric in METRICS for name in ("all", *slices)]
    wall, cpu = time.perf_counter(), time.process_time()
    statistics.compare(candidate, champion, slices, wanted, baseline=np.array([0.5, 0.5]))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shape = "halves" if halves else "tenths"
    return f"| {rows:,} | {shape} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |"


if __name__ == "__main__":
    print("| rows | ten slices | seconds | CPU seconds | peak MB of the process |")
    print("|--:|---|--:|--:|--:|")
    for size in (1_000, 10_000, 100_000, 1_000_000):
        for half in (False, True):
            print(once(size, half), flush=True)
