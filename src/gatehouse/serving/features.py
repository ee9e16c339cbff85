"""From raw columns to what the model eats: the same code in training, evaluation and service."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gatehouse.core.config.schema import Column

from .arrays import as_float32, nothing, parts, ranks
from .derived import Derived

LOST = 0.01  # the share of different values that float32 may take for another


def build_features(
    raw: pd.DataFrame,
    columns: Mapping[str, Column],
    shift: Mapping[str, float] | None = None,
    derive: Derived | None = None,
) -> pd.DataFrame:
    """Turn raw feature columns into numbers (float64) and text (object, NaN where missing).

    ``raw`` holds at least ``columns``; other columns are ignored. ``arrays.parts`` says which
    features a column gives. Every number is one that float32 holds, which is what ONNX is fed: the
    value less the ``shift`` of its feature, rounded. Numbers beyond float32 are missing. What the
    user's ``derive`` gives follows, as numbers.
    """
    made: dict[str, object] = {}
    for label, name, part in parts(columns):
        if part == "value" and columns[name].type == "string":
            made[label] = _text(raw[name], columns[name])
        else:
            exact = _exact(raw[name], columns[name], part)
            if offset := (shift or {}).get(label):
                exact = exact - offset
            made[label] = as_float32(exact).astype(np.float64)
    for label, values in derive(plain_columns(raw, columns)).items() if derive else ():
        made[label] = as_float32(values).astype(np.float64)
    return pd.DataFrame(made, index=raw.index)


def plain_columns(raw: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, npt.NDArray[Any]]:
    """The raw columns (n,) as ``derived.Derived`` wants them."""
    found: dict[str, npt.NDArray[Any]] = {}
    for name, column in columns.items():
        if column.type == "string":
            said = _text(raw[name], column).to_numpy(dtype=object).copy()
            said[pd.isna(said) | (said == "")] = None
            found[name] = said
        elif column.type == "datetime":
            found[name] = pd.to_datetime(raw[name]).astype("datetime64[us]").to_numpy()
        else:
            found[name] = _exact(raw[name], column, "value")
    return found


def shifts(raw: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, float]:
    """What to take off each feature whose values float32 cannot tell apart as they are: the median.

    Of seconds since 1970, for one, float32 knows every 128th. A feature is left out where more than
    half of its values that become the same would do so all the same.
    """
    found = {}
    for label, name, part in parts(columns):
        kind = columns[name].type
        if kind == "boolean" or part not in ("value", "days") or kind == "string":
            continue
        exact = _exact(raw[name], columns[name], part)
        exact = np.unique(exact[np.isfinite(exact)])
        if not len(exact):
            continue
        offset = float(np.median(exact))
        lost, left = (1 - len(np.unique(as_float32(exact - o))) / len(exact) for o in (0.0, offset))
        if lost > LOST and left <= lost / 2:
            found[label] = offset
    return found


def _exact(values: pd.Series, column: Column, part: str) -> npt.NDArray[np.float64]:
    """A feature of numbers before it is rounded, NaN where missing."""
    if part == "rank":
        known = ranks(column)
        return _by_word(values, [np.nan], lambda word: known.get(word, np.nan)).astype(np.float64)
    if part != "value":
        return _calendar(values, part)
    if column.type == "boolean":
        values = values.astype("boolean")
    found = pd.to_numeric(values).to_numpy(dtype="float64", na_value=np.nan)
    return np.asarray(found, dtype=np.float64)


def _text(values: pd.Series, column: Column) -> pd.Series:
    # Whoever splits a text into words wants one, be it empty.
    missing = "" if column.role == "text" else np.nan
    words = frozenset(column.null_values)
    text = _by_word(values, [missing], lambda word: missing if nothing(word, words) else word)
    # pandas would make its own string type of it, which scikit-learn knows less well.
    return pd.Series(text, values.index, dtype=object)


def _by_word(
    values: pd.Series, missing: list[Any], meaning: Callable[[str], Any]
) -> npt.NDArray[Any]:
    """``meaning`` of every value, asked once for each different one."""
    codes, known = pd.factorize(values.to_numpy(dtype=object))
    return np.array([*map(meaning, known), *missing], dtype=object)[codes]


def _calendar(values: pd.Series, part: str) -> npt.NDArray[np.float64]:
    # Microseconds, since nanoseconds end in 2262 and people write 9999-12-31.
    moments = pd.to_datetime(values).astype("datetime64[us]")
    if part == "days":
        days, rest = np.divmod(moments.to_numpy().astype("int64"), 86_400_000_000)
        return np.where(moments.isna(), np.nan, days + rest / 86_400_000_000)
    name = {"weekday": "day_of_week"}.get(part, part)
    return np.asarray(getattr(moments.dt, name).to_numpy(dtype="float64"))
