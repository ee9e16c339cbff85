"""What a Deepchecks result measures: its value as {columns: number}, one function a check."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .exact import Measured


def each(value: Any) -> Measured:
    """One number a column, which is how most values are."""
    return {(name,): float(number) for name, number in value.items()}


def _single_value(value: Any) -> Measured:
    return each({name: count == 1 for name, count in value.items()})


def _mixed_nulls(value: Any) -> Measured:
    return each({name: len(kinds) for name, kinds in value["columns"].items()})


def _mixed_types(value: Any) -> Measured:
    return each({n: min(v["strings"], v["numbers"]) if v else 0 for n, v in value.items()})


def _string_variants(value: Any) -> Measured:
    return {
        (name,): float(sum(variant["percent"] for form in forms.values() for variant in form))
        for name, forms in value["columns"].items()
    }


def _feature_feature_correlation(value: Any) -> Measured:
    names, numbers = list(value.index), value.astype(float).to_numpy()
    pairs = ((i, j) for i in range(len(names)) for j in range(i))
    # A constant column correlates with nothing: that is no failed measurement.
    return {(names[j], names[i]): numbers[i, j] for i, j in pairs if not np.isnan(numbers[i, j])}


def _feature_drift(value: Any) -> Measured:
    scores = {name: entry["Drift score"] for name, entry in value.items()}
    # A column with too few values has a word there, or nothing.
    return each({n: s for n, s in scores.items() if isinstance(s, float | int) and not np.isnan(s)})


def _drift(value: Any) -> Measured:
    score = value["Drift score"]
    return {(): float(max(score.values()) if isinstance(score, dict) else score)}


def _weak_segments(value: Any) -> Measured:
    average = value["avg_score"]
    scores = value["weak_segments_list"].iloc[:3, 0]
    losses = [(average - score) / abs(average) if average else 1.0 for score in scores]
    return dict(zip(_segments(value), losses, strict=True))


def _segments(value: Any) -> dict[tuple[str, ...], str]:
    """The columns of the three weakest segments -> how large the segment is."""
    segments = value["weak_segments_list"].head(3)
    columns = zip(segments["Feature1"], segments["Feature2"], strict=True)
    sizes = [f" ({share:.0f} % of the rows)" for share in segments["% of Data"]]
    return dict(zip((tuple(filter(None, names)) for names in columns), sizes, strict=True))


MEASURES: dict[str, Callable[[Any], Measured]] = {
    "single_value": _single_value,
    "mixed_nulls": _mixed_nulls,
    "mixed_types": _mixed_types,
    "string_variants": _string_variants,
    "feature_feature_correlation": _feature_feature_correlation,
    "feature_drift": _feature_drift,
    "multivariate_drift": lambda value: {(): float(value["domain_classifier_drift_score"])},
    "label_drift": _drift,
    "label_correlation_change": lambda value: each(value["train-test difference"]),
    "prediction_drift": _drift,
    "weak_segments": _weak_segments,
}
NOTES = {"weak_segments": _segments}
