"""From raw columns to what the model eats: the same code in training, evaluation and service."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from .arrays import parts
from .params import Features
from .schema import Column

MISSING = "(missing)"


def build_features(raw: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Turn raw feature columns into numbers (float64) and text (object, NaN where missing).

    ``raw`` holds at least ``columns``; other columns are ignored. ``arrays.parts`` says which
    features a column gives.
    """
    made: dict[str, object] = {}
    for label, name, part in parts(columns):
        values, kind = raw[name], columns[name].type
        if part != "value":
            made[label] = _calendar(values, part)
        elif kind == "boolean":
            made[label] = values.astype("boolean").to_numpy(dtype="float64", na_value=np.nan)
        elif kind == "string":
            text = values.to_numpy(dtype=object)
            # Whoever splits a text into words wants one, be it empty.
            nothing = "" if columns[name].role == "text" else np.nan
            text = np.where(pd.isna(text), nothing, text)
            # pandas would make its own string type of it, which scikit-learn knows less well.
            made[label] = pd.Series(text, raw.index, dtype=object)
        else:
            made[label] = pd.to_numeric(values).to_numpy(dtype="float64", na_value=np.nan)
    return pd.DataFrame(made, index=raw.index)


def _calendar(values: pd.Series, part: str) -> object:
    # Microseconds, since nanoseconds end in 2262 and people write 9999-12-31.
    moments = pd.to_datetime(values).astype("datetime64[us]")
    if part == "days":
        days = moments.to_numpy().astype("int64") / 86_400_000_000
        return np.where(moments.isna(), np.nan, days)
    name = {"weekday": "day_of_week"}.get(part, part)
    return getattr(moments.dt, name).to_numpy(dtype="float64")


def preprocessor(features: pd.DataFrame, options: Features) -> ColumnTransformer:
    """The unfitted preprocessing of ``features`` by role, as ``params.yaml`` says."""
    text = [str(name) for name in features if features[name].dtype == object]
    numbers = [str(name) for name in features if features[name].dtype != object]
    branches: list[tuple[str, Any, list[str]]] = []
    if numbers:
        branches.append(("numeric", _numeric(options), numbers))
    if text:
        branches.append(("categorical", _categorical(options), text))
    return ColumnTransformer(branches, sparse_threshold=0.0)


def _numeric(options: Features) -> Pipeline | str:
    steps: list[tuple[str, object]] = []
    if options.impute_numeric == "zero":
        steps.append(("impute", SimpleImputer(strategy="constant", fill_value=0.0)))
    elif options.impute_numeric != "none":
        # A column that is all missing stays, so that the width does not depend on the data.
        imputer = SimpleImputer(strategy=options.impute_numeric, keep_empty_features=True)
        steps.append(("impute", imputer))
    if options.scale == "standard":
        steps.append(("scale", StandardScaler()))
    return Pipeline(steps) if steps else "passthrough"


def _categorical(options: Features) -> Pipeline:
    if options.impute_categorical == "missing":
        imputer = SimpleImputer(strategy="constant", fill_value=MISSING)
    else:
        imputer = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    if options.encode == "onehot":
        unknown = "infrequent_if_exist" if options.max_categories else "ignore"
        encoder = OneHotEncoder(
            handle_unknown=unknown, max_categories=options.max_categories, sparse_output=False
        )
    else:
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            max_categories=options.max_categories,
        )
    return Pipeline([("impute", imputer), ("encode", encoder)])
