"""The model as the catalogue has it: raw columns of schema.yaml in, classes and probabilities out.

``gatehouse stage catalogue`` logs this module beside the files of the model; stage evaluate asks
it too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatehouse.core.config.schema import NUMBERS, Column
from gatehouse.core.errors import InputError
from gatehouse.serving.skops_model import Model
from gatehouse.serving.skops_model import load as load_model

Answer = Callable[[pd.DataFrame], pd.DataFrame]


def load(directory: str) -> Answer:
    """The model in ``directory``; types beyond those of gates.yaml beside it are not built."""
    return answering(load_model(Path(directory)))


def answering(model: Model) -> Answer:
    """Rows in, a column ``prediction`` and one a probability out."""

    def answer(raw: pd.DataFrame) -> pd.DataFrame:
        return model.answers(model.predict(typed(raw, model.columns)))

    return answer


def typed(raw: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """``raw`` in the types of ``columns``, whatever a caller's pandas made of missing values.

    A column that may be missing may be left out. Raises ``InputError`` that names the column.
    """
    made = {}
    for name, column in columns.items():
        if name not in raw:
            if not column.nullable:
                raise InputError("column-missing", f"column {name!r} is missing: add it")
            made[name] = pd.Series([None] * len(raw), raw.index, dtype=object)
        else:
            made[name] = raw[name]
        try:
            made[name] = _typed(made[name], column)
        except (ValueError, TypeError, OverflowError):
            raise InputError(
                "column-type", f"column {name!r} is no {column.type}: correct it"
            ) from None
    return pd.DataFrame(made, index=raw.index)


def _typed(values: pd.Series, column: Column) -> pd.Series:
    cells: list[Any] = [None if pd.isna(value) else value for value in values.tolist()]
    known = [cell for cell in cells if cell is not None]
    if column.type == "datetime":
        moments = pd.to_datetime(pd.Series(cells, dtype=object), format="ISO8601", utc=True)
        return moments.dt.tz_localize(None).astype("datetime64[us]").set_axis(values.index)
    if column.type == "boolean":
        array: Any = pd.array(cells, dtype="boolean")
    elif column.type in NUMBERS:
        if any(isinstance(cell, str | bool) for cell in known):
            raise TypeError("text among numbers")
        array = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
        if column.type == "integer":
            whole = [None if cell is None else int(cell) for cell in cells]
            if any(one != cell for one, cell in zip(whole, cells, strict=True)):
                raise ValueError("a fraction")
            array = pd.array(whole, dtype="Int64")
    else:
        if not all(isinstance(cell, str) for cell in known):
            raise TypeError("no text")
        array = np.array([*cells, None], dtype=object)[:-1]
    return pd.Series(array, values.index)
