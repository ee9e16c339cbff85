"""Stage ingest: the raw source becomes a typed Parquet dataset.

What joins or cleans the raw table is the user's: ``prepare`` of her ``data.py``.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.config.params import DerivedTarget, load_params
from gatehouse.core.config.schema import Schema, load_schema
from gatehouse.core.console import say
from gatehouse.core.errors import InputError
from gatehouse.core.hooks import hook
from gatehouse.core.project import Project
from gatehouse.data.tables import read_table, write_table

DATASET = Path("data/dataset.parquet")
CLASSIFICATION = ("binary", "multiclass")
MAX_INTEGER_CLASSES = 10  # as `gatehouse schema` decides a task


def prepare(project: Project, table: pa.Table) -> pa.Table:
    """The whole table as the user's ``prepare`` gives it; as it is where there is none."""
    own = hook(project, "data", "prepare")
    prepared = own(table) if own else table
    if not isinstance(prepared, pa.Table):
        kind = type(prepared).__name__
        raise InputError(
            "prepare-result", f"prepare of data.py gives a {kind}: let it return a pyarrow.Table"
        )
    return prepared


def derive_target(table: pa.Table, rule: DerivedTarget) -> pa.Table:
    """Add the yes/no target of ``rule``; it is missing where the number is missing."""
    if rule.source not in table.column_names:
        raise InputError(
            "column-unknown",
            f"the source has no column {rule.source!r}, from which {rule.name!r} is made: "
            "correct ingest.derive_target in params.yaml",
        )
    return table.append_column(rule.name, pc.greater(table[rule.source], rule.above))


def whole_classes(table: pa.Table, schema: Schema) -> pa.Table:
    """Classes 0.0 and 1.0, as a table with gaps has them, are the classes 0 and 1."""
    values = table[schema.target]
    few = schema.task == "auto" and pc.count_distinct(values).as_py() <= MAX_INTEGER_CLASSES
    if not pa.types.is_floating(values.type) or not (few or schema.task in CLASSIFICATION):
        return table
    if not pc.all(pc.equal(values, pc.floor(values))).as_py():
        return table
    return _with_target(table, schema, values.cast(pa.int64()))


def join_variants(table: pa.Table, schema: Schema) -> pa.Table:
    """Classes that differ in case or blanks alone become the one that schema.yaml names, or the
    most frequent one.
    """
    values = table[schema.target]
    if not pa.types.is_string(values.type):
        return table
    pairs = pc.value_counts(values.drop_null()).to_pylist()
    pairs.sort(key=lambda p: (p["values"] not in schema.labels, -p["counts"], p["values"]))
    name_of: dict[str, str] = {}
    for pair in pairs:
        name_of.setdefault(pair["values"].strip().casefold(), pair["values"])
    known = pa.array([pair["values"] for pair in pairs], pa.string())
    joined = [name_of[pair["values"].strip().casefold()].strip() for pair in pairs]
    return _with_target(table, schema, pa.array(joined).take(pc.index_in(values, known)))


def _with_target(table: pa.Table, schema: Schema, values: pa.ChunkedArray) -> pa.Table:
    position = table.column_names.index(schema.target)
    field = table.schema.field(position).with_type(values.type)
    return table.set_column(position, field, values)


def ingest(project: Project) -> str:
    """Read the source, derive the target, drop rows without one, write the dataset."""
    options = load_params(project).ingest
    schema = load_schema(project, filled=False)
    say(f"ingest: reading {options.source}")
    table = prepare(project, read_table(options.source, options, schema.columns, schema.target))
    if options.derive_target:
        table = derive_target(table, options.derive_target)
    if schema.target not in table.column_names:
        raise InputError(
            "column-unknown",
            f"{options.source} has no column {schema.target!r}, the target: "
            "correct target in schema.yaml",
        )
    dropped = table[schema.target].null_count
    labelled = table.filter(pc.is_valid(table[schema.target])) if dropped else table
    if labelled.num_rows == 0:
        raise InputError(
            "target-missing",
            f"{options.source} has no row with a {schema.target!r}: add labelled rows",
        )
    labelled = whole_classes(labelled, schema)
    if options.join_variants:
        labelled = join_variants(labelled, schema)
    write_table(labelled, project / DATASET)
    note = f", {dropped:,} without a target left out" if dropped else ""
    return f"{labelled.num_rows:,} rows x {labelled.num_columns} columns in {DATASET}{note}"
