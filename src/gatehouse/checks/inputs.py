"""The tables of one run: the dataset, both sides of the split, or the champion's data and ours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from gatehouse.core.errors import InputError

from .exact import NotApplicable
from .files import ROW_ID, Inputs, Schema, Table, is_text, read_column, read_rows, scan, text

DATA_FILES = {"dataset": "data/dataset.parquet"}
MODEL_FILES = {
    "train": "data/train.parquet",
    "test": "data/test.parquet",
    "train-predictions": "predictions/train.parquet",
    "test-predictions": "predictions/test.parquet",
    "champion": "champion/reference.parquet",
    "reference": "data/reference.parquet",
}


def read_inputs(files: dict[str, Path], schema: Schema, rows: int, seed: int) -> Inputs:
    """The dataset, or train and test with their predictions. Raises `InputError`."""
    if "dataset" in files:
        return Inputs(schema, {"train": scan(files["dataset"], schema, rows, seed)}, {})
    tables = {side: scan(files[side], schema, rows, seed) for side in ("train", "test")}
    if not tables["train"].sample.dtypes.equals(tables["test"].sample.dtypes):
        raise InputError(
            "table-types", f"{files['test']} has columns of other types than {files['train']}"
        )
    predictions = {
        side: _predictions(table, files[f"{side}-predictions"], schema)
        for side, table in tables.items()
    }
    answers = {side: files[f"{side}-predictions"] for side in tables}
    return Inputs(schema, tables, predictions, answers=answers, gates=files["gates"])


def champion_inputs(files: dict[str, Path], schema: Schema, rows: int, seed: int) -> Inputs:
    """A sample of what the champion was trained on, as "train", and of our rows, as "test".

    Columns that only one of them has, or as text in one only, are not compared. Raises
    `NotApplicable` where there is nothing to compare with.
    """
    champion, reference = files["champion"], files["reference"]
    if not champion.exists():
        if (champion.parent / "model.skops").exists():
            raise NotApplicable("the champion was made before references were kept")
        raise NotApplicable("there is no champion yet")
    if not reference.exists():
        raise NotApplicable(f"{reference} is not there")
    before, now = (pq.read_schema(p).empty_table().to_pandas() for p in (champion, reference))
    both = [n for n in before if n in now and is_text(before[n]) == is_text(now[n])]
    if schema.target not in both:
        raise NotApplicable("the champion had another target")
    features = [name for name in schema.features if name in both]
    if not features:
        raise NotApplicable("the champion had other features")
    left_out = [name for name in schema.features if name not in both]
    schema = replace(schema, features=features, time=None, id=None)
    tables = {
        side: scan(path, schema, rows, seed)
        for side, path in (("train", champion), ("test", reference))
    }
    if schema.classes:
        labels = pd.concat([table.sample[schema.target] for table in tables.values()]).dropna()
        gone = {text(label) for label in labels.unique()} - set(schema.classes)
        schema = replace(schema, classes=[*schema.classes, *sorted(gone)])
    return Inputs(schema, tables, {}, left_out)


def _predictions(table: Table, path: Path, schema: Schema) -> pd.DataFrame:
    """The predictions for the sampled rows; refused when they are for other rows."""
    if not read_column(path, "row_id").equals(read_column(table.path, ROW_ID)):
        raise InputError(
            "predictions-of-other-rows",
            f"{path} is not for the rows of {table.path}: evaluate the model again",
        )
    proba = [f"p_{i}" for i in range(len(schema.classes))]
    frame = read_rows(path, ["truth", "prediction", *proba], table.positions)
    known = [*schema.classes, None, np.nan]
    if frame[["prediction", *proba]].isna().any().any():
        raise InputError(
            "predictions-incomplete",
            f"{path} lacks predictions for some rows: evaluate the model again",
        )
    if schema.classes and not frame[["truth", "prediction"]].isin(known).all().all():
        raise InputError(
            "class-unknown",
            f"{path} has classes that the schema does not list: complete `classes`",
        )
    return frame
