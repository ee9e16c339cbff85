"""The numbers behind the blessing: values as scikit-learn's, bounds that hold what they promise."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

SHARES = {"binary": np.array([0.7, 0.3]), "multiclass": np.array([0.5, 0.3, 0.2])}
COST = np.array([[0.0, -1.0, -4.0], [-10.0, 5.0, 1.0], [2.0, -3.0, 7.0]])
MEAN = 0.25


@pytest.fixture(scope="module")
def stats() -> ModuleType:
    return importlib.import_module("gatehouse.metrics.comparison")


@pytest.fixture(scope="module")
def rows() -> Any:
    return importlib.import_module("gatehouse.metrics.table").Rows


def scores(rng: Any, truth: Any, k: int, pull: float = 1.0, decimals: int = 1) -> Any:
    """Probabilities (n, k) that lean to the truth; rounding the scores makes ties."""
    raw: Any = np.round(rng.normal(size=(len(truth), k)), decimals)
    raw[np.arange(len(truth)), truth] += pull
    raw = np.exp(np.round(raw - raw[:, :1], decimals))
    return raw / raw.sum(axis=1, keepdims=True)


def two_models(stats: Any, task: str, n: int, seed: int = 0, pull: float = 1.0) -> tuple[Any, Any]:
    """Two models of one quality (``pull`` 1.0), or a candidate that is better (more) or worse."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        truth: Any = rng.normal(size=n)
        shared, ours, theirs = rng.normal(size=(3, n)) * 0.5
        return (
            stats.Predictions(truth, truth + (shared + ours) / pull + 0.1),
            stats.Predictions(truth, truth + shared + theirs + 0.1),
        )
    k = len(SHARES[task])
    truth = rng.choice(k, size=n, p=SHARES[task])
    return (
        stats.Predictions(truth, scores(rng, truth, k, pull)),
        stats.Predictions(truth, scores(rng, truth, k)),
    )


def judge(stats: Any, task: str, pair: Any, names: Any, **more: Any) -> Any:
    baseline = SHARES.get(task, MEAN)
    cost = {"binary": COST[:2, :2], "multiclass": COST}.get(task)
    wanted = [(n, "all") if isinstance(n, str) else n for n in names]
    options = {"slices": {}, "baseline": baseline, "cost": cost, **more}
    return stats.compare(*pair, wanted=wanted, **options)


def reference(metric: str, truth: Any, guess: Any, baseline: Any) -> float:
    """The same metric by scikit-learn, or by its definition where scikit-learn has none."""
    if guess.ndim == 1:
        known: dict[str, Callable[[], Any]] = {
            "r2": lambda: sk.r2_score(truth, guess),
            "rmse": lambda: sk.root_mean_squared_error(truth, guess),
            "mae": lambda: sk.mean_absolute_error(truth, guess),
            "bias": lambda: abs(guess.mean() - truth.mean()),
            "skill": lambda: (
                1
                - sk.mean_squared_error(truth, guess)
                / sk.mean_squared_error(truth, np.full(len(truth), baseline))
            ),
        }
        return float(known[metric]())
    k = guess.shape[1]
    labels, label, positive = np.arange(k), guess.argmax(axis=1), guess[:, 1]
    cost = COST[:k, :k]
    flat = np.tile(baseline, (len(truth), 1))
    known = {
        "accuracy": lambda: sk.accuracy_score(truth, label),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(truth, label),
        "log_loss": lambda: sk.log_loss(truth, guess, labels=labels),
        "skill": lambda: (
            1 - sk.log_loss(truth, guess, labels=labels) / sk.log_loss(truth, flat, labels=labels)
        ),
        "brier": lambda: (
            sk.brier_score_loss(truth, guess, labels=labels)
            if k > 2
            else sk.brier_score_loss(truth, positive, pos_label=1)
        ),
        "calibration_error": lambda: calibration_by_bin(truth, guess),
        "value": lambda: (
            1000 * sum(cost[t, g] for t, g in zip(truth, label, strict=True)) / len(truth)
        ),
        "roc_auc": lambda: sk.roc_auc_score(truth, positive),
        "average_precision": lambda: sk.average_precision_score(truth, positive),
        "precision": lambda: sk.precision_score(truth, label, zero_division=0),
        "recall": lambda: sk.recall_score(truth, label),
        "selection_rate": lambda: label.mean(),
        "f1": lambda: sk.f1_score(truth, label),
        "f1_macro": lambda: sk.f1_score(truth, label, average="macro", labels=np.unique(truth)),
    }
    return float(known[metric]())


def calibration_by_bin(truth: Any, guess: Any) -> float:
    binary = guess.shape[1] == 2
    sure = guess[:, 1] if binary else guess.max(axis=1)
    came = truth == 1 if binary else truth == guess.argmax(axis=1)
    total = 0.0
    for low in np.arange(10) / 10:
        inside = (sure >= low) & ((sure < low + 0.1) | (low == 0.9))
        total += abs(float(sure[inside].sum() - came[inside].sum()))
    return total / len(truth)


def names_of(stats: Any, task: str) -> list[str]:
    return [name for name, metric in stats.METRICS.items() if task in metric.tasks]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_values_are_those_of_scikit_learn_on_every_slice(stats: Any, task: str) -> None:
    pair = two_models(stats, task, 400, seed=3, pull=1.4)
    slices = {"odd": np.arange(400) % 2 == 1, "few": np.arange(400) < 25}
    wanted = [(m, s) for m in names_of(stats, task) for s in ("all", *slices)]
    found = judge(stats, task, pair, wanted, slices=slices)
    assert list(found) == wanted
    for (metric, name), one in found.items():
        rows = slices.get(name, np.ones(400, dtype=bool))
        values = [
            reference(metric, p.truth[rows], p.guess[rows], SHARES.get(task, MEAN)) for p in pair
        ]
        assert one.rows == rows.sum()
        assert [one.candidate, one.other] == pytest.approx(values, abs=1e-9), (metric, name)
        assert one.difference == pytest.approx(values[0] - values[1], abs=1e-9)
        if sign := stats.METRICS[metric].direction:
            assert one.low < sign * one.difference < one.high, (metric, name)
        else:
            assert (one.low, one.high) == (None, None), (metric, name)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_influence_is_what_one_row_more_adds(stats: Any, rows: Any, task: str) -> None:
    model = two_models(stats, task, 60, seed=1)[0]
    copies = np.full(60, 400)
    for metric in names_of(stats, task):
        measure, rest = stats.METRICS[metric].measure, (SHARES.get(task, MEAN), COST)
        value, influence = measure(rows(model.truth, model.guess, *rest))
        assert influence.mean() == pytest.approx(0, abs=1e-9 * np.abs(influence).max())
        for row in (0, 17, 42):
            index = np.repeat(np.arange(60), copies + 4 * (np.arange(60) == row))
            moved = measure(rows(model.truth[index], model.guess[index], *rest))[0] - value
            slope = moved * (60 + 0.01) / 0.01
            assert slope == pytest.approx(influence[row], abs=2e-3 * np.abs(influence).max()), (
                metric
            )


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("binary", "roc_auc"),
        ("binary", "f1"),
        ("binary", "average_precision"),
        ("binary", "log_loss"),
        ("multiclass", "f1_macro"),
        ("regression", "r2"),
    ],
)
def test_bounds_agree_with_a_plain_loop_over_resamples(stats: Any, task: str, metric: str) -> None:
    pair, n = two_models(stats, task, 600, seed=8, pull=1.1), 600
    sign = stats.METRICS[metric].direction
    rng, differences = np.random.default_rng(0), []
    for _ in range(300):
        rows = rng.integers(0, n, n)
        values = [reference(metric, p.truth[rows], p.guess[rows], SHARES.get(task)) for p in pair]
        differences.append(sign * (values[0] - values[1]))
    found = judge(stats, task, pair, [metric], resamples=4000)[metric, "all"]
    low, high = np.quantile(differences, [0.05, 0.95])
    # Of 300 resamples, each quantile is known to 12 % of a standard error; 3 of those.
    tolerance = 0.36 * np.std(differences)
    assert (found.low, found.high) == pytest.approx((low, high), abs=tolerance)
    assert (found.high - found.low) == pytest.approx(2 * 1.645 * np.std(differences), rel=0.15)


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "log_loss"), ("binary", "f1"), ("regression", "rmse")]
)
def test_each_bound_is_wrong_in_one_of_twenty(stats: Any, task: str, metric: str) -> None:
    wrong, times = np.zeros(2), 400
    for seed in range(times):
        pair = two_models(stats, task, 150, seed=seed)
        one = judge(stats, task, pair, [metric], resamples=300, seed=seed)[metric, "all"]
        wrong += (one.low > 0, one.high < 0)
    # 5 % of 400 is 20; a binomial count above 33 has a chance of 0.2 %, below 8 of 0.1 %.
    assert (wrong <= 33).all(), wrong
    assert (wrong >= 5).all(), wrong


def test_rare_large_losses_are_not_underrated(stats: Any) -> None:
    wrong, truth = 0, np.zeros(80)
    for seed in range(400):
        losses = np.random.default_rng(seed).lognormal(sigma=1.0, size=80)
        pair = (stats.Predictions(truth, losses), stats.Predictions(truth, truth))
        one = judge(stats, "regression", pair, ["mae"], resamples=300, seed=seed)["mae", "all"]
        wrong += one.low > -np.exp(0.5)
    # 29; without each resample's own standard error 45. No bound on 80 such rows gets down to 20.
    assert wrong <= 36, wrong


def test_pairing_narrows_the_interval(stats: Any) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 2000)
    guess = scores(rng, truth, 2, decimals=6)
    near = np.clip(guess[:, 1] + rng.normal(scale=0.02, size=2000), 0, 1)
    pair = (stats.Predictions(truth, np.c_[1 - near, near]), stats.Predictions(truth, guess))
    for metric in ("log_loss", "accuracy", "roc_auc"):
        one = judge(stats, "binary", pair, [metric])[metric, "all"]
        singles = [
            [
                reference(metric, p.truth[r], p.guess[r], None)
                for r in rng.integers(0, 2000, (60, 2000))
            ]
            for p in pair
        ]
        unpaired = 2 * 1.645 * float(np.sqrt(sum(np.var(values) for values in singles)))
        assert 0 < one.high - one.low < unpaired / 2


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy", "roc_auc", "value"])
def test_the_better_model_wins_whichever_way_is_better(stats: Any, metric: str) -> None:
    better, champion = two_models(stats, "binary", 3000, pull=1.8)
    cost = np.array([[1.0, -1.0], [-1.0, 1.0]])
    won = judge(stats, "binary", (better, champion), [metric], cost=cost)[metric, "all"]
    lost = judge(stats, "binary", (champion, better), [metric], cost=cost)[metric, "all"]
    assert won.low > 0 and lost.high < 0
    assert np.sign(won.difference) == stats.METRICS[metric].direction


def test_a_negative_r2_that_falls_is_seen_as_worse(stats: Any) -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 4000))
    pair = [stats.Predictions(truth, truth + np.sqrt(1 - r2) * noise) for r2 in (-0.9, -0.5)]
    one = judge(stats, "regression", pair, ["r2"])["r2", "all"]
    assert (one.candidate, one.other) == pytest.approx((-0.9, -0.5), abs=0.12)
    assert one.low < one.high < 0
    assert judge(stats, "regression", pair[::-1], ["r2"])["r2", "all"].low > 0


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_identical_predictions_differ_by_exactly_nothing(stats: Any, task: str) -> None:
    model = two_models(stats, task, 500)[0]
    names = [name for name in names_of(stats, task) if stats.METRICS[name].direction]
    for one in judge(stats, task, (model, model), names).values():
        assert (one.difference, one.low, one.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -0.2, 1.2])
@pytest.mark.parametrize("side", [0, 1])
def test_one_broken_probability_anywhere_undoes_its_model(
    stats: Any, broken: float, side: int
) -> None:
    pair = two_models(stats, "binary", 200)
    pair[side].guess[7] = [1 - broken, broken]
    slices = {"far": np.arange(200) >= 100}
    wanted = [("accuracy", "all"), ("accuracy", "far"), ("roc_auc", "far")]
    for one in judge(stats, "binary", pair, wanted, slices=slices).values():
        values = [one.candidate, one.other]
        assert values[side] is None and values[1 - side] is not None
        assert (one.difference, one.low, one.high) == (None, None, None)


@pytest.mark.parametrize("broken", [np.nan, -np.inf, 1e300])
def test_one_broken_value_undoes_its_model(stats: Any, broken: float) -> None:
    pair = two_models(stats, "regression", 200)
    pair[0].guess[7] = broken
    found = judge(stats, "regression", pair, ["rmse"])["rmse", "all"]
    assert found.candidate is None and found.difference is None and found.other > 0


def test_a_value_that_is_no_number_undoes_the_slices_without_it(stats: Any) -> None:
    pair = two_models(stats, "regression", 200)
    pair[0].guess[7] = np.nan
    far = {"far": np.arange(200) >= 100}
    assert (
        judge(stats, "regression", pair, [("mae", "far")], slices=far)["mae", "far"].candidate
        is None
    )


def test_probabilities_that_do_not_add_up_are_broken(stats: Any) -> None:
    pair = two_models(stats, "multiclass", 200)
    pair[0].guess[7] = 0.5
    assert judge(stats, "multiclass", pair, ["accuracy"])["accuracy", "all"].candidate is None


def test_what_is_undefined_is_none(stats: Any) -> None:
    pair = two_models(stats, "binary", 300)
    slices = {
        "none": np.zeros(300, dtype=bool),
        "no": pair[0].truth == 0,
        "one": np.arange(300) == 0,
    }
    one_class = ["roc_auc", "average_precision", "recall", "f1", "skill"]
    wanted = [("accuracy", "none"), *((metric, "no") for metric in one_class), ("accuracy", "no")]
    found = judge(stats, "binary", pair, [*wanted, ("accuracy", "one")], slices=slices)
    for key in wanted[:-1]:
        assert (found[key].candidate, found[key].low) == (None, None), key
    assert found["accuracy", "none"].rows == 0
    assert found["accuracy", "no"].candidate is not None and found["accuracy", "one"].rows == 1


def test_a_baseline_without_loss_leaves_no_skill(stats: Any) -> None:
    flat = np.full(50, 2.0)
    pair = [stats.Predictions(flat, flat + shift) for shift in (0.1, 0.2)]
    found = judge(stats, "regression", pair, ["skill", "r2", "rmse"], baseline=2.0)
    assert found["skill", "all"].candidate is None and found["r2", "all"].candidate is None
    assert found["rmse", "all"].difference == pytest.approx(-0.1)


def test_what_was_not_given_is_none(stats: Any) -> None:
    pair = two_models(stats, "binary", 100)
    found = judge(stats, "binary", pair, ["skill", "value"], baseline=None, cost=None)
    assert [one.candidate for one in found.values()] == [None, None]


def test_a_single_model_has_values_and_no_difference(stats: Any) -> None:
    pair = (two_models(stats, "binary", 100)[0], None)
    one = judge(stats, "binary", pair, ["accuracy"])["accuracy", "all"]
    assert one.candidate > 0.5
    assert (one.other, one.difference, one.low, one.high) == (None, None, None, None)


def test_the_seed_decides_and_company_does_not(stats: Any) -> None:
    pair = two_models(stats, "binary", 9000)
    slices = {"half": np.arange(9000) % 2 == 0}
    alone = judge(stats, "binary", pair, ["f1"])["f1", "all"]
    again = judge(stats, "binary", pair, ["f1"])["f1", "all"]
    other = judge(stats, "binary", pair, ["f1"], seed=1)["f1", "all"]
    wanted = [("roc_auc", "half"), ("f1", "all"), ("f1", "half")]
    amid = judge(stats, "binary", pair, wanted, slices=slices)["f1", "all"]
    assert alone == again and alone.low != other.low
    assert (amid.low, amid.high) == pytest.approx((alone.low, alone.high), abs=1e-6)


def test_a_few_rows_are_no_certainty(stats: Any) -> None:
    truth = np.ones(300, dtype=np.int64)
    right = np.tile([0.1, 0.9], (300, 1))
    wrong = right.copy()
    wrong[:3] = [0.9, 0.1]
    pair = (stats.Predictions(truth, right), stats.Predictions(truth, wrong))
    one = judge(stats, "binary", pair, ["accuracy"])["accuracy", "all"]
    assert one.difference == pytest.approx(3 / 300) and one.low < 0 < one.high
