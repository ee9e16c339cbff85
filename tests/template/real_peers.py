"""What other people would fit to the same rows: bounded in time, reproducible."""

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, RandomizedSearchCV, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

Array = npt.NDArray[Any]
TRIALS, FOLDS = 8, 3
SEARCHED = 2_000  # rows on which parameters are chosen
GROWN = 20_000  # rows that a tree of the forest sees
WORDS = 300  # of a text, where a model cannot take sparse input
MIXED = 0.01  # of the class shares in the forest's probabilities, which are 0 too easily


def predictions(
    train: pd.DataFrame, target: Array, test: pd.DataFrame, text: list[str], *, classes: int,
    in_time: bool, only: Collection[str],
) -> dict[str, Array]:  # fmt: skip
    """What each peer says of the test rows: probabilities (n, classes), or values (n,) if 0."""
    found = {}
    peers = _peers(train, text, bool(classes), len(target))
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        for name, (pipeline, space) in peers.items():
            if name not in only:
                continue
            fitted = _tuned(pipeline, space, train, target, bool(classes), in_time)
            if not classes:
                found[name] = fitted.predict(test)
                continue
            # A class may have no training row.
            answer = np.zeros((len(test), classes))
            answer[:, fitted.classes_] = fitted.predict_proba(test)
            if name == "forest":
                shares = (np.bincount(target, minlength=classes) + 1) / (len(target) + classes)
                answer = (1 - MIXED) * answer + MIXED * shares
            found[name] = answer
    return found


def _peers(
    frame: pd.DataFrame, text: list[str], classify: bool, rows: int
) -> dict[str, tuple[Pipeline, dict[str, list[Any]]]]:
    category = [str(n) for n in frame if frame[n].dtype == object and n not in text]
    number = [str(n) for n in frame if frame[n].dtype != object]
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=200,
    )
    trees = ColumnTransformer(
        [("category", codes, category), ("number", "passthrough", number)]
        + [(name, TfidfVectorizer(max_features=WORDS), name) for name in text],
        sparse_threshold=0,
    )
    line = ColumnTransformer(
        [
            ("category", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), category),
            ("number", make_pipeline(_imputer(), StandardScaler()), number),
        ]
        + [(name, TfidfVectorizer(min_df=3, ngram_range=(1, 2), sublinear_tf=True), name) for name in text]
    )  # fmt: skip
    boosting = (HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor)(
        categorical_features=list(range(len(category))), early_stopping=False, random_state=0
    )
    forest = (RandomForestClassifier if classify else RandomForestRegressor)(
        n_estimators=150,
        min_samples_leaf=2,
        max_features="sqrt" if classify else 1 / 3,
        max_samples=min(1.0, GROWN / rows),
        random_state=0,
    )
    strengths = np.logspace(-4, 3, TRIALS).tolist()
    return {
        "linear": (
            make_pipeline(line, LogisticRegression(max_iter=2000) if classify else Ridge()),
            {"logisticregression__C" if classify else "ridge__alpha": strengths},
        ),
        "boosting": (
            Pipeline([("features", trees), ("model", boosting)]),
            {
                "model__learning_rate": [0.03, 0.06, 0.1],
                "model__max_iter": [40, 100, 200],
                "model__max_leaf_nodes": [4, 8, 16, 31],
                "model__min_samples_leaf": [2, 5, 10, 20, 40],
                "model__l2_regularization": [0.0, 1.0, 10.0],
            },
        ),
        "forest": (make_pipeline(trees, _imputer(), forest), {}),
    }


def _imputer() -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _tuned(
    pipeline: Pipeline,
    space: dict[str, list[Any]],
    frame: pd.DataFrame,
    target: Array,
    classify: bool,
    in_time: bool,
) -> Any:
    if not space:
        return pipeline.fit(frame, target)
    rows = np.random.default_rng(0).permutation(len(target))[:SEARCHED]
    rows = np.sort(rows) if in_time else rows
    folds = (
        min(FOLDS, int(np.bincount(target[rows])[np.unique(target[rows])].min()))
        if classify
        else FOLDS
    )
    how = StratifiedKFold if classify and folds > 1 else KFold
    search = RandomizedSearchCV(
        pipeline,
        space,
        n_iter=TRIALS,
        cv=TimeSeriesSplit(FOLDS) if in_time else how(max(2, folds)),
        scoring="neg_log_loss" if classify else "neg_mean_squared_error",
        refit=False,
        random_state=0,
    ).fit(frame.iloc[rows], target[rows])
    scores = np.nan_to_num(search.cv_results_["mean_test_score"], nan=-np.inf)
    best = search.cv_results_["params"][int(scores.argmax())]
    return clone(pipeline).set_params(**best).fit(frame, target)
