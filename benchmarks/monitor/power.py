"""Which shifts does the monitor find, and what does Evidently's default say of the same files?

    python benchmarks/monitor/power.py --quick    # two minutes
    python benchmarks/monitor/power.py            # ten minutes

Twenty columns, one of which has moved; the same Parquet files for both. *Found*: the moved column
is named. *Others*: the share of unmoved columns that are named. *Quiet*: runs that name none of the
unmoved ones. Per cent. Evidently as it comes: its preset for data drift, which chooses a test by
the number of rows, without a correction for the number of columns.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import LETTERS, drift, interval, mixed, peer, show

WIDTH = 20
SIZES = ((300, 300), (1_000, 300), (3_000, 1_000), (10_000, 3_000))


def number(values: Any) -> pa.Array:
    """NaN is missing."""
    return pa.array(values, from_pandas=True)


SHIFTS: dict[str, tuple[str, Any]] = {
    "nothing": ("c0", lambda rng, n: number(rng.normal(size=n))),
    "mean + 0.3 sd": ("c0", lambda rng, n: number(rng.normal(0.3, 1, n))),
    "mean + 0.6 sd": ("c0", lambda rng, n: number(rng.normal(0.6, 1, n))),
    "spread x 1.6": ("c0", lambda rng, n: number(rng.normal(0, 1.6, n))),
    "counts 3 to 4": ("c1", lambda rng, n: number(rng.poisson(4, n))),
    "yes 20 % to 35 %": ("c2", lambda rng, n: number(rng.random(n) < 0.35)),
    "a new category, 15 %": (
        "c3",
        lambda rng, n: number(
            np.where(
                rng.random(n) < 0.15, "new", LETTERS[np.minimum(rng.geometric(0.25, n) - 1, 11)]
            )
        ),
    ),
    "missing 10 % to 25 %": (
        "c4",
        lambda rng, n: number(np.where(rng.random(n) < 0.25, np.nan, rng.exponential(size=n))),
    ),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the runs, two sizes")
    quick = parser.parse_args().quick
    runs = 8 if quick else 40
    counts: dict[Any, list[int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, ours = Path(name), {}
        for old, new in SIZES[1:3] if quick else SIZES:
            for at, (moved, change) in enumerate(SHIFTS.values()):
                for run in range(runs):
                    rng = np.random.default_rng([old, new, at, run])
                    left, kinds = mixed(rng, old, WIDTH)
                    right, _ = mixed(rng, new, WIDTH)
                    place = right.column_names.index(moved)
                    right = right.set_column(place, moved, change(rng, new))
                    key = f"{old}-{new}-{at}-{run}"
                    pq.write_table(left, folder / f"{key}-old.parquet")
                    pq.write_table(right, folder / f"{key}-new.parquet")
                    found = drift.columns(left, right, kinds, seed=run)
                    ours[key] = [one.name for one in found if one.drifted]
        (folder / "kinds.json").write_text(json.dumps(kinds))
        theirs = peer("evidently", folder)
    for who, said in enumerate((ours, theirs)):
        for key, named in said.items():
            old, new, at, _ = key.split("-")
            name, (moved, _) = list(SHIFTS.items())[int(at)]
            others = set(named) - ({moved} if name != "nothing" else set())
            count = counts.setdefault((int(old), int(new), name, who), [0, 0, 0])
            count[0] += moved in named
            count[1] += len(others)
            count[2] += not others
    rows = []
    for old, new, name, who in counts:
        if who == 0:
            cells = []
            for side in (0, 1):
                hit, other, quiet = counts[old, new, name, side]
                width = WIDTH - (name != "nothing")
                cells.append("" if name == "nothing" else f"{100 * hit / runs:.0f}")
                cells.append(f"{100 * other / runs / width:.1f}")
                cells.append(f"{100 * quiet / runs:.0f}")
            rows.append((f"{old:,} / {new:,}: {name}", *cells))
    head = [
        f"{what}, {who}" for who in ("ours", "Evidently") for what in ("found", "others", "quiet")
    ]
    show((f"rows: shift ({runs} runs each)", *head), rows)
    trials = len(theirs)
    for who, side in (("ours", 0), ("Evidently", 1)):
        quiet = sum(count[2] for key, count in counts.items() if key[3] == side)
        print(
            f"\n{who}: runs that name a column that has not moved: "
            f"{interval(trials - quiet, trials)} %"
        )


if __name__ == "__main__":
    main()
