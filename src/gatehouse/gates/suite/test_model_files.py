"""The files of the model say what the model says now."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from gatehouse.core.config.schema import load_schema
from gatehouse.core.project import Project
from gatehouse.serving.skops_model import Model


def test_probabilities_are_probabilities(built: Path) -> None:
    schema = load_schema(Project(built))
    predictions = pq.read_table(built / "predictions/test.parquet")
    assert predictions.num_rows > 0
    names = [name for name in predictions.column_names if name.startswith("p_")]
    assert len(names) == len(schema.classes)
    if names:
        table = np.stack([predictions[name].to_numpy() for name in names])
        assert (table >= 0).all()
        assert np.allclose(table.sum(axis=0), 1)


def test_the_model_answers_now_as_it_did_in_the_pipeline(built: Path, model: Model) -> None:
    rows = pq.read_table(built / "data/test.parquet", columns=list(model.columns)).to_pandas()
    now = model.predict(rows)
    before = pq.read_table(built / "predictions/test.parquet")
    column = "prediction" if model.task == "regression" else "p_0"
    expected = now if model.task == "regression" else now[:, 0]
    assert np.allclose(before[column].to_numpy(), expected)
