import numpy as np
import pyarrow as pa

from gatehouse.core.config.params import Split
from gatehouse.core.config.schema import Column, Schema
from gatehouse.training.split import held_out, row_ids

SCHEMA = Schema(
    task="regression",
    target="y",
    identity="content",
    columns={"x": Column(type="number"), "y": Column(type="number", role="target")},
)


def table(rows: int) -> pa.Table:
    return pa.table({"x": np.arange(rows) % 700 / 7, "y": np.arange(rows) % 700})


def test_a_row_keeps_its_side_and_id_when_data_grows() -> None:
    few, many = table(500), table(900)
    side_few, id_few = row_ids(few, SCHEMA)
    side_many, id_many = row_ids(many, SCHEMA)
    assert (id_few == id_many[:500]).all()
    before = held_out(few, SCHEMA, side_few, Split())
    after = held_out(many, SCHEMA, side_many, Split())
    assert (before == after[:500]).all()
    assert 0.1 < before.mean() < 0.3


def test_equal_rows_share_a_side_but_no_id() -> None:
    twice = table(1400)
    side, ids = row_ids(twice, SCHEMA)
    assert (side[:700] == side[700:]).all()
    assert np.unique(ids).size == 1400


def test_by_time_the_latest_rows_judge() -> None:
    times = pa.array(np.arange(100)[::-1], pa.timestamp("us"))
    timed = table(100).append_column("at", times)
    columns = {**SCHEMA.columns, "at": Column(type="datetime", role="time")}
    schema = SCHEMA.model_copy(update={"time_column": "at", "columns": columns})
    side, _ = row_ids(timed, schema)
    assert np.flatnonzero(held_out(timed, schema, side, Split())).tolist() == list(range(20))
