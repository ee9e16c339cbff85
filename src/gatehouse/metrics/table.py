"""The metrics that two models can be compared by.

Each metric is a value together with its *influence*: what every row adds to the value, to first
order, so that a resample which weighs row i by w_i moves the value by ``mean((w - 1) * influence)``
(Hampel 1974; for ROC AUC these are the placement values of DeLong 1988). Influences have mean zero.

What is undefined on these rows
(one class only, no positive row, a baseline without loss) is None, never a number by convention;
the one exception is the precision of a model that never says yes, which is 0 as in scikit-learn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gatehouse.core.doors import Known

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Measured = tuple[float, Floats] | None
BINS = 10
FLOOR = 1e-15  # the least probability, as in scikit-learn's log_loss
_CLASSES = ("binary", "multiclass")


@dataclass(frozen=True)
class Rows:
    """What one model says about the rows of one slice.

    ``truth`` (n,) holds class positions or values, ``guess`` probabilities (n, k) or values (n,);
    ``baseline`` and ``cost`` are those of ``compare``.
    """

    truth: Array
    guess: Array
    baseline: Any = None
    cost: Array | None = None

    @cached_property
    def label(self) -> Array:
        """The position of the likeliest class (n,)."""
        return np.asarray(self.guess.argmax(axis=1))

    @cached_property
    def hit(self) -> Array:
        """Was the likeliest class the true one (n,)."""
        return np.asarray(self.label == self.truth)

    @cached_property
    def loss(self) -> Floats:
        """What one row loses (n,): minus the log-probability of its class, or squared error."""
        if self.guess.ndim == 1:
            return self.error**2
        chosen = self.guess[np.arange(len(self.truth)), self.truth] / self.guess.sum(axis=1)
        return np.asarray(-np.log(np.clip(chosen, FLOOR, 1.0)), dtype=np.float64)

    @cached_property
    def error(self) -> Floats:
        """Prediction minus truth (n,)."""
        return np.asarray(self.guess - self.truth, dtype=np.float64)

    @cached_property
    def classes(self) -> Array:
        """The class positions that occur in the truth."""
        return np.unique(self.truth)


def _mean(rows: Floats) -> tuple[float, Floats]:
    value = float(rows.mean())
    return value, rows - value


def _ratio(top: Array, bottom: Array) -> Measured:
    """Mean of ``top`` over mean of ``bottom``; None where the latter is zero."""
    below = float(bottom.mean())
    if below <= 0:
        return None
    value = float(top.mean()) / below
    return value, (top - value * bottom) / below


def _average(parts: list[Measured]) -> Measured:
    kept = [part for part in parts if part is not None]
    if not kept:
        return None
    values, rows = zip(*kept, strict=True)
    return float(np.mean(values)), np.asarray(np.sum(rows, axis=0) / len(kept))


def _less(loss: Measured) -> Measured:
    # A constant model must not beat its own mean by what a sum in another order rounds to.
    return loss and (round(1 - loss[0], 12), -np.round(loss[1], 12))


def _explained(rows: Rows, middle: float) -> Measured:
    """1 - squared error / that of answering ``middle``; None where that is right everywhere."""
    if np.allclose(rows.truth, middle, rtol=1e-12, atol=0):
        return None
    return _less(_ratio(rows.loss, (rows.truth - middle) ** 2))


def _absolute(value: float, rows: Floats) -> Measured:
    # Near zero the sign is a guess, and then this spread is too wide rather than too narrow.
    return abs(value), np.sign(value) * rows


def _f1(rows: Rows, positive: int) -> Measured:
    guess, truth = rows.label == positive, rows.truth == positive
    return _ratio(2.0 * (guess & truth), guess * 1.0 + truth) if truth.any() else None


def _recall(rows: Rows, positive: int) -> Measured:
    truth = rows.truth == positive
    return _ratio((truth & rows.hit) * 1.0, truth * 1.0)


def _precision(rows: Rows) -> Measured:
    guess = rows.label == 1
    return _ratio((guess & rows.hit) * 1.0, guess * 1.0) or (0.0, np.zeros(len(guess)))


def _skill(rows: Rows) -> Measured:
    """1 - loss / loss of the baseline: class shares or mean target of the training rows."""
    if rows.baseline is None:
        return None
    if rows.guess.ndim == 1:
        return _explained(rows, float(rows.baseline))
    if len(rows.classes) < 2:
        return None
    shares = np.asarray(rows.baseline, dtype=np.float64)
    base = -np.log(np.clip(shares / shares.sum(), FLOOR, 1.0))[rows.truth]
    return _less(_ratio(rows.loss, base))


def _rmse(rows: Rows) -> Measured:
    value, row = _mean(rows.loss)
    root = float(np.sqrt(value))
    return root, row / (2 * root) if root > 0 else row


def _brier(rows: Rows) -> Measured:
    """Binary: mean of (p - y)^2, 0 to 1. More classes: summed over all of them, 0 to 2."""
    if rows.guess.shape[1] == 2:
        return _mean((rows.guess[:, 1] - rows.truth) ** 2)
    wanted = np.arange(rows.guess.shape[1]) == rows.truth[:, None]
    return _mean(((rows.guess - wanted) ** 2).sum(axis=1))


def _calibration(rows: Rows) -> Measured:
    """Expected calibration error over ten bins of equal width, from 0 to 1.

    The sum over the bins of |mean probability - share that came true|, each weighted by the share
    of rows it holds. The probability is that of the positive class (binary) or of the likeliest
    (more classes). It is never zero on few rows, whatever the model: about 0.02 on 1,000.
    """
    if rows.guess.shape[1] == 2:
        sure, came = rows.guess[:, 1], rows.truth == 1
    else:
        sure, came = rows.guess.max(axis=1), rows.hit
    bins = np.clip((sure * BINS).astype(np.int64), 0, BINS - 1)
    gap = sure - came
    sign = np.sign(np.bincount(bins, weights=gap, minlength=BINS))
    return _mean(sign[bins] * gap)


def _value(rows: Rows) -> Measured:
    """Expected gain of 1,000 predictions, in the unit of the cost matrix."""
    return None if rows.cost is None else _mean(1000.0 * rows.cost[rows.truth, rows.label])


def _roc_auc(rows: Rows) -> Measured:
    """Chance that a positive row scores above a negative one, ties counting half."""
    if len(rows.classes) < 2:
        return None
    positive, score = rows.truth == 1, rows.guess[:, 1]
    level = np.unique(score, return_inverse=True)[1]
    of = [np.bincount(level[side]) for side in (~positive, positive)]
    won = np.empty(len(score))
    for side, other in ((positive, of[0]), (~positive, of[1])):
        other = np.pad(other, (0, level.max() + 1 - len(other)))
        below = np.cumsum(other) - other / 2
        won[side] = (below / other.sum())[level[side]]
    won[~positive] = 1 - won[~positive]
    value = float(won[positive].mean())
    share = np.where(positive, positive.mean(), 1 - positive.mean())
    return value, (won - value) / share


def _average_precision(rows: Rows) -> Measured:
    """Mean, over the positive rows, of the precision at the threshold of their own score."""
    positive = rows.truth == 1
    if not positive.any():
        return None
    level = np.unique(-rows.guess[:, 1], return_inverse=True)[1]
    yes, every = np.bincount(level, weights=positive), np.bincount(level)
    above, precision = np.cumsum(every), np.cumsum(yes) / np.cumsum(every)
    value = float(precision[level[positive]].mean())

    # A row moves the precision at its own threshold and at each one below it.
    def onwards(rows: Floats) -> Floats:
        return np.asarray(np.cumsum(rows[::-1])[::-1][level])

    moved = positive * onwards(yes / above) - onwards(yes * precision / above)
    return value, (positive * (precision[level] - value) + moved) / positive.mean()


@dataclass(frozen=True)
class Metric:
    """How one metric is measured, which way is better (+1 up, -1 down, 0 neither), which tasks."""

    measure: Callable[[Rows], Measured]
    direction: int
    tasks: tuple[str, ...]


METRICS: Known[Metric] = Known(
    "metrics",
    {
        "accuracy": Metric(lambda r: _mean(r.hit * 1.0), +1, _CLASSES),
        "balanced_accuracy": Metric(
            lambda r: _average([_recall(r, c) for c in r.classes]), +1, _CLASSES
        ),
        "log_loss": Metric(lambda r: _mean(r.loss), -1, _CLASSES),
        "skill": Metric(_skill, +1, (*_CLASSES, "regression")),
        "brier": Metric(_brier, -1, _CLASSES),
        "calibration_error": Metric(_calibration, -1, _CLASSES),
        "value": Metric(_value, +1, _CLASSES),
        "roc_auc": Metric(_roc_auc, +1, ("binary",)),
        "average_precision": Metric(_average_precision, +1, ("binary",)),
        "precision": Metric(_precision, +1, ("binary",)),
        "recall": Metric(lambda r: _recall(r, 1), +1, ("binary",)),
        "selection_rate": Metric(lambda r: _mean(r.label * 1.0), 0, ("binary",)),
        "f1": Metric(lambda r: _f1(r, 1), +1, ("binary",)),
        "f1_macro": Metric(lambda r: _average([_f1(r, c) for c in r.classes]), +1, ("multiclass",)),
        "r2": Metric(lambda r: _explained(r, float(r.truth.mean())), +1, ("regression",)),
        "rmse": Metric(_rmse, -1, ("regression",)),
        "mae": Metric(lambda r: _mean(np.abs(r.error)), -1, ("regression",)),
        "bias": Metric(lambda r: _absolute(*_mean(r.error)), -1, ("regression",)),
    },
)
