"""A seeded CSV of any size: ``python table.py FILE ROWS COLUMNS``.

Columns of the kinds that people have, in turn (number with gaps, whole number with gaps, word, yes
or no, time, code of many values), and a target ``y`` that takes a model to find. Written piece by
piece, so that a small machine can make a large table.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

PIECE = 250_000  # rows
START = 1_420_070_400  # 2015, in Unix seconds
TOWNS = np.array(["north", "south", "east", "west", "centre", "abroad"])


def column(kind: int, rng: np.random.Generator, score: npt.NDArray[np.float64]) -> pa.Array:
    """``len(score)`` values of one kind; some kinds move ``score`` (rows,), which is the signal."""
    rows = len(score)
    gaps = rng.random(rows) < 0.02
    if kind == 0:
        values = rng.normal(size=rows)
        score += values
        return pa.array(values.round(4), mask=gaps)
    if kind == 1:
        return pa.array(rng.integers(0, 5000, rows), mask=gaps)
    if kind == 2:
        places = rng.integers(0, len(TOWNS), rows)
        score += (places == 2) - 0.5 * (places == 4)
        return pa.array(TOWNS[places], mask=gaps)
    if kind == 3:
        known = rng.random(rows) < 0.3
        score *= 1 + known
        return pa.array(np.where(known, "yes", "no"))
    if kind == 4:
        return pa.array((START + rng.integers(0, 10**8, rows)).astype("datetime64[s]"))
    return pa.array(np.char.add("c", rng.integers(0, 300, rows).astype(str)), mask=gaps)


def piece(rows: int, columns: int, rng: np.random.Generator) -> pa.Table:
    """``rows`` rows of ``columns`` columns, the last of them the target."""
    score = np.zeros(rows)
    cells = {f"x{place}": column(place % 6, rng, score) for place in range(columns - 1)}
    return pa.table(cells | {"y": pa.array(score + rng.normal(size=rows) > 1)})


def main() -> None:
    """Write the table."""
    path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(0)
    with Path(path).open("wb") as file:
        for start in range(0, rows, PIECE):
            part = piece(min(PIECE, rows - start), columns, rng)
            how = pacsv.WriteOptions(include_header=start == 0, quoting_style="none")
            pacsv.write_csv(part, file, how)


if __name__ == "__main__":
    main()
