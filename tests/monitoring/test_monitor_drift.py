"""Drift: quiet on unchanged data, found where it is, and an answer to anything a table may hold."""

import importlib
import math
import time
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

KINDS = {
    "height": "number",
    "visits": "integer",
    "member": "boolean",
    "city": "string",
    "delay": "number",
    "booked": "datetime",
}
CITIES = np.array(["Aalen", "Bonn", "Celle", "Daun", "Emden", "Fulda"])


@pytest.fixture(scope="module")
def drift() -> ModuleType:
    return importlib.import_module("gatehouse.monitoring.drift")


@pytest.fixture(scope="module")
def domain() -> ModuleType:
    return importlib.import_module("gatehouse.monitoring.domain")


def table(rng: Any, rows: int, **changed: Any) -> pa.Table:
    """Columns of every type; ``changed`` replaces some."""
    values: dict[str, Any] = {
        "height": rng.normal(size=rows),
        "visits": rng.poisson(3, rows),
        "member": rng.random(rows) < 0.2,
        "city": CITIES[rng.integers(0, len(CITIES), rows)],
        "delay": np.where(rng.random(rows) < 0.1, np.nan, rng.exponential(size=rows)),
        "booked": pa.array(rng.integers(0, 10**12, rows)).cast(pa.timestamp("us")),
    }
    values |= {name: change(rng, rows) for name, change in changed.items()}
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in values.items()})


def by_name(found: Any) -> dict[str, Any]:
    return {one.name: one for one in found}


def sound(found: Any) -> None:
    """Each column has an answer or a reason, never NaN."""
    for one in found:
        said = (one.distance, one.p, one.q)
        if one.reason:
            assert said == (None, None, None) and not one.drifted
        else:
            assert all(math.isfinite(value) and 0 <= value <= 1 for value in said), one


@pytest.mark.parametrize(("old", "new"), [(100, 100), (3000, 300)])
def test_unchanged_data_is_quiet(drift: ModuleType, old: int, new: int) -> None:
    chances, runs, alarms = [], 60, 0
    for seed in range(runs):
        rng = np.random.default_rng([old, seed])
        found = drift.columns(table(rng, old), table(rng, new), KINDS, seed=seed)
        chances += [one.p for one in found]
        alarms += any(one.drifted for one in found)
    # 360 chances: 5 % is 18, and four standard errors are 4.6 points.
    assert 0.005 < np.mean(np.array(chances) <= 0.05) < 0.1
    assert 0.4 < np.mean(chances) < 0.6
    assert alarms <= 9  # 5 % of 60 is 3


SHIFTS = {
    "height": lambda rng, rows: rng.normal(0.5, 1, rows),
    "visits": lambda rng, rows: rng.poisson(4.5, rows),
    "member": lambda rng, rows: rng.random(rows) < 0.4,
    "city": lambda rng, rows: CITIES[np.minimum(rng.integers(0, 9, rows), 5)],
    "delay": lambda rng, rows: np.where(rng.random(rows) < 0.3, np.nan, rng.exponential(size=rows)),
    "booked": lambda rng, rows: pa.array(rng.integers(5 * 10**11, 2 * 10**12, rows)).cast(
        pa.timestamp("us")
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_shift_is_found_where_it_is(drift: ModuleType, name: str) -> None:
    rng = np.random.default_rng(1)
    new = table(rng, 500, **{name: SHIFTS[name]})
    found = by_name(drift.columns(table(rng, 3000), new, KINDS))
    assert [one for one in KINDS if found[one].drifted] == [name]


def test_a_wider_spread_is_found(drift: ModuleType) -> None:
    rng = np.random.default_rng(1)
    new = table(rng, 500, height=lambda rng, rows: rng.normal(0, 2, rows))
    assert by_name(drift.columns(table(rng, 3000), new, KINDS))["height"].drifted


def test_a_small_shift_is_significant_but_no_drift(drift: ModuleType) -> None:
    rng = np.random.default_rng(1)
    old = table(rng, 50_000)
    new = table(rng, 50_000, height=lambda rng, rows: rng.normal(0.08, 1, rows))
    one = by_name(drift.columns(old, new, KINDS))["height"]
    assert one.q <= 0.05 and one.distance == pytest.approx(0.032, abs=0.015) and not one.drifted
    assert by_name(drift.columns(old, new, KINDS, effect=0.01))["height"].drifted


def test_the_distance_is_what_scipy_calls_it_and_so_is_p(drift: ModuleType) -> None:
    from scipy.stats import fisher_exact, ks_2samp

    rng = np.random.default_rng(3)
    for size in (40, 200):
        old, new = rng.normal(size=1000), rng.normal(0.2, 1, size)
        tables = (pa.table({"x": old}), pa.table({"x": new}))
        one = drift.columns(*tables, {"x": "number"})[0]
        theirs = ks_2samp(old, new)
        assert one.distance == pytest.approx(theirs.statistic, abs=0.03)
        assert one.p == pytest.approx(theirs.pvalue, rel=0.5, abs=0.03)
        flags = [np.arange(1000) < 300, np.arange(size) < size * 0.4]
        one = drift.columns(*(pa.table({"x": x}) for x in flags), {"x": "boolean"})[0]
        counts = [[flag.sum(), len(flag) - flag.sum()] for flag in flags]
        assert one.distance == pytest.approx(0.1)
        assert one.p == pytest.approx(fisher_exact(counts).pvalue, rel=0.35)


def test_one_of_many_columns_is_still_found(drift: ModuleType) -> None:
    rng = np.random.default_rng(4)
    kinds = {f"c{j}": "number" for j in range(2000)}
    old = {name: rng.normal(size=2000) for name in kinds}
    new = {name: rng.normal(size=300) for name in kinds}
    new["c17"] = new["c17"] + 0.6
    start = time.process_time()
    found = drift.columns(pa.table(old), pa.table(new), kinds)
    assert time.process_time() - start < 24
    assert [one.name for one in found if one.drifted] == ["c17"]


def test_high_cardinality_is_no_drift(drift: ModuleType) -> None:
    rng = np.random.default_rng(5)

    def names(rows: int) -> pa.Table:
        ids = [f"id-{i}" for i in rng.integers(0, 10**9, rows)]
        return pa.table({"id": ids, "shop": [f"s{i}" for i in rng.zipf(1.5, rows) % 5000]})

    kinds = {"id": "string", "shop": "string"}
    alarms = [
        one.p <= 0.05
        for seed in range(20)
        for one in drift.columns(names(2000), names(300), kinds, seed=seed)
    ]
    assert sum(alarms) <= 6  # 5 % of 40 is 2
    moved = pa.table({"id": ["new"] * 300, "shop": ["new"] * 300})
    assert all(one.drifted for one in drift.columns(names(2000), moved, kinds))


ODD: dict[str, Any] = {
    "empty": [],
    "one": [1.5],
    "constant": [2.0] * 40,
    "missing": [None] * 40,
    "huge": [1e308, -1e308, math.inf, -math.inf, math.nan, 0.0] * 10,
    "text": ["x", None, ""] * 10,
    "flags": [True, False, None] * 10,
    "many": [f"v{i}" for i in range(3000)],
}


@pytest.mark.parametrize("kind", ["integer", "number", "boolean", "string", "datetime", "?"])
def test_anything_has_an_answer_or_a_reason(
    drift: ModuleType, domain: ModuleType, kind: str
) -> None:
    for old in ODD.values():
        for new in ODD.values():
            tables = (pa.table({"x": old}), pa.table({"x": new}))
            found = drift.columns(*tables, {"x": kind, "absent": kind})
            sound(found)
            assert found[1].reason
            whole = domain.domain(*tables, {"x": kind})
            assert whole.reason or 0 <= whole.low <= whole.auc <= 1


def test_what_cannot_be_said_says_why(drift: ModuleType) -> None:
    text, number, none = (pa.table({"x": x}) for x in (["a", "b"], [1.0, 2.0], pa.array([], "f8")))

    def why(*tables: pa.Table) -> Any:
        return drift.columns(*tables, {"x": "number"})[0].reason

    assert why(number, text) == "its values are string, not number"
    assert why(number, none) == "the current table has no rows"
    assert why(number, pa.table({"y": [1.0]})) == "the current table has no such column"
    assert drift.columns(number, number, {}) == []


def test_nothing_known_on_both_sides_is_no_drift(drift: ModuleType) -> None:
    for same in ([None] * 50, [7.0] * 50):
        tables = [pa.table({"x": pa.array(same, pa.float64())})] * 2
        [one] = drift.columns(*tables, {"x": "number"})
        assert (one.distance, one.p, one.drifted) == (0, 1, False)


def test_the_same_seed_gives_the_same_answer(drift: ModuleType) -> None:
    rng = np.random.default_rng(6)
    tables = table(rng, 150_000), table(rng, 2000)
    first = drift.columns(*tables, KINDS, seed=3)
    assert first == drift.columns(*tables, KINDS, seed=3)
    assert first[0].rows == (20_000, 2000)


def joint(rng: Any, rows: int, together: float) -> pa.Table:
    x, noise = rng.normal(size=(2, rows))
    y = together * x + math.sqrt(1 - together**2) * noise
    return pa.table({"x": x, "y": y, "z": rng.normal(size=rows)})


def test_a_joint_shift_is_seen_by_the_classifier_alone(
    drift: ModuleType, domain: ModuleType
) -> None:
    rng = np.random.default_rng(7)
    kinds = dict.fromkeys("xyz", "number")
    old, new = joint(rng, 2000, 0.8), joint(rng, 600, -0.8)
    assert not any(one.drifted for one in drift.columns(old, new, kinds))
    seen = domain.domain(old, new, kinds)
    assert seen.drifted and seen.low > 0.75 and seen.p < 1e-6
    assert {name for name, _ in seen.columns} == {"x", "y"}


def test_the_classifier_is_quiet_on_unchanged_data(domain: ModuleType) -> None:
    found = []
    for seed in range(6):
        rng = np.random.default_rng([8, seed])
        found.append(domain.domain(table(rng, 900), table(rng, 300), KINDS, seed=seed))
    assert not any(one.drifted for one in found)
    assert sum(one.p <= 0.05 for one in found) <= 2
    assert 0.46 < np.mean([one.auc for one in found]) < 0.54


def test_weights_say_which_reference_rows_are_alike(domain: ModuleType) -> None:
    rng = np.random.default_rng(9)
    old, new = (pa.table({"x": rng.normal(shift, 1, 3000)}) for shift in (0, 1))
    weights = domain.weights(old, new, {"x": "number"})
    assert weights.mean() == pytest.approx(1) and (weights > 0).all()
    assert np.average(old["x"].to_numpy(), weights=weights) == pytest.approx(1, abs=0.2)
    assert (domain.weights(old, new.slice(0, 3), {"x": "number"}) == 1).all()


def test_predictions_drift_like_columns(drift: ModuleType) -> None:
    rng = np.random.default_rng(10)

    def guess(rows: int, shift: float) -> Any:
        p = 1 / (1 + np.exp(-rng.normal(shift, 1, rows)))
        return np.column_stack([1 - p, p])

    same = drift.predictions(guess(2000, 0), guess(500, 0), ["no", "yes"])
    moved = drift.predictions(guess(2000, 0), guess(500, 0.7), ["no", "yes"])
    assert [one.name for one in same] == ["prediction", "p_1"]
    assert not any(one.drifted for one in same) and all(one.drifted for one in moved)
    [one] = drift.predictions(rng.normal(size=2000), rng.normal(0.5, 1, 500))
    assert (one.name, one.kind, one.drifted) == ("prediction", "number", True)
    three = np.full((5, 3), 1 / 3)
    sound(drift.predictions(three, three[:0], ["a", "b", "c"]))
