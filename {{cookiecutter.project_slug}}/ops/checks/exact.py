"""Checks that look at every row, by hashing or counting; each gives {columns: measurement}.

The key is a tuple of column names, empty for a measurement of the whole table.
"""

from math import sqrt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .files import ROW_ID, Inputs, Table, moments, read_column, text, unseen_share

Measured = dict[tuple[str, ...], float]


class NotApplicable(Exception):
    """The check has nothing to look at in this data; the text is the reason."""


def target_unusable(inputs: Inputs) -> Measured:
    """Share of rows whose target is missing or no class of the schema; 1 if it never varies."""
    schema, table = inputs.schema, inputs.train
    values = read_column(table.path, schema.target)
    if schema.task == "regression":
        usable, distinct = table.rows - table.missing[schema.target], pc.count_distinct(values)
        return {(): 1 - usable / table.rows if distinct.as_py() > 1 else 1.0}
    counts = [
        entry["counts"]
        for entry in pc.value_counts(values).to_pylist()
        if text(entry["values"]) in schema.classes
    ]
    return {(): 1 - sum(counts) / table.rows if len(counts) > 1 else 1.0}


def missing_values(inputs: Inputs) -> Measured:
    """Share of missing values of each column."""
    return {(name,): n / inputs.train.rows for name, n in inputs.train.missing.items()}


def duplicates(inputs: Inputs) -> Measured:
    """Share of rows that equal an earlier row in features and target."""
    return {(): _repeated(inputs.train)}


def conflicting_labels(inputs: Inputs) -> Measured:
    """Share of rows whose features also occur with another target."""
    table = inputs.train
    pairs = pd.DataFrame({"features": table.feature_hash, "row": table.row_hash}).drop_duplicates()
    twice = pairs.loc[pairs["features"].duplicated(), "features"]
    return {(): float(np.isin(table.feature_hash, twice).mean())}


def row_id_overlap(inputs: Inputs) -> Measured:
    """Number of row ids that are both in train and in test."""
    train, test = _both(inputs)
    ids = [read_column(table.path, ROW_ID).to_numpy() for table in (train, test)]
    return {(): float(len(np.intersect1d(*ids)))}


def row_overlap(inputs: Inputs) -> Measured:
    """Share of test rows also in train, beyond what repeats by nature.

    Rows that recur in a table of few distinct values also recur across the split, as often as
    inside train; that share, with three standard errors for a small test, is taken off.
    """
    train, test = _both(inputs)
    found = float(np.isin(test.row_hash, train.row_hash).mean())
    counts = pd.Series(train.row_hash).value_counts()
    twins = min(1.0, (float(counts[counts > 1].sum()) + 3) / train.rows)
    return {(): max(0.0, found - twins - 3 * sqrt(twins * (1 - twins) / test.rows))}


def new_categories(inputs: Inputs) -> Measured:
    """Share of test rows whose category is nowhere in train, for each text column."""
    train, test = _both(inputs)
    texts = [n for n in inputs.schema.features if not _numeric(train.sample[n].dtype)]
    return {(name,): unseen_share(train.path, test.path, name) for name in texts}


def new_classes(inputs: Inputs) -> Measured:
    """Share of test rows whose target class is nowhere in train."""
    train, test = _both(inputs)
    return {(): unseen_share(train.path, test.path, inputs.schema.target)}


def time_overlap(inputs: Inputs) -> Measured:
    """Share of test rows that are older than the newest row of train."""
    if not inputs.schema.time:
        raise NotApplicable("schema.yaml names no time_column")
    train, test = (_times(table, inputs.schema.time) for table in _both(inputs))
    if not len(train) or not len(test):
        raise NotApplicable("the time column holds no time")
    return {(): float((test < train.max()).mean())}


def _times(table: Table, name: str) -> pd.Series:
    values = read_column(table.path, name)
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return moments(values.to_pandas()).dropna()


def _repeated(table: Table) -> float:
    return 1 - len(pd.unique(table.row_hash)) / table.rows


def _numeric(dtype: object) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)


def _both(inputs: Inputs) -> tuple[Table, Table]:
    if inputs.test is None:
        raise NotApplicable("there is no test file")
    return inputs.train, inputs.test
