"""The linear baseline: a model that wants no tuning, which a candidate should at least equal."""

from collections.abc import Mapping

import numpy as np
import pyarrow.parquet as pq
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from .features import build_features, shifts
from .model import Model
from .schema import Column, Schema
from .split import ROW_ID, TRAIN
from .table import to_frame
from .train import encode_target

ROWS, LEAST = 20_000, 300
WORK = 10_000_000  # rows x columns x classes: a few seconds
CATEGORIES = 20
HUGE, FAR = 1e100, 5.0  # what can still be squared; deviations at which a column is cut off


def linear_baseline(schema: Schema, columns: Mapping[str, Column]) -> Model:
    """Logistic regression or ridge on ``columns`` of the training rows.

    At most 20,000 rows, the first by row id, and fewer where columns or classes are many.
    """
    names = list(dict.fromkeys([ROW_ID, *columns, schema.target]))
    rows = WORK // (len(columns) * max(1, len(schema.classes)))
    table = pq.read_table(TRAIN, columns=names)
    first = np.argsort(table[ROW_ID].to_numpy(), kind="stable")[: min(ROWS, max(LEAST, rows))]
    frame = to_frame(table.take(first))
    target = encode_target(frame[schema.target], schema)
    pipeline = make_pipeline(
        make_column_transformer(
            (_numbers(), make_column_selector(dtype_exclude=object)),
            (
                OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=CATEGORIES),
                make_column_selector(dtype_include=object),
            ),
        ),
        _estimator(schema, len(np.unique(target))),
    )
    shift = shifts(frame, columns)
    pipeline.fit(build_features(frame, columns, shift), target)
    task, classes = schema.decided_task, schema.classes
    return Model(pipeline, task, schema.target, classes, dict(columns), {}, shift)


def _numbers() -> Pipeline:
    # One row far out would else decide how good the baseline is.
    huge, far = (
        FunctionTransformer(np.clip, kw_args={"a_min": -limit, "a_max": limit})
        for limit in (HUGE, FAR)
    )
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(huge, imputer, StandardScaler(), far)


def _estimator(schema: Schema, classes: int) -> Ridge | LogisticRegression | DummyClassifier:
    if schema.task == "regression":
        return Ridge()
    # Of a rare class, not one row may be among the first.
    return LogisticRegression() if classes > 1 else DummyClassifier()
