"""What is measured on a set of predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

Array = npt.NDArray[Any]
_FLOOR = 1e-15


def classification(truth: Array, probabilities: Array, prior: Array) -> dict[str, float | None]:
    """Metrics of class probabilities.

    ``truth`` holds class positions (n,), ``probabilities`` (n, k), ``prior`` (k,) the class shares
    of the training rows, which are the baseline of ``skill``. A metric that is undefined here (one
    class only, no positive row) is None.
    """
    classes = np.arange(probabilities.shape[1])
    guess = probabilities.argmax(axis=1)
    loss = _log_loss(truth, probabilities)
    found: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: sk.accuracy_score(truth, guess),
        "balanced_accuracy": lambda: sk.recall_score(
            truth, guess, labels=np.unique(truth), average="macro", zero_division=0
        ),
        "log_loss": lambda: loss,
        "skill": lambda: 1 - loss / _log_loss(truth, np.broadcast_to(prior, probabilities.shape)),
    }
    if len(classes) == 2:
        positive = probabilities[:, 1]
        found |= {
            "roc_auc": lambda: sk.roc_auc_score(truth, positive),
            "average_precision": lambda: sk.average_precision_score(truth, positive),
            "brier": lambda: np.mean((positive - truth) ** 2),
            "precision": lambda: sk.precision_score(truth, guess, zero_division=0),
            "recall": lambda: sk.recall_score(truth, guess),
            "f1": lambda: sk.f1_score(truth, guess),
        }
    else:
        found["f1_macro"] = lambda: sk.f1_score(
            truth, guess, labels=np.unique(truth), average="macro", zero_division=0
        )
    undefined = {"roc_auc", "skill"} if np.unique(truth).size < 2 else set()
    if not (truth == 1).any():
        undefined |= {"average_precision", "recall", "f1"}
    return {n: None if n in undefined else _number(compute()) for n, compute in found.items()}


def regression(truth: Array, prediction: Array, mean: float) -> dict[str, float | None]:
    """Metrics of predicted values (n,); ``mean`` of the training target is the baseline."""
    error = prediction - truth
    baseline = float(np.mean((truth - mean) ** 2))
    spread = float(np.mean((truth - truth.mean()) ** 2))
    squared = float(np.mean(error**2))
    return {
        "r2": _number(1 - squared / spread if spread > 0 else None),
        "skill": _number(1 - squared / baseline if baseline > 0 else None),
        "rmse": _number(np.sqrt(squared)),
        "mae": _number(np.mean(np.abs(error))),
        "median_absolute_error": _number(np.median(np.abs(error))),
    }


def _log_loss(truth: Array, probabilities: Array) -> float:
    chosen = probabilities[np.arange(len(truth)), truth]
    total = probabilities.sum(axis=1)
    return float(-np.mean(np.log(np.clip(chosen / total, _FLOOR, 1.0))))


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
