"""Checks that look at every row, by hashing or counting; `checks.yaml` names them, and says what.

The key of a measurement is a tuple of column names, empty for the table as a whole.
"""

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


def target_copy(inputs: Inputs, table: Table) -> Measured:
    """By column, on the sample: no random sample of an exact copy is anything else."""
    target = table.sample[inputs.schema.target]
    known = target.notna()
    copies: Measured = {}
    for name in inputs.schema.features:
        values = table.sample.loc[known, name]
        both = values.notna()
        found = [one_to_one(values.isna(), target[known])]
        found.append(one_to_one(values[both], target[known][both]))
        if not inputs.schema.classes:
            found.append(same_order(values, target[known]))
        copies[(name,)] = max(found)
    return copies


def one_to_one(values: pd.Series, target: pd.Series) -> float:
    """How far each value of one belongs to one value of the other, beyond what chance gives.

    The smaller of both directions, of 1; 0 where values hardly repeat, since ids prove nothing.
    """
    pairs = pd.DataFrame({"values": values, "target": target})
    rows, told = len(pairs), []
    if rows < 2 * max(1, *pairs.nunique()):
        return 0.0
    counts = pairs.value_counts()
    for one, other in (("values", "target"), ("target", "values")):
        agree, often = counts.groupby(one).max().sum(), counts.groupby(other).sum().max()
        # One row made up against it: that a handful of rows agrees proves nothing.
        told.append((agree - often) / (rows - often + 1))
    return float(min(told))


def same_order(values: pd.Series, target: pd.Series) -> float:
    """The share of the target's spread that its rank correlation with the values takes away."""
    numbers = pd.to_numeric(values, errors="coerce") if is_text(values) else moments(values)
    known = numbers.notna()
    if known.sum() < 20 or numbers.nunique() < 2:
        return 0.0
    rho = numbers.astype(float).corr(target.astype(float), method="spearman")
    return 0.0 if np.isnan(rho) else float(1 - sqrt(max(0.0, 1 - rho**2)))


def duplicates(_: Inputs, table: Table) -> Measured:
    """Equal in features and target."""
    return {(): 1 - len(np.unique(table.row_hash)) / table.rows}


def conflicting_labels(_: Inputs, table: Table) -> Measured:
    """Rows whose features also occur with another target."""
    order = np.argsort(table.feature_hash)
    features, rows = table.feature_hash[order], table.row_hash[order]
    first = np.flatnonzero(np.append(True, features[1:] != features[:-1]))
    differ = np.maximum.reduceat(rows, first) != np.minimum.reduceat(rows, first)
    return {(): float(np.diff(first, append=len(rows))[differ].sum()) / table.rows}


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
    counts = np.unique(train.row_hash, return_counts=True)[1]
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
    names = [n for n in inputs.schema.features if is_text(train.sample[n])]
    names = [name for name in names if name not in inputs.schema.words]  # each text is a new one
    return {(name,): _unseen(inputs, train, name) for name in names}


def new_classes(inputs: Inputs, train: Table) -> Measured:
    """Of the target."""
    return {(): _unseen(inputs, train, inputs.schema.target)}


def _unseen(inputs: Inputs, train: Table, name: str) -> float:
    known = pc.drop_null(pc.unique(read_column(train.path, name)))
    values = read_column(inputs.held_out.path, name)
    unseen = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=known)))
    return float(pc.sum(unseen).as_py() or 0) / len(values)


SAMPLED = ("target_copy",)  # the others look at every row
