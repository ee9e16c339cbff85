"""Stage train: fit the model on the training rows."""

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from gatehouse.core.config.params import Estimator, Params, load_params
from gatehouse.core.config.rules import is_number
from gatehouse.core.config.schema import Schema, label_text, load_schema
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL
from gatehouse.core.errors import InputError
from gatehouse.core.hooks import hook
from gatehouse.core.project import Project
from gatehouse.data.tables import to_frame
from gatehouse.serving.arrays import parts
from gatehouse.serving.derived import derived
from gatehouse.serving.features import build_features, plain_columns, shifts
from gatehouse.serving.skops_model import Model

from .choose import FEW, boosting, choose, linear, make_estimator
from .preprocessing import preprocessor, text_columns
from .search import best_params
from .split import TRAIN
from .store import save


def encode_target(values: pd.Series, schema: Schema) -> npt.NDArray[Any]:
    """Target values as class positions (int64), or as float64 for regression."""
    if schema.task == "regression":
        if not pd.api.types.is_numeric_dtype(values):
            raise InputError(
                "target-no-number",
                f"target {schema.target!r} is no number: correct task in schema.yaml",
            )
        return values.to_numpy(dtype=np.float64)
    if pd.api.types.is_float_dtype(values):
        values = values.astype("int64")
    labels = values.map(label_text)
    codes = pd.Categorical(labels, categories=schema.labels).codes.astype(np.int64)
    if (codes < 0).any():
        raise InputError(
            "class-unknown",
            f"{(codes < 0).sum()} rows have a {schema.target!r} that is not among classes in "
            "schema.yaml: add the class there or correct the rows",
        )
    return np.asarray(codes)


def train(project: Project) -> str:
    """Fit on ``data/train.parquet`` and write ``model/``."""
    schema, params = load_schema(project), load_params(project)
    columns = schema.features
    if not columns:
        raise InputError(
            "no-feature-left", "schema.yaml has no column with role feature: give at least one"
        )
    names = [*columns, schema.target]
    frame = to_frame(pq.read_table(project / TRAIN, columns=list(dict.fromkeys(names))))
    if schema.time_column:
        frame = frame.sort_values(schema.time_column, kind="stable")
    target = encode_target(frame[schema.target], schema)
    if schema.task != "regression" and np.unique(target).size < 2:
        raise InputError(
            "target-constant",
            f"all {len(target)} training rows have the same {schema.target!r}: "
            "there is nothing to learn; add rows of another class",
        )
    # With a shift, the zero that stands for a missing value would be another one.
    shift = {} if params.features.impute_numeric == "zero" else shifts(frame, columns)
    derive = derived(project, plain_columns(frame, columns), columns)
    if derive and (twice := {part.label for part in parts(columns)} & set(derive.names)):
        raise InputError(
            "derive-columns",
            f"{derive.path}: derive gives {min(twice)!r}, a feature of its own: rename it",
        )
    features = build_features(frame, columns, shift, derive)
    choice: dict[str, Any] = {}
    if (made := built(project, params, schema)) is not None:
        path, given = class_path(made), plain_params(made)
    else:
        estimator, choice = _choose(features, target, schema, params)
        path, given, made = estimator.path, estimator.params, make_estimator(estimator, params.seed)
    pipeline, best = _fit(made, path, features, target, schema, params)
    facts = {
        "estimator": path,
        "params": given | best,
        **choice,
        "rows": len(frame),
        "packages": {name: version(name) for name in ("scikit-learn", "skops", "numpy", "pandas")},
    }
    task, classes = schema.decided_task, schema.classes
    save(
        Model(pipeline, task, schema.target, classes, columns, facts, shift, derive),
        project / MODEL,
    )
    name = path.rpartition(".")[2]
    return f"{name} on {len(frame):,} rows x {features.shape[1]} features in {MODEL}/"


def built(project: Project, params: Params, schema: Schema) -> Any:
    """The estimator of the user's ``build``, seeded where it takes a seed, or None."""
    own = hook(project, "model", "build")
    made = own(params, schema) if own else None
    if made is None:
        return None
    if not all(hasattr(made, name) for name in ("fit", "predict", "get_params", "set_params")):
        raise InputError(
            "build-result",
            f"build of model.py gives a {type(made).__name__}: let it return an estimator with the "
            "scikit-learn interface, or None for what params.yaml says",
        )
    seeds = [name for name, value in made.get_params().items() if value is None]
    seeds = [name for name in seeds if name.rpartition("__")[2] == "random_state"]
    return made.set_params(**dict.fromkeys(seeds, params.seed))


def class_path(made: Any) -> str:
    """The dotted path of an object's class."""
    return f"{type(made).__module__}.{type(made).__qualname__}"


def plain_params(made: Any) -> dict[str, Any]:
    """Those of an estimator's parameters that JSON can hold."""
    found = made.get_params(deep=False).items()
    return {name: v for name, v in found if isinstance(v, bool | str) or is_number(v)}


def _choose(
    features: pd.DataFrame, target: npt.NDArray[Any], schema: Schema, params: Params
) -> tuple[Estimator, dict[str, Any]]:
    """The estimator, and how it came to be where it was chosen here."""
    asked, start = params.model, time.perf_counter()
    if isinstance(asked, Estimator):
        return asked, {}
    if params.search.space:  # which is what decides then
        plain = boosting if asked == "boosting" else linear
        return plain(schema.decided_task, len(target), features.shape[1]), {}
    estimator, found = choose(asked, features, target, schema, params.features, params.seed)
    scores = ", ".join(f"{name} {score:.4g}" for name, score in found.get("best", {}).items())
    told = f" ({found['metric']}: {scores})" if scores else ""
    seconds = time.perf_counter() - start
    say(f"train: {found['taken']}, by {found['by']}{told}, {seconds:.1f} s")
    return estimator, {"choice": {"asked": asked, **found}}


def _fit(
    made: Any,
    path: str,
    features: pd.DataFrame,
    target: npt.NDArray[Any],
    schema: Schema,
    params: Params,
) -> tuple[Any, dict[str, Any]]:
    words = text_columns(schema.columns)
    pipeline = Pipeline(
        [("features", preprocessor(features, params.features, made, words)), ("model", made)]
    )
    try:
        best: dict[str, Any] = {}
        if params.search.space:
            best = best_params(pipeline, features, target, schema, params.search, params.seed)
            pipeline.set_params(**{f"model__{name}": value for name, value in best.items()})
        say(f"train: fitting {path} on {len(features):,} rows")
        # On few rows threads wait for each other longer than they work.
        with threadpool_limits(1 if len(features) <= FEW else None):
            pipeline.fit(features, target)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            "fit-failed",
            f"{path} cannot be fitted ({reason}): correct model, features or search in params.yaml",
        ) from None
    if schema.task != "regression" and not hasattr(pipeline, "predict_proba"):
        raise InputError(
            "no-probabilities",
            f"{path} gives no probabilities: choose a classifier with predict_proba, or "
            "wrap it in sklearn.calibration.CalibratedClassifierCV",
        )
    return pipeline, best
