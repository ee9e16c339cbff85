"""Batch prediction: ``gatehouse predict FILE OUT`` writes the rows of FILE with their predictions.

Row after row goes through, a piece at a time: memory does not grow with the file.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from gatehouse.core.config.params import Ingest, load_params
from gatehouse.core.config.results import blessed
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL, model_digest
from gatehouse.core.errors import InputError
from gatehouse.core.files import whole_file
from gatehouse.core.project import Project
from gatehouse.data.cells import ARROW_TYPES
from gatehouse.data.tables import PARQUET, read_chunks, to_frame
from gatehouse.serving.skops_model import Model
from gatehouse.serving.skops_model import load as load_model

PATIENCE = 5.0  # seconds between two lines of progress


def predict(project: Project, source: Path, out: Path) -> str:
    """Predict each row of a CSV or Parquet file; the target column need not be there."""
    if out.suffix.lower() not in (".csv", *PARQUET):
        raise InputError(
            "suffix-unknown", f"{out} ends in neither .csv nor .parquet: choose one of them for OUT"
        )
    digest = model_digest(project / MODEL)
    pieces = predicted(source, load_model(project / MODEL), load_params(project).ingest)
    first = next(pieces)
    # Whoever reads the file later can ask which model it was.
    schema = first.schema.with_metadata({"model_digest": digest})
    rows, said = 0, time.monotonic()
    with whole_file(out) as draft, closing(_writer(out.suffix.lower(), draft, schema)) as writer:
        table: pa.Table | None = first
        while table is not None:
            writer.write_table(_same(table, schema, source))
            rows += table.num_rows
            if time.monotonic() - said > PATIENCE:
                said = time.monotonic()
                say(f"predict: {rows:,} rows")
            table = next(pieces, None)
    try:
        blessed(project.root)
    except InputError as refusal:
        say(f"predict: {refusal}")
    return f"{rows:,} predictions by {digest[:19]} in {out}"


def predicted(source: Path, model: Model, options: Ingest) -> Iterator[pa.Table]:
    """The rows of a file with their answers behind them, piece by piece."""
    for table in read_chunks(source, options, model.columns):
        table = _checked(table, model, source)
        answers = model.answers(model.predict(to_frame(table)))
        for name in answers:
            free = str(name)
            while free in table.column_names:
                free += " (model)"
            table = table.append_column(free, pa.array(answers[name]))
        yield table


def _writer(suffix: str, draft: Path, schema: pa.Schema) -> Any:
    if suffix == ".csv":
        return pacsv.CSVWriter(
            draft, schema, write_options=pacsv.WriteOptions(quoting_style="needed")
        )
    return pq.ParquetWriter(draft, schema)


def _checked(table: pa.Table, model: Model, source: Path) -> pa.Table:
    """The table with the model's columns in exactly their types; refuses what is none of them."""
    missing = [name for name in model.columns if name not in table.column_names]
    if missing:
        raise InputError(
            "column-missing",
            f"{source} lacks the columns {', '.join(map(repr, missing[:5]))}"
            f"{' and others' if len(missing) > 5 else ''}, which the model needs: add them",
        )
    for name, column in model.columns.items():
        values, want = table[name], ARROW_TYPES[column.type]
        if values.type == want:
            continue
        if values.null_count == len(values):
            values = pa.nulls(len(values), want)
        elif column.type == "number" and pa.types.is_integer(values.type):
            values = values.cast(want, safe=False)
        else:
            raise InputError(
                "column-type",
                f"{source}: column {name!r} has values that are no {column.type}: correct them",
            )
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def _same(table: pa.Table, schema: pa.Schema, source: Path) -> pa.Table:
    """In the types of the first piece; a Parquet file has one type a column, but for huge ones."""
    try:
        return table.cast(schema)
    except pa.ArrowInvalid:
        raise InputError(
            "number-too-large", f"{source} holds whole numbers beyond 64 bits: make them text"
        ) from None
