"""Who trains does not judge, and nobody is lost."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from gatehouse.core.config.schema import load_schema
from gatehouse.core.project import Project


def ids(path: Path) -> npt.NDArray[Any]:
    return np.asarray(pq.read_table(path, columns=["__row_id"])["__row_id"])


def test_no_row_stands_on_both_sides(built: Path) -> None:
    train, test = ids(built / "data/train.parquet"), ids(built / "data/test.parquet")
    assert train.size > 0
    assert test.size > 0
    assert np.intersect1d(train, test).size == 0


def test_no_row_is_lost(built: Path) -> None:
    rows = [
        pq.read_metadata(built / f"data/{name}.parquet").num_rows
        for name in ("train", "test", "dataset")
    ]
    assert rows[0] + rows[1] == rows[2]


def test_the_dataset_has_every_column_of_the_schema(built: Path) -> None:
    schema = load_schema(Project(built))
    names = pq.read_schema(built / "data/dataset.parquet").names
    needed = [name for name, column in schema.columns.items() if column.role != "ignore"]
    assert set(needed) <= set(names)
