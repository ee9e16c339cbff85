"""Columns of two tables as arrays that can be compared: seeded samples, numbers, codes.

Types are those of ``schema.yaml``: integer, number, boolean, string, datetime. What cannot be read
as its type raises ``ValueError`` with a reason for a person; NaN counts as missing.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NUMBERS = ("integer", "number", "datetime")
CATEGORIES = 200  # kept apart for the classifiers; the rest is one


def sample(table: pa.Table, most: int, rng: np.random.Generator) -> pa.Table:
    """At most this many rows, drawn without replacement, in their order."""
    if table.num_rows <= most:
        return table
    return table.take(np.sort(rng.choice(table.num_rows, most, replace=False)))


def by_name(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The columns; to ask the table for each takes time squared."""
    return dict(zip(table.column_names, table.columns, strict=True))


def numbers(column: pa.ChunkedArray, kind: str) -> Floats:
    """Values (n,), NaN where missing; of a datetime microseconds since 1970."""
    try:
        if kind == "datetime":
            column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        values = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        raise ValueError(f"its values are {column.type}, not {kind}") from None
    return np.asarray(values.fill_null(np.nan).to_numpy(), dtype=np.float64)


def codes(reference: pa.ChunkedArray, current: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Categories of both as 0, 1, 2 …, the most frequent in both together first; -1: missing."""
    try:
        chunks = [chunk for side in (reference, current) for chunk in _text(side).chunks]
    except pa.ArrowException:
        raise ValueError(f"its values are {current.type}, not text") from None
    both = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
    found = both.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(-np.bincount(found[found >= 0]), kind="stable")
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(len(order)), -1
    found = rank[found]
    return found[: len(reference)], found[len(reference) :]


def matrix(
    reference: pa.Table, current: pa.Table, kinds: Mapping[str, str]
) -> tuple[Floats, Floats, list[str], list[bool]]:
    """Both tables as numbers for a gradient boosting, the columns used, which are categories.

    A column that is not in both, or cannot be read, is left out.
    """
    parts, names, categories = [], [], []
    sides = [by_name(table) for table in (reference, current)]
    for name, kind in kinds.items():
        if not all(name in side for side in sides):
            continue
        columns = [side[name] for side in sides]
        try:
            if kind in NUMBERS:
                values = [numbers(column, kind) for column in columns]
            else:
                found = codes(columns[0], columns[1])
                values = [
                    np.where(code < 0, np.nan, np.minimum(code, CATEGORIES)) for code in found
                ]
        except ValueError:
            continue
        parts.append(values)
        names.append(name)
        categories.append(kind not in NUMBERS)
    if not parts:
        return np.empty((reference.num_rows, 0)), np.empty((current.num_rows, 0)), [], []
    left, right = (np.column_stack(side) for side in zip(*parts, strict=True))
    return left, right, names, categories


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())
