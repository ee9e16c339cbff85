"""Batch prediction: ``python -m … FILE OUT`` writes the rows of FILE with their predictions."""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from . import model as store
from .blessed import blessed
from .params import load_params
from .stage import InputError, run_stage, say, whole_file
from .table import ARROW_TYPES, PARQUET, read_table


def predict(source: Path, out: Path) -> str:
    """Predict each row of a CSV or Parquet file; the target column need not be there."""
    if out.suffix.lower() not in (".csv", *PARQUET):
        raise InputError(f"{out} ends in neither .csv nor .parquet: choose one of them for OUT")
    model = store.load()
    table = read_table(source, load_params().ingest, model.columns)
    _check(table, model, source)
    say(f"predict: {table.num_rows:,} rows")
    answers = model.answers(model.predict(table.to_pandas()))
    for name in answers:
        free = str(name)
        while free in table.column_names:
            free += " (model)"
        table = table.append_column(free, pa.array(answers[name]))
    with whole_file(out) as draft:
        if out.suffix.lower() == ".csv":
            pacsv.write_csv(table, draft, pacsv.WriteOptions(quoting_style="needed"))
        else:
            pq.write_table(table, draft)
    try:
        blessed()
    except InputError as refusal:
        say(f"predict: {refusal}")
    return f"{table.num_rows:,} predictions by {store.digest()[:19]} in {out}"


def _check(table: pa.Table, model: store.Model, source: Path) -> None:
    missing = [name for name in model.columns if name not in table.column_names]
    if missing:
        raise InputError(
            f"{source} lacks the columns {', '.join(map(repr, missing[:5]))}"
            f"{' and others' if len(missing) > 5 else ''}, which the model needs: add them"
        )
    for name, column in model.columns.items():
        have, want = table.schema.field(name).type, ARROW_TYPES[column.type]
        numeric = column.type == "number" and pa.types.is_integer(have)
        if have != want and not numeric and table[name].null_count < table.num_rows:
            raise InputError(
                f"{source}: column {name!r} has values that are no {column.type}: correct them"
            )


def main() -> None:
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="CSV or Parquet file with the feature columns")
    parser.add_argument("out", type=Path, help="file to write, .csv or .parquet")
    options = parser.parse_args()
    run_stage("predict", lambda: predict(options.file, options.out))


if __name__ == "__main__":
    main()
