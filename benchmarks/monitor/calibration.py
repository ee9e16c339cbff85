"""How often does the monitor see drift in data that has not moved?

    python benchmarks/monitor/calibration.py --quick    # two minutes
    python benchmarks/monitor/calibration.py            # half an hour

Reference and current rows come from one source, in columns of mixed kinds. *Columns*: the share of
columns with p <= 0.05, where 5 % is nominal. *Runs*: at least one column with q <= 0.05 after
Benjamini and Hochberg; where nothing has moved each such run is false, so 5 % is nominal for
independent columns. *Alarms*: the same, and a distance of at least 0.1: what the monitor acts on.
With columns that share four fifths of their variance it is seen whether dependence needs more than
Benjamini and Hochberg. Last, the classifier. Per cent, with 95 % Wilson intervals.
"""

import argparse
import time
from typing import Any

import numpy as np
import pyarrow as pa
from common import KINDS, domain, drift, interval, mixed, show

# rows of the reference, of the current table, columns, runs (quick, full)
CELLS = [
    (100, 100, 5, 300, 2000),
    (100, 100, 20, 150, 1000),
    (300, 300, 5, 200, 2000),
    (300, 300, 20, 100, 1000),
    (3_000, 300, 20, 100, 1000),
    (1_000, 1_000, 20, 100, 1000),
    (10_000, 10_000, 20, 40, 300),
    (100_000, 1_000, 20, 20, 200),
    (100_000, 100_000, 20, 4, 40),
    (300, 300, 200, 15, 200),
    (1_000, 1_000, 200, 10, 200),
    (10_000, 10_000, 200, 2, 40),
]
NAMES = ("normal", "Poisson", "yes or no", "letters", "10 % missing")


def together(rng: Any, rows: int, width: int) -> tuple[pa.Table, dict[str, str]]:
    """Numbers that share four fifths of their variance."""
    common = rng.normal(size=(rows, 1))
    values = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(size=(rows, width))
    names = [f"c{j}" for j in range(width)]
    return pa.table(dict(zip(names, values.T, strict=True))), dict.fromkeys(names, "number")


def cell(make: Any, old: int, new: int, width: int, runs: int) -> list[Any]:
    """Counts of one cell, and the p values (runs, columns)."""
    chances, seen, acted = [], 0, 0
    start = time.perf_counter()
    for run in range(runs):
        rng = np.random.default_rng([old, new, width, run])
        left, kinds = make(rng, old, width)
        found = drift.columns(left, make(rng, new, width)[0], kinds, seed=run)
        chances.append([one.p for one in found])
        seen += any(one.q <= 0.05 for one in found)
        acted += any(one.drifted for one in found)
    return [np.array(chances), seen, acted, (time.perf_counter() - start) / runs]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    quick = parser.parse_args().quick
    rows, of_kind = [], [np.zeros(2, dtype=int) for _ in KINDS]
    for make, what in ((mixed, "mixed"), (together, "correlated")):
        for old, new, width, few, many in CELLS:
            if make is together and (width != 20 or old != new or old > 1000):
                continue
            runs = few if quick else many
            chances, seen, acted, seconds = cell(make, old, new, width, runs)
            if make is mixed:
                for j in range(width):
                    of_kind[j % 5] += (int((chances[:, j] <= 0.05).sum()), runs)
            rows.append(
                (
                    f"{what} {width}, {old:,} / {new:,}",
                    f"{runs:,}",
                    interval(int((chances <= 0.05).sum()), chances.size),
                    interval(seen, runs),
                    interval(acted, runs),
                    f"{seconds:.2f}",
                )
            )
    show(("columns, rows", "runs", "columns", "runs", "alarms", "s a run, with drawing"), rows)
    kinds = ((name, interval(*of)) for name, of in zip(NAMES, of_kind, strict=True))
    show(("kind", "columns"), kinds)
    found = []
    for old, new in ((300, 300), (3_000, 300), (1_000, 1_000)):
        runs, low, alarms = (30 if quick else 300), 0, 0
        for run in range(runs):
            rng = np.random.default_rng([old, new, run])
            left, named = mixed(rng, old, 8)
            one = domain.domain(left, mixed(rng, new, 8)[0], named, seed=run)
            low, alarms = low + (one.p <= 0.05), alarms + one.drifted
        found.append((f"{old:,} / {new:,}", runs, interval(low, runs), interval(alarms, runs)))
    show(("classifier, 8 columns, rows", "runs", "p <= 0.05", "alarms (bound above 0.55)"), found)


if __name__ == "__main__":
    main()
