"""Many rows: the work is done in pieces, so that memory does not grow with them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest


class Summing:
    """A pipeline that adds up its features, and remembers how many rows it saw at once."""

    classes_ = np.array([0, 1])

    def __init__(self) -> None:
        self.asked: list[int] = []

    def predict(self, features: pd.DataFrame) -> Any:
        self.asked.append(len(features))
        return features.sum(axis=1).to_numpy()

    def predict_proba(self, features: pd.DataFrame) -> Any:
        likely = self.predict(features)
        return np.column_stack([1 - likely, likely])


@pytest.mark.parametrize("classes", [[], ["no", "yes"]])
@pytest.mark.parametrize("rows", [0, 1, 10, 25])
def test_rows_are_predicted_in_pieces(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], rows: int
) -> None:
    from gatehouse.core.config.schema import Column
    from gatehouse.serving import skops_model

    monkeypatch.setattr(skops_model, "CELLS", 20)
    columns = {name: Column(type="number") for name in ("a", "b")}
    pipeline, task = Summing(), "binary" if classes else "regression"
    model = skops_model.Model(pipeline, task, "y", classes, columns, {})  # type: ignore[arg-type]
    frame = pd.DataFrame({"a": np.arange(rows) / 64, "b": 0.5}, index=np.arange(rows) * 7)
    raw = model.predict(frame)
    expected = frame.sum(axis=1).to_numpy()
    assert raw.shape == ((rows, 2) if classes else (rows,))
    assert ((raw[:, 1] if classes else raw) == expected).all()
    assert max(pipeline.asked) <= 10
    assert sum(pipeline.asked) == rows
