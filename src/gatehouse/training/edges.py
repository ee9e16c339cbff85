"""Odd rows that a service may be asked, as raw columns: nothing known, words nobody said, edges."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from gatehouse.core.config.schema import NUMBERS, Column

BASE, CELLS, WORDS = 20, 4_000_000, 1_000
NOBODY = "no such category ✓"
EXACT = 2.0**24  # from here on, float32 does not know every whole number
YEAR = [datetime(2024, 1, 1) + timedelta(days=day, hours=day % 24) for day in range(366)]


def edges(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Rows made from those of ``frame``: all of a kind odd at once, then cell by cell."""
    base = frame.head(BASE)
    empty, strange, large = base.copy(), base.copy(), base.copy()
    for name, column in columns.items():
        if column.nullable:
            empty[name] = pd.Series([None] * len(base), dtype=base[name].dtype)
        if column.type == "string":
            strange[name] = NOBODY
        elif column.type in NUMBERS:
            large[name] = (base[name] * 1000).astype(base[name].dtype)
    return pd.concat([empty, strange, large, _one_by_one(frame, columns)], ignore_index=True)


def _one_by_one(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Rows of ``frame`` in turn, each with one odd cell; as many as ``CELLS`` has room for."""
    odd = {name: _odd(frame[name], column) for name, column in columns.items()}
    most = max(10, CELLS // len(columns) ** 2)
    odd = {
        name: [cells[k] for k in np.linspace(0, len(cells) - 1, min(len(cells), most)).astype(int)]
        for name, cells in odd.items()
    }
    pick = np.arange(sum(map(len, odd.values()))) % len(frame)
    made, start = {}, 0
    for name, cells in odd.items():
        values = frame[name].take(pick).reset_index(drop=True)
        where = slice(start, start + len(cells))
        values.iloc[where] = pd.Series(cells, dtype=frame[name].dtype).array
        made[name], start = values, start + len(cells)
    return pd.DataFrame(made)


def _odd(values: pd.Series, column: Column) -> list[Any]:
    cells: list[Any] = [None] if column.nullable else []
    if column.type == "boolean":
        return [*cells, True, False]
    if column.type == "datetime":
        return [*cells, *YEAR, datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)]
    if column.type == "string":
        known = [*(column.categories or ()), *values.dropna().unique()]
        missing = ["", " ", *column.null_values] if column.nullable else []
        return [*cells, *missing, NOBODY, *dict.fromkeys(known[:WORDS])]
    seen = values.dropna().to_numpy(dtype=np.float64)
    bounds = [float(bound) for bound in (column.min, column.max) if bound is not None]
    beyond = seen[np.abs(seen) > EXACT]
    far = np.unique(beyond)[:: max(1, len(beyond) // 50)]
    near = np.array([*bounds, 0.0, *seen[:1], *far], dtype=np.float64)
    with np.errstate(over="ignore"):
        short = near.astype(np.float32)
        steps = [np.nextafter(short, np.float32(way)) for way in (np.inf, -np.inf)]
    fine = [np.nextafter(near, way) for way in (np.inf, -np.inf)]
    numbers = np.concatenate([near, short, *steps, *fine]).astype(np.float64)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    if column.type == "integer":
        numbers = np.unique(np.concatenate([np.floor(numbers), np.floor(numbers) + 1]))
        whole = [int(number) for number in numbers if abs(number) < 2**63]
        return [*cells, *whole]
    return [*cells, *numbers.tolist()]
