"""Checks that look at every row, by hashing or counting; `checks.yaml` says what each measures.

The key of a measurement is a tuple of column names, empty for the table as a whole.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from .files import ROW_ID, Inputs, Table, is_text, moments, read_column, text

Measured = dict[tuple[str, ...], float]


class NotApplicable(Exception):
    """The check has nothing to look at in this data; the text is the reason."""


def target_unusable(inputs: Inputs, table: Table) -> Measured:
    """Missing or no class of the schema; all rows count as unusable if the target never varies."""
    values = read_column(table.path, inputs.schema.target)
    if inputs.schema.task == "regression":
        share = table.missing[inputs.schema.target] / table.rows
        return {(): share if pc.count_distinct(values).as_py() > 1 else 1.0}
    counts = {text(v["values"]): v["counts"] for v in pc.value_counts(values).to_pylist()}
    known = [counts[name] for name in inputs.schema.classes if name in counts]
    return {(): 1 - sum(known) / table.rows if len(known) > 1 else 1.0}


def missing_values(_: Inputs, table: Table) -> Measured:
    """By column, on all rows."""
    return {(name,): count / table.rows for name, count in table.missing.items()}


def duplicates(_: Inputs, table: Table) -> Measured:
    """Equal in features and target."""
    return {(): 1 - len(pd.unique(table.row_hash)) / table.rows}


def conflicting_labels(_: Inputs, table: Table) -> Measured:
    """Rows whose features also occur with another target."""
    pairs = pd.DataFrame({"features": table.feature_hash, "row": table.row_hash}).drop_duplicates()
    twice = pairs.loc[pairs["features"].duplicated(), "features"]
    return {(): float(np.isin(table.feature_hash, twice).mean())}


def row_id_overlap(inputs: Inputs, train: Table) -> Measured:
    """By the row ids that the split gave."""
    ids = [read_column(table.path, ROW_ID).to_numpy() for table in (train, inputs.held_out)]
    return {(): float(len(np.intersect1d(*ids)))}


def row_overlap(inputs: Inputs, train: Table) -> Measured:
    """Copies beyond what repeats by nature.

    Rows that recur in a table of few distinct values also recur across the split, as often as
    inside train; that share, with three standard errors for a small test, is taken off.
    """
    test = inputs.held_out
    found = float(np.isin(test.row_hash, train.row_hash).mean())
    counts = pd.Series(train.row_hash).value_counts()
    twins = min(1.0, (float(counts[counts > 1].sum()) + 3) / train.rows)
    return {(): max(0.0, found - twins - 3 * sqrt(twins * (1 - twins) / test.rows))}


def time_overlap(inputs: Inputs, train: Table) -> Measured:
    """By the time column of the schema."""
    if not inputs.schema.time:
        raise NotApplicable("schema.yaml names no time_column")
    seen, later = (
        moments(read_column(table.path, inputs.schema.time).to_pandas()).dropna()
        for table in (train, inputs.held_out)
    )
    return {(): float((later < seen.max()).mean()) if len(later) and len(seen) else 0.0}


def new_categories(inputs: Inputs, train: Table) -> Measured:
    """By text or boolean column."""
    names = [name for name in inputs.schema.features if is_text(train.sample[name])]
    return {(name,): _unseen(inputs, train, name) for name in names}


def new_classes(inputs: Inputs, train: Table) -> Measured:
    """Of the target."""
    return {(): _unseen(inputs, train, inputs.schema.target)}


def _unseen(inputs: Inputs, train: Table, name: str) -> float:
    known = pc.drop_null(pc.unique(read_column(train.path, name)))
    values = read_column(inputs.held_out.path, name)
    unseen = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=known)))
    return float(pc.sum(unseen).as_py() or 0) / len(values)


EXACT: dict[str, Callable[[Inputs, Table], Measured]] = {
    check.__name__: check
    for check in (
        target_unusable,
        missing_values,
        duplicates,
        conflicting_labels,
        row_id_overlap,
        row_overlap,
        time_overlap,
        new_categories,
        new_classes,
    )
}
