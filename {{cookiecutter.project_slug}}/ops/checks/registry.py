"""Every check by its name in `gates.yaml`: what runs, which condition holds, what it measures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import exact
from .exact import Measured, NotApplicable

CLASSIFICATION = ("binary", "multiclass")


@dataclass(frozen=True)
class Spec:
    """One check. Either `exact` computes it, or the Deepchecks class named `deepchecks` does.

    `limit` is the name of the threshold in `gates.yaml` ("" for none), which goes, in the given
    `shape`, to each of the `arguments` of the condition. `scorers` is the name of that option of
    the class, with the metrics for classification and for regression. `measure` turns the value
    of the result into {columns: number}. `noise` widens the limit by what chance alone does to
    that many rows.
    """

    stage: str
    what: str
    fix: str
    limit: str = "max"
    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")
    exact: Callable[..., Measured] | None = None
    deepchecks: str = ""
    condition: str = ""
    arguments: tuple[str, ...] = ()
    shape: Callable[[float], Any] = lambda limit: limit
    options: dict[str, Any] = field(default_factory=dict)
    scorers: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    measure: Callable[[Any], Measured] = lambda value: _each(value)
    side: str = ""
    noise: float = 0


def _each(value: dict[str, Any]) -> Measured:
    return {(name,): float(number) for name, number in value.items()}


def _nulls(value: Any) -> Measured:
    return {(name,): float(len(kinds)) for name, kinds in value["columns"].items()}


def _mixed(value: Any) -> Measured:
    return {(n,): min(v["strings"], v["numbers"]) if v else 0.0 for n, v in value.items()}


def _variants(value: Any) -> Measured:
    return {
        (name,): float(sum(v["percent"] for variants in forms.values() for v in variants))
        for name, forms in value["columns"].items()
    }


def _pairs(value: Any) -> Measured:
    names, numbers = list(value.index), value.astype(float).to_numpy()
    pairs = ((i, j) for i in range(len(names)) for j in range(i))
    # A constant column correlates with nothing: that is no failed measurement.
    return {(names[j], names[i]): numbers[i, j] for i, j in pairs if numbers[i, j] == numbers[i, j]}


def _drift(value: Any) -> Measured:
    # Deepchecks writes a word instead of a number for a column with too few values.
    scores = {name: entry["Drift score"] for name, entry in value.items()}
    return {(n,): float(s) for n, s in scores.items() if isinstance(s, float | int) and s == s}


def _score(value: Any) -> Measured:
    scores = value["Drift score"]
    return {(): float(max(scores.values()) if isinstance(scores, dict) else scores)}


def _gap(value: Any) -> Measured:
    table = value.pivot_table(index="Metric", columns="Dataset", values="Value", dropna=False)
    drops = [
        (train - test) / abs(train) if train else float(test != 0)
        for train, test in zip(table["Train"], table["Test"], strict=True)
    ]
    return {(): float(max(drops))}


def _gain(value: Any) -> Measured:
    ((metric, scores),) = value["scores"].items()
    perfect, simple = value["scorers_perfect"][metric], scores["Simple"]
    if scores["Origin"] == perfect or simple == perfect:
        raise NotApplicable("a score is perfect, so no gain can be computed")
    return {(): float((scores["Origin"] - simple) / (perfect - simple))}


def _weakest(value: Any) -> Measured:
    worst, average = value["weak_segments_list"].iloc[0], value["avg_score"]
    names = tuple(name for name in (worst["Feature1"], worst["Feature2"]) if name)
    return {names: float((average - worst.iloc[0]) / abs(average)) if average else 1.0}


def _confused(value: Any) -> Measured:
    cells = value.to_numpy(dtype=float, copy=True)
    total = cells.sum()
    np.fill_diagonal(cells, 0)
    return {(): float(cells.max() / total)}


def _bias(value: Any) -> Measured:
    if not value["RMSE"]:
        raise NotApplicable("every prediction is exact")
    return {(): float(abs(value["Mean Prediction Error"]) / value["RMSE"])}


CHECKS = {
    "target_unusable": Spec(
        "data",
        "share of rows without a usable target",
        "Mend or drop the rows without a target, or complete `classes` in schema.yaml.",
        exact=exact.target_unusable,
    ),
    "duplicates": Spec(
        "data",
        "share of rows that repeat an earlier row",
        "Remove the repeated rows at the source, or name an id_column if they are real.",
        exact=exact.duplicates,
    ),
    "conflicting_labels": Spec(
        "data",
        "share of rows with equal features and different targets",
        "Look at how these rows got their target, or add the feature that tells them apart.",
        tasks=CLASSIFICATION,
        exact=exact.conflicting_labels,
    ),
    "missing_values": Spec(
        "data",
        "share of missing values",
        "Find out why the column is empty; fill it at the source, or give it `role: ignore`.",
        exact=exact.missing_values,
    ),
    "single_value": Spec(
        "data",
        "columns with one value only (1 = yes)",
        "Give the column `role: ignore` in schema.yaml, or find out why it never varies.",
        limit="",
        deepchecks="IsSingleValue",
        condition="not_single_value",
        measure=lambda value: {(n,): float(count == 1) for n, count in value.items()},
    ),
    "mixed_nulls": Spec(
        "data",
        "ways to write a missing value in one column",
        "Name all of them as null values where the data is read, so that they become missing.",
        deepchecks="MixedNulls",
        condition="different_nulls_less_equal_to",
        arguments=("max_allowed_null_types",),
        measure=_nulls,
    ),
    "mixed_types": Spec(
        "data",
        "share of the rarer kind where text and numbers mix",
        "Correct the values of the rarer kind at the source, or split the column in two.",
        deepchecks="MixedDataTypes",
        condition="rare_type_ratio_not_in_range",
        measure=_mixed,
        limit="rare_below",
        arguments=("ratio_range",),
        shape=lambda limit: (0, limit),
    ),
    "string_variants": Spec(
        "data",
        "share of values spelt in several ways (case, punctuation)",
        "Agree on one spelling and apply it where the data is read.",
        deepchecks="StringMismatch",
        condition="ratio_variants_less_or_equal",
        arguments=("max_ratio",),
        measure=_variants,
    ),
    "special_characters": Spec(
        "data",
        "share of values made of special characters only",
        "Replace placeholders such as dashes or question marks by missing values.",
        deepchecks="SpecialCharacters",
        condition="ratio_of_special_characters_less_or_equal",
        arguments=("max_ratio",),
    ),
    "feature_label_correlation": Spec(
        "data",
        "predictive power of a single feature",
        "Make sure the feature is known before the target is; if not, give it `role: ignore`.",
        deepchecks="FeatureLabelCorrelation",
        condition="feature_pps_less_than",
        arguments=("threshold",),
    ),
    "identifier_label_correlation": Spec(
        "data",
        "predictive power of the id or time column",
        "Find out why the order of the rows tells the target, and split by time if it must.",
        deepchecks="IdentifierLabelCorrelation",
        condition="pps_less_or_equal",
        arguments=("max_pps",),
    ),
    "feature_feature_correlation": Spec(
        "data",
        "correlation of two features",
        "Drop one feature of each pair, or accept it with a higher limit.",
        deepchecks="FeatureFeatureCorrelation",
        condition="max_number_of_pairs_above_threshold",
        arguments=("threshold",),
        fixed={"n_pairs": 0},
        measure=_pairs,
    ),
    "row_id_overlap": Spec(
        "model",
        "rows that are both in train and in test",
        "Run the split again; a row must be on one side only.",
        exact=exact.row_id_overlap,
    ),
    "row_overlap": Spec(
        "model",
        "share of test rows copied from train",
        "Use `identity: content` in schema.yaml, so that equal rows stay on one side.",
        exact=exact.row_overlap,
    ),
    "time_overlap": Spec(
        "model",
        "share of test rows older than the newest train row",
        "Run the split again, by time, so that the model is judged on its future only.",
        exact=exact.time_overlap,
    ),
    "new_categories": Spec(
        "model",
        "share of test rows with a category unknown to train",
        "Group rare categories, or retrain on data that has the new ones.",
        exact=exact.new_categories,
    ),
    "new_classes": Spec(
        "model",
        "share of test rows with a class unknown to train",
        "Collect more rows of the class, or merge it with another.",
        tasks=CLASSIFICATION,
        exact=exact.new_classes,
    ),
    "feature_drift": Spec(
        "model",
        "drift of a feature from train to test",
        "Find out what changed in the feature; retrain on newer rows or drop it.",
        deepchecks="FeatureDrift",
        condition="drift_score_less_than",
        arguments=("max_allowed_categorical_score", "max_allowed_numeric_score"),
        measure=_drift,
        noise=1,
    ),
    "multivariate_drift": Spec(
        "model",
        "how well train and test can be told apart",
        "See which features drift; a split by time shows what changed over time.",
        deepchecks="MultivariateDrift",
        condition="overall_drift_value_less_than",
        arguments=("max_drift_value",),
        measure=lambda value: {(): float(value["domain_classifier_drift_score"])},
        noise=1,
    ),
    "label_drift": Spec(
        "model",
        "drift of the target from train to test",
        "Check how the target is recorded, then retrain on newer rows.",
        deepchecks="LabelDrift",
        condition="drift_score_less_than",
        arguments=("max_allowed_drift_score",),
        measure=_score,
        noise=1,
    ),
    "label_correlation_change": Spec(
        "model",
        "change of a feature's predictive power from train to test",
        "Look for a feature that knows the target in train but not in test.",
        deepchecks="FeatureLabelCorrelationChange",
        condition="feature_pps_difference_less_than",
        arguments=("threshold",),
        measure=lambda value: _each(value["train-test difference"]),
        noise=1,
    ),
    "prediction_drift": Spec(
        "model",
        "drift of the predictions from train to test",
        "Compare with feature and target drift to see whether the model or the data moved.",
        deepchecks="PredictionDrift",
        condition="drift_score_less_than",
        arguments=("max_allowed_drift_score",),
        measure=_score,
        noise=1,
    ),
    "performance_gap": Spec(
        "model",
        "relative loss of performance from train to test",
        "The model learnt rows by heart: regularise it, or give it more rows.",
        deepchecks="TrainTestPerformance",
        condition="train_test_relative_degradation_less_than",
        arguments=("threshold",),
        scorers=("scorers", ("accuracy", "f1_weighted"), ("neg_rmse", "neg_mae")),
        measure=_gap,
        noise=1,
    ),
    "simple_model": Spec(
        "model",
        "gain over a model that always answers the same",
        "Look for better features; a constant does nearly as well as this model.",
        limit="min",
        deepchecks="SimpleModelComparison",
        condition="gain_greater_than",
        arguments=("min_allowed_gain",),
        options={"strategy": "most_frequent"},
        scorers=("alternative_scorers", ("f1_macro",), ("neg_rmse",)),
        measure=_gain,
    ),
    "weak_segments": Spec(
        "model",
        "relative loss of performance in the weakest segment",
        "Collect more rows of the segment, or name it as a slice in gates.yaml.",
        deepchecks="WeakSegmentsPerformance",
        condition="segments_relative_performance_greater_than",
        arguments=("max_ratio_change",),
        measure=_weakest,
        side="test",
        # The worst of some hundred segments of a twentieth of the rows.
        noise=4,
    ),
    "confusion": Spec(
        "model",
        "share of test rows in the largest cell of wrong answers",
        "See which two classes are confused, and add a feature that tells them apart.",
        tasks=CLASSIFICATION,
        deepchecks="ConfusionMatrixReport",
        condition="misclassified_samples_lower_than_condition",
        arguments=("misclassified_samples_threshold",),
        measure=_confused,
        side="test",
    ),
    "error_bias": Spec(
        "model",
        "mean error as a share of its size (RMSE)",
        "The model answers too high or too low on average: retrain it on newer rows.",
        tasks=("regression",),
        deepchecks="RegressionErrorDistribution",
        condition="systematic_error_ratio_to_rmse_less_than",
        arguments=("max_ratio",),
        measure=_bias,
        side="test",
        noise=1,
    ),
}
