"""Stage split: which rows train the model and which judge it.

A row never changes sides when data grows, so a model is never judged on rows it was trained on:
by time, everything after a moment that only moves forward is held out; else the hash of the
row's identity decides.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.config.params import Split, load_params
from gatehouse.core.config.schema import Schema, load_schema
from gatehouse.core.errors import InputError
from gatehouse.core.project import Project
from gatehouse.data.tables import write_table

from .ingest import DATASET

TRAIN = Path("data/train.parquet")
TEST = Path("data/test.parquet")
REFERENCE = Path("data/reference.parquet")
REFERENCE_ROWS = 10_000
ROW_ID = "__row_id"


def content_hash(table: pa.Table, columns: list[str]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each row of ``columns``; numbers hash by value, whatever their type."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name in columns:
        values = table[name]
        if pa.types.is_string(values.type):
            part = pd.util.hash_array(values.to_pandas().to_numpy(dtype=object))
        else:
            part = _number_hash(values)
        total = total * np.uint64(1_000_003) + part
    return pd.util.hash_array(total)


def _number_hash(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    # An integer column that gets its first missing value becomes floating point, and must hash as
    # before; what a float cannot hold of a long integer is added.
    values = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
    floats = values.cast(pa.float64(), safe=False).to_numpy()
    part = pd.util.hash_array(floats)
    if pa.types.is_integer(values.type):
        near = np.where(np.abs(floats) < 2**62, floats, 0).astype(np.int64)
        rest = values.fill_null(0).to_numpy() - near
        part = part + rest.astype(np.uint64) * np.uint64(1_000_003)
    return part


def row_ids(
    table: pa.Table, schema: Schema
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The hash that chooses the side, and a row id that is unique even among equal rows."""
    everything = sorted(schema.columns.keys() & set(table.column_names))
    identity = content_hash(table, [schema.id_column] if schema.id_column else everything)
    groups = pd.Series(identity)
    if schema.id_column and groups.duplicated().any():
        # Rows that share an id are told apart by their content, whatever their order.
        groups = groups.iloc[np.argsort(content_hash(table, everything), kind="stable")]
    occurrence = groups.groupby(groups, sort=False).cumcount().sort_index().to_numpy()
    unique = pd.util.hash_array(identity ^ pd.util.hash_array(occurrence.astype(np.uint64)))
    side = unique if schema.identity == "occurrence" else identity
    return side, unique.view(np.int64)


def held_out(
    table: pa.Table, schema: Schema, side: npt.NDArray[np.uint64], options: Split
) -> npt.NDArray[np.bool_]:
    """True for each row that judges."""
    if schema.time_column:
        times = table[schema.time_column]
        if pa.types.is_timestamp(times.type):
            times = times.cast(pa.int64())
        at = times.cast(pa.float64(), safe=False).to_numpy()
        known = at[np.isfinite(at)]
        if known.size == 0:
            raise InputError(
                "time-missing",
                f"column {schema.time_column!r} has no time in it: name another time_column "
                "in schema.yaml, or none",
            )
        # A row without a time trains: it cannot be said to lie after the others.
        cut = np.quantile(known, 1 - options.test_fraction, method="lower")
        return np.asarray(at > cut if (known > cut).any() else at >= cut)
    mixed = pd.util.hash_array(side ^ np.uint64(options.seed))
    return np.asarray(mixed < np.uint64(options.test_fraction * 2**64))


def reference(train: pa.Table, schema: Schema) -> pa.Table:
    """A sample of the training rows, nothing personal: what later data are compared with.

    The rows of the smallest ids, which are hashes: most stay the same when data grow.
    """
    names = [
        name
        for name, column in schema.columns.items()
        if column.role in ("feature", "time", "target") and not column.pii
    ]
    chosen = np.argsort(train[ROW_ID].to_numpy())[:REFERENCE_ROWS]
    return train.select(names).take(np.sort(chosen))


def split(project: Project) -> str:
    """Write the rows of both sides with their row ids, and the reference.

    Rows and columns are in an order that does not depend on the order of the source.
    """
    schema, options = load_schema(project), load_params(project).split
    table = pq.read_table(project / DATASET)
    table = table.select([name for name in schema.columns if name in table.column_names])
    side, ids = row_ids(table, schema)
    test = held_out(table, schema, side, options)
    if test.all() or not test.any():
        raise InputError(
            "split-empty",
            f"{table.num_rows} rows in {DATASET} leave one side of the split empty: add rows, or "
            "set identity: occurrence in schema.yaml",
        )
    table = table.append_column(ROW_ID, pa.array(ids))
    by = [schema.time_column, ROW_ID] if schema.time_column else [ROW_ID]
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in by]).to_numpy()
    train = table.take(order[~test[order]])
    write_table(train, project / TRAIN)
    write_table(table.take(order[test[order]]), project / TEST)
    write_table(reference(train, schema), project / REFERENCE)
    if schema.time_column:
        first = pc.min(table.filter(pa.array(test))[schema.time_column]).as_py()
        how = f"by time, from {first} on"
    else:
        how = f"by the hash of the {schema.id_column or 'row'}"
    return f"{(~test).sum():,} rows to train, {test.sum():,} to judge ({how})"
