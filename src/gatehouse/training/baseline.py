"""The linear baseline: ``model: linear`` on some rows, which a candidate should at least equal."""

from collections.abc import Mapping

import numpy as np
import pyarrow.parquet as pq
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from gatehouse.core.config.params import Features
from gatehouse.core.config.schema import Column, Schema
from gatehouse.core.project import Project
from gatehouse.data.tables import to_frame
from gatehouse.serving.derived import Derived
from gatehouse.serving.features import build_features, shifts
from gatehouse.serving.skops_model import Model

from .choose import STRENGTH, coefficients, linear, make_estimator
from .preprocessing import preprocessor, text_columns
from .split import ROW_ID, TRAIN
from .train import encode_target

ROWS, LEAST = 20_000, 300
WORK = 10_000_000  # rows x columns x classes: a few seconds


def linear_baseline(
    project: Project,
    schema: Schema,
    columns: Mapping[str, Column],
    strength: float = STRENGTH,
    derive: Derived | None = None,
) -> Model:
    """Logistic regression or ridge on ``columns`` of the training rows.

    At most 20,000 rows, the first by row id, and fewer where columns or classes are many.
    ``strength`` is what the choice of the candidate found best for linear models, if it did.
    """
    names = list(dict.fromkeys([ROW_ID, *columns, schema.target]))
    rows = WORK // (len(columns) * max(1, len(schema.classes)))
    table = pq.read_table(project / TRAIN, columns=names)
    first = np.argsort(table[ROW_ID].to_numpy(), kind="stable")[: min(ROWS, max(LEAST, rows))]
    frame = to_frame(table.take(first))
    target = encode_target(frame[schema.target], schema)
    shift, task = shifts(frame, columns), schema.decided_task
    features = build_features(frame, columns, shift, derive)
    plain = make_estimator(linear(task, len(target), 1), seed=0)
    encode = preprocessor(features, Features(), plain, text_columns(columns))
    with threadpool_limits(1):
        x = encode.fit_transform(features)
        width = coefficients(x.shape[1], target, task)
        model = make_estimator(linear(task, len(target), width, strength), seed=0)
        if task != "regression" and len(np.unique(target)) < 2:
            model = DummyClassifier()  # of a rare class, not one row may be among the first
        model.fit(x, target)
    pipeline = Pipeline([("features", encode), ("model", model)])
    return Model(pipeline, task, schema.target, schema.classes, dict(columns), {}, shift, derive)
