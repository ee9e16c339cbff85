"""How good is the model on live rows whose truth nobody knows yet?

The errors that the model makes on labelled reference rows are learnt; then truths of the live rows
are drawn from what was learnt, a few dozen times, and each metric is measured against them by the
very code that judges a candidate. So any metric can be estimated, and the spread of the draws is
the noise of these rows. What was learnt is learnt again from other reference rows, which adds its
own noise. Classification: calibrated probabilities ("confidence-based", NannyML's CBPE).
Regression: a gradient boosting of the signed and the squared error ("direct loss estimation").

Both see that rows have become harder or easier. Neither can see that the same row now has another
answer (concept drift): then only labels tell, and the gap between the two is the sign.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gatehouse.metrics.comparison import Predictions
from gatehouse.metrics.table import METRICS, Array, Floats, Rows

from . import arrays

ROWS = 20_000  # live and reference rows that are looked at, at most
DRAWS = 60
FOLDS = 5
LEAST_REFERENCE, LEAST_LIVE, LEAST_ALIKE, LEAST_OF_CLASS = 300, 100, 100, 20
OUTSIDE, APART, OFF = 0.05, 0.8, 0.02
_NORMAL = 1.96
_EDGE = 1e-6


@dataclass(frozen=True)
class Estimate:
    """One metric of the live rows: 95 % of the true ones should lie from ``low`` to ``high``.

    All None where it is not defined. Not ``reliable``: ``why`` says so in one sentence.
    """

    value: float | None
    low: float | None
    high: float | None
    reliable: bool
    why: str = ""


def classification(
    reference: Predictions,
    guess: Floats,
    metrics: Sequence[str],
    *,
    baseline: Any = None,
    cost: Array | None = None,
    seed: int = 0,
    weights: Floats | None = None,
    domain_auc: float | None = None,
) -> dict[str, Estimate]:
    """Estimate metrics of live probabilities ``guess`` (n, k) from labelled reference rows.

    The reference must be rows that the model was not trained on. ``baseline`` and ``cost`` are
    those of the blessing; ``domain_auc``: how well live rows can be told from the reference.
    ``weights`` (rows of the reference,): how much more frequent such rows are among the live ones
    (``domain.weights``), for live rows that differ in what the probability does not say.
    """
    rng = np.random.default_rng(seed)
    why = _few(len(reference.truth), len(guess))
    classes = np.unique(reference.truth)
    if why and (min(len(guess), len(classes) - 1) < 1 or len(reference.truth) < 2 * FOLDS):
        return dict.fromkeys(metrics, _undefined(why))
    if len(classes) < 2:
        return dict.fromkeys(metrics, _undefined("the reference has rows of one class only"))
    known = _some(len(reference.truth), rng)
    truth, score = reference.truth[known], _odds(reference.guess[known])
    weight = np.ones(len(known)) if weights is None else weights[known]
    weight = weight / weight.sum()
    kind, held_out = _choose(truth, score, weight, rng)
    counts = np.bincount(truth, minlength=score.shape[1])
    if counts.min() < LEAST_OF_CLASS:
        why = why or f"a class has only {counts.min()} rows in the reference"
    if (alike := 1 / np.sum(weight**2)) < LEAST_ALIKE:
        why = why or f"the live rows resemble too few of the reference: {alike:.0f}"
    why = why or _shifted(domain_auc) or _outside(reference.guess[:, 1:], guess[:, 1:])
    why = why or _uncalibrated(truth, held_out, rng)

    def draws() -> Iterable[Rows]:
        for _ in range(DRAWS):
            again = rng.choice(len(truth), len(truth), p=weight)
            at = _some(len(guess), rng)
            one = np.ones(len(again))
            chance = _calibrated(kind, truth[again], score[again], one, _odds(guess[at]))
            yield Rows(_draw(chance, rng), guess[at], baseline, cost)

    return _measured(draws(), metrics, why, np.zeros(DRAWS, dtype=np.int64))


def regression(
    reference: pa.Table,
    known: Predictions,
    live: pa.Table,
    guess: Floats,
    metrics: Sequence[str],
    kinds: Mapping[str, str],
    *,
    baseline: Any = None,
    seed: int = 0,
    domain_auc: float | None = None,
) -> dict[str, Estimate]:
    """Estimate metrics of live predictions ``guess`` (n,) from the errors ``known`` of a reference.

    ``reference`` and ``live`` hold the features of these rows, ``kinds`` their types. The variance
    of the target, which r2 asks for, is that of the drawn truths.
    """
    rng = np.random.default_rng(seed)
    why = _few(len(known.truth), len(guess))
    if len(known.truth) < 2 * FOLDS or not len(guess):
        return dict.fromkeys(metrics, _undefined(why))
    why = why or _shifted(domain_auc) or _outside(known.guess[:, None], guess[:, None])
    rows, at = _some(len(known.truth), rng), _some(len(guess), rng)
    left, right, _, categories = arrays.matrix(reference.take(rows), live.take(at), kinds)
    left = np.column_stack([left, known.guess[rows]])
    right = np.column_stack([right, guess[at]])
    error = (known.guess - known.truth)[rows]
    fold = rng.permutation(len(error)) % FOLDS
    options = {"categorical_features": [*categories, False], "random_state": seed}
    bias, live_bias = _learn(left, error, right, fold, "squared_error", options)
    square, live_square = _learn(left, error**2, right, fold, "poisson", options)
    spread = np.sqrt(np.maximum(square - bias**2, 0.05 * square))
    noise = np.divide(error - bias, spread, out=np.zeros_like(error), where=spread > 0)
    noise -= noise.mean()
    size = float(np.sqrt(np.mean(noise**2)))
    why = why or _unpredicted(error**2, square)

    def draws(models: npt.NDArray[np.int64]) -> Iterable[Rows]:
        for k in models:
            wide = np.sqrt(np.maximum(live_square[k] - live_bias[k] ** 2, 0.05 * live_square[k]))
            drawn = rng.choice(noise, len(at)) / (size or 1.0)
            yield Rows(guess[at] - live_bias[k] - wide * drawn, guess[at], baseline)

    models = np.arange(DRAWS) % FOLDS
    return _measured(draws(models), metrics, why, models)


def _measured(
    draws: Iterable[Rows], metrics: Sequence[str], why: str, models: npt.NDArray[np.int64]
) -> dict[str, Estimate]:
    """Mean and spread of each metric over the draws, made by one of these models each."""
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in draws:
        for name, values in found.items():
            measured = METRICS[name].measure(rows)
            if measured and np.isfinite(measured[0]):
                values.append(measured[0])
    estimates = {}
    for name, values in found.items():
        if len(values) < DRAWS:
            estimates[name] = _undefined(why or "it is not defined on these rows")
            continue
        group = np.array([np.mean(np.array(values)[models == k]) for k in np.unique(models)])
        # Models that share most of their rows differ less than models of fresh ones (jackknife).
        between = (len(group) - 1) * group.var()
        value, wide = float(np.mean(values)), _NORMAL * float(np.sqrt(np.var(values) + between))
        estimates[name] = Estimate(value, value - wide, value + wide, not why, why)
    return estimates


def _undefined(why: str) -> Estimate:
    return Estimate(None, None, None, False, why)


def _some(size: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """All rows, or a sample of them."""
    return np.arange(size) if size <= ROWS else rng.choice(size, ROWS, replace=False)


def _few(reference: int, live: int) -> str:
    if reference < LEAST_REFERENCE:
        return f"the reference has {reference} labelled rows, and {LEAST_REFERENCE} are asked for"
    return f"there are {live} live rows, and {LEAST_LIVE} are asked for" * (live < LEAST_LIVE)


def _shifted(auc: float | None) -> str:
    if auc is None or auc <= APART:
        return ""
    return f"the live rows are too unlike the reference: a classifier tells them apart ({auc:.2f})"


def _outside(reference: Floats, live: Floats) -> str:
    low, high = reference.min(axis=0), reference.max(axis=0)
    share = float(((live < low) | (live > high)).any(axis=1).mean())
    if share <= OUTSIDE:
        return ""
    return f"{share:.0%} of the live predictions lie outside those of the reference"


def _odds(guess: Floats) -> Floats:
    """Log-odds of each class against the others (n, k)."""
    chance = np.clip(guess / guess.sum(axis=1, keepdims=True), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(chance / (1 - chance)))


def _choose(
    truth: Array, score: Floats, weight: Floats, rng: np.random.Generator
) -> tuple[str, Floats]:
    """The calibration with the smaller loss on held-out rows, and what it says there unweighted."""
    fold = rng.permutation(len(truth)) % FOLDS

    def held_out(kind: str, weight: Floats) -> Floats:
        chance = np.empty_like(score)
        for k in range(FOLDS):
            at, test = fold != k, fold == k
            chance[test] = _calibrated(kind, truth[at], score[at], weight[at], score[test])
        return chance

    def loss(kind: str) -> float:
        return float(weight @ Rows(truth, held_out(kind, weight)).loss)

    best = min(("logistic", "isotonic"), key=loss)
    return best, held_out(best, np.ones(len(truth)))


def _calibrated(kind: str, truth: Array, score: Floats, weight: Floats, live: Floats) -> Floats:
    """Probabilities of live rows (n, k): one class against the others, then normalised."""
    columns = [1] if score.shape[1] == 2 else range(score.shape[1])
    fit = _logistic if kind == "logistic" else _isotonic
    weight = weight * (len(weight) / weight.sum())
    chance = np.column_stack([fit(score[:, j], truth == j, weight, live[:, j]) for j in columns])
    if score.shape[1] == 2:
        return np.column_stack([1 - chance, chance])
    chance += _EDGE
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def _logistic(score: Floats, came: Array, weight: Floats, live: Floats) -> Floats:
    """Platt's: a line of the log-odds, by Newton's method; his targets keep it finite."""
    yes, no = float(weight @ came), float(weight @ ~came)
    target = np.where(came, (yes + 1) / (yes + 2), 1 / (no + 2))
    design = np.column_stack([np.ones(len(came)), score])
    line = np.array([0.0, 1.0])
    for _ in range(20):
        chance = 1 / (1 + np.exp(-np.clip(design @ line, -30, 30)))
        bend = design.T @ (design * (weight * chance * (1 - chance))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(bend, design.T @ (weight * (target - chance)))
        line += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    return np.asarray(1 / (1 + np.exp(-np.clip(line[0] + line[1] * live, -30, 30))))


def _isotonic(score: Floats, came: Array, weight: Floats, live: Floats) -> Floats:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return np.asarray(model.fit(score, came, sample_weight=weight).predict(live))


def _draw(chance: Floats, rng: np.random.Generator) -> Array:
    """A class position a row, with these probabilities."""
    height = chance.cumsum(axis=1)
    drawn = rng.random((len(chance), 1)) * height[:, -1:]
    return np.asarray((drawn >= height[:, :-1]).sum(axis=1))


def _uncalibrated(truth: Array, held_out: Floats, rng: np.random.Generator) -> str:
    """Whether the calibrated probabilities miss, on held-out rows, by more than their noise."""

    def gap(truths: Array) -> float:
        measured = METRICS["calibration_error"].measure(Rows(truths, held_out))
        return measured[0] if measured else 0.0

    seen, null = gap(truth), [gap(_draw(held_out, rng)) for _ in range(DRAWS)]
    if seen <= np.mean(null) + 3 * np.std(null) or seen - np.mean(null) < OFF:
        return ""
    return f"the probabilities cannot be calibrated: held out, they miss by {seen:.2f}"


def _learn(
    seen: Floats, target: Floats, live: Floats, fold: Any, loss: str, options: dict[str, Any]
) -> tuple[Floats, Floats]:
    """Held-out (n,) and live (folds, m) predictions; of the mean alone where it does as well."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    held_out, plain = np.empty(len(target)), np.empty(len(target))
    found, means = np.empty((2, FOLDS, len(live)))
    with threadpool_limits(1, user_api="openmp"):  # see domain.py
        for k in range(FOLDS):
            train, test = fold != k, fold == k
            plain[test] = means[k] = target[train].mean()
            model = HistGradientBoostingRegressor(
                loss=loss if target[train].sum() > 0 else "squared_error",
                max_iter=60,
                max_leaf_nodes=8,
                min_samples_leaf=max(20, int(train.sum()) // 100),
                early_stopping=False,
                **options,
            ).fit(seen[train], target[train])
            held_out[test], found[k] = model.predict(seen[test]), model.predict(live)
    if np.mean((target - held_out) ** 2) < np.mean((target - plain) ** 2):
        return held_out, found
    return plain, means


def _unpredicted(square: Floats, held_out: Floats) -> str:
    """Whether squared errors of held-out rows, by tenths, are missed by more than noise."""
    parts = np.array_split(np.argsort(held_out, kind="stable"), 10)
    off = [float((square[at] - held_out[at]).mean()) for at in parts]
    noise = [float(square[at].std() / np.sqrt(len(at))) for at in parts]
    share = np.mean(np.abs(off)) / (square.mean() or 1.0)
    if np.sum(np.square(off)) <= 4 * np.sum(np.square(noise)) or share < 0.25:
        return ""
    return f"the size of the errors cannot be predicted: held out, it misses by {share:.0%}"
