"""Hyper-parameter search over ``search.space`` of ``params.yaml``."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import (
    KFold,
    ParameterGrid,
    ParameterSampler,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)

from gatehouse.core.config.params import Search
from gatehouse.core.config.schema import Schema
from gatehouse.core.console import say
from gatehouse.core.errors import InputError

SCORING = {"regression": "neg_root_mean_squared_error"}


def best_params(
    pipeline: Any,
    features: pd.DataFrame,
    target: npt.NDArray[Any],
    schema: Schema,
    options: Search,
    seed: int,
) -> dict[str, Any]:
    """The parameters of the estimator with the best cross-validated score, on training rows only.

    Log-loss for classes, root mean squared error for numbers. Rows must be in time order when the
    schema names a time column.
    """
    if options.method == "grid":
        trials = list(ParameterGrid(options.space))
    else:
        size = int(np.prod([len(values) for values in options.space.values()]))
        count = min(options.trials, size)
        trials = list(ParameterSampler(options.space, count, random_state=seed))
    scoring = SCORING.get(schema.task, "neg_log_loss")
    if schema.time_column:
        folds: Any = TimeSeriesSplit(options.folds)
    elif schema.task == "regression":
        folds = KFold(options.folds, shuffle=True, random_state=seed)
    else:
        folds = StratifiedKFold(options.folds, shuffle=True, random_state=seed)
    scores = []
    for number, trial in enumerate(trials, start=1):
        start = time.perf_counter()
        candidate = clone(pipeline).set_params(**{f"model__{k}": v for k, v in trial.items()})
        score = cross_val_score(
            candidate, features, target, scoring=scoring, cv=folds, n_jobs=options.jobs
        ).mean()
        scores.append(score if np.isfinite(score) else -np.inf)
        say(
            f"search: {number}/{len(trials)} {scoring} {score:.5f} {trial} "
            f"({time.perf_counter() - start:.1f} s)"
        )
    if max(scores) == -np.inf:
        raise InputError(
            "search-failed", "every trial of the search failed: correct search.space in params.yaml"
        )
    return dict(trials[int(np.argmax(scores))])
