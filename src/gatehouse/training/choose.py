"""Which model ``auto``, ``linear`` and ``boosting`` of ``params.yaml`` are for these training rows.

Candidates are held against each other on training rows that they did not see: by cross-validation
where rows are few, on one held-out share where they are many. Log-loss for classes, squared error
for numbers. The linear model is taken unless boosting is better beyond the noise.
"""

import importlib
import warnings
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from gatehouse.core.config.params import Estimator, Features
from gatehouse.core.config.schema import Schema
from gatehouse.core.errors import InputError
from gatehouse.metrics.table import FLOOR

from .preprocessing import preprocessor, text_columns

Array = npt.NDArray[Any]
Folds = list[tuple[Array, Array]]  # positions that learn, positions that judge
Kind = Literal["auto", "linear", "boosting"]

LEAST, FEW = 20, 10_000  # rows: too few to choose by; few enough to cross-validate
MOST = 50_000  # rows that candidates are compared on
CELLS = 10_000_000  # rows x columns x classes, the same for wide tables: a few seconds
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
STRENGTH = 0.1  # where nobody has chosen: features are scaled
LEAVES = (4, 8, 16, 31)
ROUNDS, PATIENCE = 200, 10
TREES, LEAST_ROUNDS = 1_000, 30  # of many classes each has a tree a round
NEWTON = 300  # coefficients up to which second derivatives are the shorter way
BEYOND = 1.5  # standard errors by which boosting must be better


class Trial(NamedTuple):
    """A candidate and what it lost on each judging row, NaN on the others."""

    estimator: Estimator
    losses: Array
    strength: float | None = None

    @property
    def loss(self) -> float:
        """Mean over the judging rows."""
        return float(np.nanmean(self.losses))


class Rows(NamedTuple):
    """Training rows, or a sample of them; ``total``: of them all."""

    features: pd.DataFrame
    target: Array
    folds: Folds
    task: str
    total: int
    words: list[str]


def make_estimator(choice: Estimator, seed: int) -> Any:
    """Build the class named in ``params.yaml``, seeded where it takes a seed."""
    module, _, name = choice.path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
        defaults = cls().get_params()
        extra = {"random_state": seed} if "random_state" in defaults else {}
        return cls(**(extra | choice.params))
    except (ImportError, AttributeError, ValueError):
        raise InputError(
            "model-class",
            f"params.yaml names the model {choice.path!r}, which cannot be imported as an "
            "estimator: correct its class, or add its package to requirements/train.in",
        ) from None
    except TypeError as error:
        raise InputError(
            "model-params",
            f"params.yaml: {choice.path} does not take these params ({error}): correct them",
        ) from None


def linear(task: str, rows: int, width: int, strength: float = STRENGTH) -> Estimator:
    """A regularised linear model of ``width`` coefficients; the less strength, the flatter."""
    if task == "regression":
        return _estimator("linear_model.Ridge", alpha=rows * 1e-3 / strength)
    solver = "newton-cholesky" if width <= NEWTON else "lbfgs"
    return _estimator(
        "linear_model.LogisticRegression",
        C=strength,
        solver=solver,
        max_iter=300 if width <= 2_000 else 100,
    )


def boosting(task: str, rows: int, leaves: int = 31, rounds: int = 100) -> Estimator:
    """Gradient boosting of ``rounds`` trees, each of at most so many leaves."""
    kind = "Regressor" if task == "regression" else "Classifier"
    return _estimator(
        f"ensemble.HistGradientBoosting{kind}",
        max_iter=rounds,
        learning_rate=0.1,
        max_leaf_nodes=leaves,
        min_samples_leaf=min(20, max(5, rows // 50)),
        l2_regularization=1.0,
        early_stopping=False,
    )


def _estimator(path: str, **params: Any) -> Estimator:
    return Estimator.model_validate({"class": f"sklearn.{path}", "params": params})


def coefficients(columns: int, target: Array, task: str) -> int:
    """How many a linear model of so many columns has."""
    classes = 1 if task == "regression" else len(np.unique(target))
    return columns * (classes if classes > 2 else 1)


def choose(
    kind: Kind, table: pd.DataFrame, target: Array, schema: Schema, options: Features, seed: int
) -> tuple[Estimator, dict[str, Any]]:
    """The best candidate of ``kind`` on these rows, and what was held against what.

    ``target`` (n,) holds class positions or numbers. Rows must be in time order when the schema
    names a time column.
    """
    rows, how = _rows(table, target, schema)
    found: dict[str, list[Trial]] = {}
    # Small fits gain nothing from threads, and wait long for each other on a busy machine. Whether
    # a candidate converged quite is of no concern to anybody.
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        for name, tries in (("linear", _linear), ("boosting", _boosting)):
            if not rows.folds or kind not in (name, "auto"):
                continue
            # On few rows a fold may hold nothing of a column, which boosting refuses.
            with suppress(ValueError):
                found[name] = tries(rows, options, seed)
    best = {n: min(t, key=lambda trial: trial.loss) for n, t in found.items() if t}
    if not best:
        name = "boosting" if kind == "boosting" else "linear"
        only = boosting if kind == "boosting" else linear
        return only(rows.task, rows.total, NEWTON), {"taken": name, "by": "too few rows to compare"}
    taken = next(iter(best))
    if len(best) > 1 and _surely_less(best["boosting"].losses, best["linear"].losses):
        taken = "boosting"
    regression = rows.task == "regression"
    facts: dict[str, Any] = {
        "taken": taken,
        "by": how,
        "metric": "rmse" if regression else "log_loss",
        "best": {n: _said(trial, regression)["score"] for n, trial in best.items()},
        "tried": {n: [_said(t, regression) for t in tries] for n, tries in found.items()},
    }
    if "linear" in best:
        facts["strength"] = best["linear"].strength  # for the linear baseline
    return best[taken].estimator, facts


def _said(trial: Trial, regression: bool) -> dict[str, Any]:
    told = ("C", "alpha", "max_leaf_nodes", "max_iter")
    kept = {key: trial.estimator.params[key] for key in told if key in trial.estimator.params}
    if "C" in kept:
        kept.pop("max_iter")
    return kept | {"score": float(np.sqrt(trial.loss)) if regression else trial.loss}


def _surely_less(ours: Array, theirs: Array) -> bool:
    gain = (theirs - ours)[np.isfinite(theirs - ours)]
    return bool(gain.mean() > BEYOND * gain.std() / np.sqrt(len(gain)))


def _rows(table: pd.DataFrame, target: Array, schema: Schema) -> tuple[Rows, str]:
    """What candidates are compared on: a sample where there is much, and which rows judge it."""
    task, rows = schema.decided_task, len(target)
    classes = max(2, len(np.unique(target))) if task != "regression" else 1
    most = max(1_000, min(MOST, CELLS // (table.shape[1] * classes)))
    every, in_time = np.arange(rows), schema.time_column is not None
    place = every if in_time else _places(target)
    if rows < LEAST:
        kept, folds, how = every, [], ""
    elif rows <= min(FEW, most):
        count = 5 if rows <= FEW // 2 else 3
        kept, how = every, f"{count}-fold cross-validation"
        if in_time:
            folds = list(TimeSeriesSplit(count, test_size=max(1, rows // (2 * count))).split(every))
            how += " in time order"
        else:
            folds = [(every[place % count != j], every[place % count == j]) for j in range(count)]
    else:
        judges = every >= rows - rows // 5 if in_time else place % 5 == 0
        learn, judge = _some(every[~judges], most * 4 // 5), _some(every[judges], most // 5)
        kept, positions = np.r_[learn, judge], np.arange(len(learn) + len(judge))
        folds = [(positions[: len(learn)], positions[len(learn) :])]
        how = f"{len(judge):,} held-out {'later ' * in_time}rows"
    chosen = target[kept]
    folds, words = _usable(folds, chosen, task), text_columns(schema.columns)
    return Rows(table.iloc[kept], chosen, folds, task, rows, words), how


def _places(target: Array) -> Array:
    """A rank for each row, by target and else by chance: every k-th of them is stratified.

    Not by the seed of params.yaml: another seed shall be no other try.
    """
    shuffled = np.random.default_rng(0).permutation(len(target))
    place = np.empty(len(target), dtype=np.int64)
    place[shuffled[np.argsort(target[shuffled], kind="stable")]] = np.arange(len(target))
    return place


def _some(rows: Array, most: int) -> Array:
    evenly: Array = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
    return np.asarray(rows[evenly])


def _usable(folds: Folds, target: Array, task: str) -> Folds:
    """Folds without judges of a class that their learners never saw."""
    if task == "regression":
        return folds
    found = []
    for learn, judge in folds:
        known = np.unique(target[learn])
        judge = judge[np.isin(target[judge], known)]
        if len(known) > 1 and len(judge):
            found.append((learn, judge))
    return found


def _linear(rows: Rows, options: Features, seed: int) -> list[Trial]:
    some = make_estimator(linear(rows.task, rows.total, 1), seed)
    x = preprocessor(rows.features, options, some, rows.words).fit_transform(rows.features)
    width = coefficients(x.shape[1], rows.target, rows.task)
    losses = {strength: np.full(len(rows.target), np.nan) for strength in STRENGTHS}
    for learn, judge in rows.folds:
        known, asked = x[learn], x[judge]
        model: Any = None
        for strength, lost in losses.items():
            one = linear(rows.task, len(learn), width, strength)
            if model is None:
                model = make_estimator(one, seed)
            # From the flattest on, each starts where the one before it ended.
            warm = {} if rows.task == "regression" else {"warm_start": True}
            model.set_params(**one.params, **warm).fit(known, rows.target[learn])
            guess = _guess(model, asked)
            lost[judge] = _losses(model, guess, rows.target[judge])
    return [
        Trial(linear(rows.task, rows.total, width, strength), lost, strength)
        for strength, lost in losses.items()
        if np.isfinite(np.nanmean(lost))
    ]


def _boosting(rows: Rows, options: Features, seed: int) -> list[Trial]:
    """Ever larger trees, while they help; the number of trees by the folds' mean loss."""
    some = make_estimator(boosting(rows.task, rows.total), seed)
    x = preprocessor(rows.features, options, some, rows.words).fit_transform(rows.features)
    trials: list[Trial] = []
    classes = 1 if rows.task == "regression" else len(np.unique(rows.target))
    most = max(LEAST_ROUNDS, min(ROUNDS, TREES // classes))
    for leaves in LEAVES:
        models, curve = [], np.zeros(most)
        for learn, judge in rows.folds:
            model = make_estimator(boosting(rows.task, len(learn), leaves, most), seed)
            model.set_params(early_stopping=True, scoring="loss", n_iter_no_change=PATIENCE)
            y = rows.target
            model.fit(x[learn], y[learn], X_val=x[judge], y_val=y[judge])
            seen = -model.validation_score_[1:] * len(judge)
            curve += np.pad(seen, (0, most - len(seen)), mode="edge")
            models.append(model)
        rounds, losses = int(curve.argmin()) + 1, np.full(len(rows.target), np.nan)
        for model, (_, judge) in zip(models, rows.folds, strict=True):
            last = min(rounds, model.n_iter_)
            staged = getattr(model, "staged_predict_proba", model.staged_predict)(x[judge])
            guess = next(islice(staged, last - 1, None))
            losses[judge] = _losses(model, guess, rows.target[judge])
        trials.append(Trial(boosting(rows.task, rows.total, leaves, rounds), losses))
        if len(trials) > 1 and trials[-1].loss >= trials[-2].loss:
            break
    return trials


def _guess(model: Any, x: Any) -> Array:
    return np.asarray(getattr(model, "predict_proba", model.predict)(x))


def _losses(model: Any, guess: Array, truth: Array) -> Array:
    """Squared errors, or the log-loss of each row."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return np.asarray((truth - guess) ** 2)
    chance = guess[np.arange(len(truth)), np.searchsorted(classes, truth)]
    return np.asarray(-np.log(np.maximum(chance, FLOOR)))
