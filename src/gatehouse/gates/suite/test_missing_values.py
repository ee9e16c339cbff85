"""Cells that schema.yaml lets be missing will be: the model must cope."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gatehouse.core.config.schema import label_text
from gatehouse.metrics.table import Rows
from gatehouse.serving.skops_model import Model

from .fixtures import Beyond, Tested

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def nullable(model: Model) -> list[str]:
    names = [name for name, column in model.columns.items() if column.nullable]
    if not names:
        pytest.skip("no feature of schema.yaml is nullable")
    return names


def answers(model: Model, frame: pd.DataFrame, missing: str) -> Array:
    try:
        raw = model.predict(frame)
    except (ValueError, TypeError) as error:
        pytest.fail(f"the model cannot answer with {missing} missing ({type(error).__name__})")
    assert np.isfinite(raw).all(), f"the answers are not finite with {missing} missing"
    return raw


def loss(raw: Array, truth: Array) -> float:
    return float(Rows(truth, raw).loss.mean())


def know_nothing(model: Model, rows: int) -> Array:
    """What one answers who knows the class shares or the mean of the training rows, no column."""
    known = pq.read_table("predictions/train.parquet", columns=["truth"])["truth"].to_numpy()
    if model.task == "regression":
        return np.full(rows, known.mean())
    counts = np.array([(known == label_text(c)).sum() + 1.0 for c in model.classes])
    return np.tile(counts / counts.sum(), (rows, 1))


def test_missing_columns(model: Model, tested: Tested, nullable: list[str]) -> None:
    frame, _ = tested
    for name in nullable:
        gone = frame[name].mask(np.ones(len(frame), dtype=bool))
        answers(model, frame.assign(**{name: gone}), f"all of {name!r}")


def test_missing_values(
    model: Model,
    tested: Tested,
    nullable: list[str],
    limit: Callable[[str, str], float],
) -> None:
    share, allowed = limit("missing_values", "share"), limit("missing_values", "max_loss")
    (frame, truth), rng = tested, np.random.default_rng(0)
    holes = {name: frame[name].mask(rng.random(len(frame)) < share) for name in nullable}
    baseline = loss(know_nothing(model, len(truth)), truth)
    assert baseline > 0, "all test rows have the one target of the training rows"
    before = 1 - loss(answers(model, frame, "nothing more"), truth) / baseline
    after = 1 - loss(answers(model, frame.assign(**holes), "some cells"), truth) / baseline
    assert before > 0, "the model knows no more than class shares or mean: it has no skill to lose"
    lost = (before - after) / before
    if not lost <= allowed:
        what = f"with {share:.0%} of these cells missing, {lost:.0%} of the skill is lost"
        raise Beyond(f"{what}, more than the {allowed:.0%} of gates.yaml", lost, allowed)
