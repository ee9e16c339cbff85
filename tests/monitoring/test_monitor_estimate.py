"""Estimates without labels: near the truth where they can be, and said to be none where not."""

import importlib
import math
import time
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

SHARES = {2: np.array([0.6, 0.4]), 3: np.array([0.5, 0.3, 0.2])}
COST = np.array([[0.0, -1.0, -4.0], [-10.0, 5.0, 1.0], [2.0, -3.0, 7.0]])
NUMBERS = ["rmse", "mae", "r2", "skill", "bias"]
KINDS = {"x": "number", "c": "string"}


@pytest.fixture(scope="module")
def estimate() -> ModuleType:
    return importlib.import_module("gatehouse.monitoring.estimate")


@pytest.fixture(scope="module")
def stats() -> ModuleType:
    return importlib.import_module("gatehouse.metrics.comparison")


def classified(
    stats: Any, rng: Any, rows: int, k: int = 2, shift: float = 0, turn: float = 0
) -> Any:
    """An over-confident model. ``shift`` moves the rows, ``turn`` the answers to the same rows."""
    score = rng.normal(size=(rows, k)) * np.linspace(0.5, 1.5, k) + shift * np.arange(k)
    truth = (score + turn * np.arange(k)[::-1] + rng.gumbel(size=(rows, k))).argmax(axis=1)
    guess = np.exp(1.7 * score)
    return stats.Predictions(truth, guess / guess.sum(axis=1, keepdims=True))


def valued(stats: Any, rng: Any, rows: int, shift: float = 0, turn: float = 0) -> Any:
    """Features, and a model whose errors grow with x. ``turn`` moves the target, not the rows."""
    x, c = rng.normal(shift, 1, rows), rng.integers(0, 4, rows)
    noise = (0.3 + 0.5 * np.abs(x)) * rng.normal(size=rows)
    features = pa.table({"x": x, "c": np.array(list("abcd"))[c]})
    return features, stats.Predictions(2 * x + c + noise + turn, 2 * x + 1.5)


def names_of(stats: Any, task: str) -> list[str]:
    return [name for name, metric in stats.METRICS.items() if task in metric.tasks]


def real(stats: Any, name: str, live: Any, baseline: Any, cost: Any = None) -> float:
    rows = importlib.import_module("gatehouse.metrics.table").Rows
    measured = stats.METRICS[name].measure(rows(live.truth, live.guess, baseline, cost))
    return float(measured[0])


def ask(estimate: Any, known: Any, guess: Any, names: Any, **more: Any) -> Any:
    k = known.guess.shape[1]
    options = {"baseline": SHARES[k], "cost": COST[:k, :k], **more}
    return estimate.classification(known, guess, names, **options)


@pytest.mark.parametrize("shift", [0, 0.8])
@pytest.mark.parametrize(("k", "task"), [(2, "binary"), (3, "multiclass")])
def test_every_metric_of_classes_is_near_the_truth(
    estimate: ModuleType, stats: ModuleType, k: int, task: str, shift: float
) -> None:
    names, inside = names_of(stats, task), []
    for seed in range(3):
        rng = np.random.default_rng([k, seed])
        known, live = classified(stats, rng, 1500, k), classified(stats, rng, 600, k, shift)
        found = ask(estimate, known, live.guess, names, seed=seed)
        for name in names:
            one, value = found[name], real(stats, name, live, SHARES[k], COST[:k, :k])
            assert one.reliable and one.low <= one.value <= one.high, (name, one)
            assert abs(one.value - value) < 2.5 * (one.high - one.low) / 2 + 1e-9, (
                name,
                one,
                value,
            )
            inside.append(one.low - 1e-9 <= value <= one.high + 1e-9)
    assert np.mean(inside) > 0.7  # 95 % is meant; the metrics of one run err together


@pytest.mark.parametrize("shift", [0, 0.8])
def test_every_metric_of_numbers_is_near_the_truth(
    estimate: ModuleType, stats: ModuleType, shift: float
) -> None:
    inside, moved = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        (old, known), (new, live) = valued(stats, rng, 2000), valued(stats, rng, 800, shift)
        found = estimate.regression(old, known, new, live.guess, NUMBERS, KINDS, baseline=1.5)
        for name in NUMBERS:
            one, value = found[name], real(stats, name, live, 1.5)
            assert one.reliable, one.why
            inside.append(one.low <= value <= one.high)
        moved.append(found["rmse"].value / real(stats, "rmse", known, 1.5))
    assert np.mean(inside) > 0.7
    assert (np.mean(moved) > 1.025) == (shift > 0)  # it does see that rows are harder


def test_other_answers_to_the_same_rows_are_a_gap_that_labels_show(
    estimate: ModuleType, stats: ModuleType
) -> None:
    rng = np.random.default_rng(1)
    known, live = classified(stats, rng, 2000), classified(stats, rng, 800, turn=2)
    one = ask(estimate, known, live.guess, ["accuracy"])["accuracy"]
    assert real(stats, "accuracy", live, None) < one.low - 0.05
    (old, pairs), (new, after) = valued(stats, rng, 2000), valued(stats, rng, 800, turn=3)
    one = estimate.regression(old, pairs, new, after.guess, ["rmse"], KINDS)["rmse"]
    assert real(stats, "rmse", after, None) > one.high + 1


def test_weights_help_where_the_probability_does_not_say_it_all(
    estimate: ModuleType, stats: ModuleType
) -> None:
    domain = importlib.import_module("gatehouse.monitoring.domain")
    missed = []
    for seed in range(3):
        rng = np.random.default_rng([2, seed])
        sides = []
        for shift in (0, 1):
            seen, unseen = rng.normal(shift, 1, (2, 3000))
            chance = 1 / (1 + np.exp(-np.array([seen, seen + unseen])))
            truth = (rng.random(3000) < chance[1]).astype(np.int64)
            guess = np.column_stack([1 - chance[0], chance[0]])
            table = pa.table({"x": seen, "z": unseen})
            sides.append((table, stats.Predictions(truth, guess)))
        (old, known), (new, live) = sides
        weights = domain.weights(old, new, {"x": "number", "z": "number"})
        value = real(stats, "precision", live, None)
        for more in ({}, {"weights": weights}):
            one = ask(estimate, known, live.guess, ["precision"], **more)["precision"]
            missed.append(abs(one.value - value))
    plain, weighted = np.array(missed).reshape(3, 2).mean(axis=0)
    assert weighted < 0.5 * plain


UNSURE: dict[str, tuple[dict[str, Any], str]] = {
    "few labels": ({"old": 200}, "the reference has 200 labelled rows, and 300 are asked for"),
    "few rows": ({"new": 50}, "there are 50 live rows, and 100 are asked for"),
    "unlike": ({"domain_auc": 0.95}, "too unlike the reference"),
    "outside": ({"old": 3000, "narrow": True}, "lie outside those of the reference"),
    "rare": ({"rare": True}, "a class has only 5 rows"),
    "random": ({"weights": True}, "resemble too few"),
}


@pytest.mark.parametrize("case", UNSURE)
def test_what_cannot_be_trusted_says_why(
    estimate: ModuleType, stats: ModuleType, case: str
) -> None:
    how, why = UNSURE[case]
    rng = np.random.default_rng(3)
    known, live = classified(stats, rng, how.get("old", 1000)), classified(stats, rng, 500)
    more: dict[str, Any] = {"domain_auc": how.get("domain_auc")}
    if "narrow" in how:
        inner = np.abs(known.guess[:, 1] - 0.5) < 0.2
        known = stats.Predictions(known.truth[inner], known.guess[inner])
    if "rare" in how:
        truth = np.zeros(1000, dtype=np.int64)
        truth[:5] = 1
        known = stats.Predictions(truth, known.guess)
    if "weights" in how:
        more["weights"] = np.where(np.arange(1000) < 20, 1.0, 1e-6)
    guess = live.guess[: how.get("new", 500)]
    one = ask(estimate, known, guess, ["accuracy"], **more)["accuracy"]
    assert not one.reliable and why in one.why and math.isfinite(one.value)


def test_probabilities_that_cannot_be_calibrated_are_said_to_be(
    estimate: ModuleType, stats: ModuleType
) -> None:
    rng = np.random.default_rng(4)
    # The answer is periodic in the score, which neither a line nor a rising step can follow.
    guess = rng.random(4000)
    truth = (rng.random(4000) < 0.5 + 0.45 * np.sign(np.sin(12 * guess))).astype(np.int64)
    both = np.column_stack([1 - guess, guess])
    one = ask(estimate, stats.Predictions(truth, both), both, ["accuracy"])["accuracy"]
    assert not one.reliable and "cannot be calibrated" in one.why


def test_regression_says_why_not(estimate: ModuleType, stats: ModuleType) -> None:
    rng = np.random.default_rng(5)
    (old, known), (new, live) = valued(stats, rng, 1000), valued(stats, rng, 300)

    def why(*sides: Any, **more: Any) -> str:
        return str(estimate.regression(*sides, ["rmse"], KINDS, **more)["rmse"].why)

    few = stats.Predictions(known.truth[:100], known.guess[:100])
    assert "labelled rows" in why(old.slice(0, 100), few, new, live.guess)
    assert "live rows" in why(old, known, new.slice(0, 20), live.guess[:20])
    assert "too unlike" in why(old, known, new, live.guess, domain_auc=0.9)
    assert "outside" in why(old, known, new, live.guess + 100)


def test_nothing_to_go_by_is_no_number(estimate: ModuleType, stats: ModuleType) -> None:
    rng = np.random.default_rng(6)
    known = classified(stats, rng, 1000)
    one_class = stats.Predictions(np.zeros(1000, dtype=np.int64), known.guess)
    none = stats.Predictions(known.truth[:0], known.guess[:0])
    for old, new in ((known, known.guess[:0]), (one_class, known.guess), (none, known.guess)):
        one = ask(estimate, old, new, ["accuracy"])["accuracy"]
        assert (one.value, one.low, one.high, one.reliable) == (None, None, None, False) and one.why
    old, pairs = valued(stats, rng, 500)
    for known_rows, live_rows in ((0, 500), (500, 0), (3, 3)):
        few = stats.Predictions(pairs.truth[:known_rows], pairs.guess[:known_rows])
        sides = old.slice(0, known_rows), few, old.slice(0, live_rows), pairs.guess[:live_rows]
        one = estimate.regression(*sides, ["rmse"], KINDS)["rmse"]
        assert one.value is None and not one.reliable and one.why
    [one] = estimate.classification(known, known.guess, ["skill"]).values()
    assert one.value is None and one.why == "it is not defined on these rows"


def test_hard_probabilities_and_a_perfect_model_are_no_accident(
    estimate: ModuleType, stats: ModuleType
) -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 2, 1000)
    sure = np.eye(2)[truth]
    one = ask(estimate, stats.Predictions(truth, sure), sure[:300], ["accuracy"])["accuracy"]
    assert one.value > 0.99 and one.high <= 1.01
    features, pairs = valued(stats, rng, 500)
    right = stats.Predictions(pairs.truth, pairs.truth)
    found = estimate.regression(features, right, features, right.guess, NUMBERS, KINDS, baseline=0)
    assert found["rmse"].value == pytest.approx(0, abs=1e-6) and found["r2"].value > 0.999


def test_a_hundred_thousand_rows_take_seconds(estimate: ModuleType, stats: ModuleType) -> None:
    rng = np.random.default_rng(8)
    known, live = classified(stats, rng, 5000), classified(stats, rng, 100_000)
    start = time.process_time()
    first = ask(estimate, known, live.guess, ["skill", "roc_auc"])
    assert time.process_time() - start < 15  # one on an idle core
    assert first == ask(estimate, known, live.guess, ["skill", "roc_auc"])
