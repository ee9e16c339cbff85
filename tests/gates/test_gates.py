"""Each gate, shown open on what must pass and closed on what must not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gate_files import GOOD, put
from stops import stops

import gatehouse
from gatehouse.core.digests import MODEL, code_digest
from gatehouse.core.project import Project
from gatehouse.gates.blessing import JUDGE

# --- the blessing ---------------------------------------------------------------------------

ROWS = 600
CLASSES = {"binary": ["no", "yes"], "multiclass": ["low", "mid", "top"], "regression": []}
TASKS = list(CLASSES)
Bless = Callable[..., dict[str, Any]]


def predictions(
    strength: float, seed: int = 0, rows: int = ROWS, task: str = "binary"
) -> dict[str, Any]:
    """Truth and predictions of a made-up model; the more strength, the better, and 0 knows nothing.

    Negative strength is sure of the wrong.
    """
    rng, own = np.random.default_rng(7), np.random.default_rng(seed)
    classes = CLASSES[task]
    truth: Any
    if task == "regression":
        truth = rng.normal(size=rows)
        guess = (strength * truth + own.normal(size=rows)) / (abs(strength) + 1)
        return {"row_id": np.arange(rows), "truth": truth, "prediction": guess}
    if task == "binary":
        truth = (rng.random(rows) < 0.5).astype(int)
        odds = np.c_[np.zeros(rows), strength * (2 * truth - 1) + own.normal(size=rows)]
    else:
        truth = rng.integers(0, len(classes), rows)
        odds = strength * (np.arange(len(classes)) == truth[:, None]) * 2
        odds = odds + own.normal(size=odds.shape)
    return answers(truth, np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True), classes)


def answers(truth: Any, guess: Any, classes: list[str]) -> dict[str, Any]:
    names = np.array(classes)
    found = {"row_id": np.arange(len(truth)), "truth": names[truth]}
    found |= {"prediction": names[guess.argmax(axis=1)]}
    return found | {f"p_{k}": guess[:, k] for k in range(len(classes))}


def constant(task: str) -> dict[str, Any]:
    """The class shares, or the mean, of these very rows."""
    table = predictions(1.0, task=task)
    if task == "regression":
        return table | {"prediction": np.full(ROWS, table["truth"].mean())}
    truth = np.array([CLASSES[task].index(label) for label in table["truth"]])
    shares = np.bincount(truth) / ROWS
    return answers(truth, np.tile(shares, (ROWS, 1)), CLASSES[task])


CODE = code_digest(JUDGE)
TOWNS = np.where(np.arange(ROWS) < 20, "tiny", np.where(np.arange(ROWS) % 2, "a", "b"))


@pytest.fixture
def bless(here: Path, monkeypatch: pytest.MonkeyPatch) -> Bless:
    from gatehouse.gates.blessing import bless as judge

    # A hundred verdicts of the same hundred files.
    digest = "gatehouse.gates.blessing.code_digest"
    monkeypatch.setattr(digest, lambda folder: CODE if folder == JUDGE else code_digest(folder))

    def bless(
        rules: Any = ({"metric": "skill", "min": 0.1},),
        candidate: Any = None,
        champion: Any = None,
        linear: Any = None,
        findings: Any = (GOOD,),
        tests: Any = (GOOD,),
        reason: str | None = None,
        task: str = "binary",
        sensitive: Any = (),
        table: Any = None,
        train: Any = None,
        cost: Any = None,
        released: bool = False,
        differ: Any = (),
        **model: Any,
    ) -> dict[str, Any]:
        monkeypatch.setitem(
            sys.modules,
            "gatehouse.core.config.canvas",
            SimpleNamespace(cost_matrix=lambda *_: cost),
        )
        candidate = predictions(1.5, task=task) if candidate is None else candidate
        rows = len(candidate["truth"])
        section = {"rows_min": 10, "bootstrap": "none yet", "rules": list(rules or []), **model}
        put("gates.yaml", {"model": {k: v for k, v in section.items() if v != "leave out"}})
        columns = {
            name: {"type": "string", "sensitive": name in sensitive} for name in ("town", "age")
        }
        put("schema.yaml", {"task": task, "classes": CLASSES[task], "columns": columns})
        put("reports/model.json", {"findings": list(findings)})
        put("reports/model_tests.json", {"findings": list(tests)})
        for name in ("model", "champion", "predictions", "src"):
            Path(name).mkdir(exist_ok=True)
        put("predictions/parity.json", {"format": "onnx", "reason": "the same"})
        put("predictions/round_trip.json", {"rows": 9, "ways": [], "differ": list(differ)})
        for name in ("model/model.json", "model/model.skops", "src/code.py"):
            Path(name).write_text("x", encoding="utf-8")
        found = {"found": champion is not None, "model_digest": "sha256:c", "released": released}
        put("champion/champion.json", found)
        pq.write_table(pa.table(table or {"town": TOWNS[:rows]}), "data/test.parquet")
        pq.write_table(pa.table(candidate), "predictions/test.parquet")
        pq.write_table(pa.table(candidate if train is None else train), "predictions/train.parquet")
        asked = pa.table(champion or {"row_id": pa.array([], pa.int64())})
        if reason:
            asked = asked.slice(0, 0).replace_schema_metadata({"reason": reason})
        pq.write_table(asked, "predictions/champion.parquet")
        if isinstance(linear, bytes):
            Path("predictions/linear.parquet").write_bytes(linear)
        elif linear is not None:
            pq.write_table(pa.table(linear), "predictions/linear.parquet")
        assert judge(Project()) == 0
        verdict: dict[str, Any] = json.loads(Path("blessing.json").read_text(encoding="utf-8"))
        return verdict

    return bless


def closed(rule: str, *values: Any) -> Any:
    """A case that closes by ``rule``."""
    return pytest.param(*values, marks=pytest.mark.gate("blessing", rule, "closed"))


def opened(rule: str, *values: Any) -> Any:
    """A case that holds ``rule``."""
    return pytest.param(*values, marks=pytest.mark.gate("blessing", rule, "open"))


def shown(rule: str, *values: Any) -> Any:
    """A case of ``rule`` whose last value says whether the gate stays open."""
    return opened(rule, *values) if values[-1] else closed(rule, *values)


@pytest.mark.gate("blessing", "min", "open")
@pytest.mark.gate("blessing", "max", "open")
@pytest.mark.gate("blessing", "a value that is finite", "open")
@pytest.mark.gate("blessing", "a metric of the task", "open")
@pytest.mark.gate("blessing", "at least one rule", "open")
@pytest.mark.gate("blessing", "rules without a slip", "open")
@pytest.mark.gate("blessing", "a champion, or the reason why there is none", "open")
@pytest.mark.gate("blessing", "checks and tests of the model", "open")
def test_a_first_model_is_blessed_by_its_bounds_and_the_record_says_so(bless: Bless) -> None:
    verdict = bless(
        [{"metric": "skill", "min": 0.1, "margin": 0.01}, {"metric": "log_loss", "max": 1}]
    )
    assert (verdict["blessed"], verdict["reasons"]) == (True, [])
    assert [rule["passed"] for rule in verdict["rules"]] == [True, True]
    assert verdict["champion"] == {"bootstrap": "none yet"}
    assert verdict["digests"].keys() == {"test_data", "gates", "code"}
    judge = {"version": gatehouse.__version__, "digest": CODE, "own": []}
    assert verdict["judge"] == judge


@pytest.mark.gate("blessing", "a champion, or the reason why there is none", "open")
def test_the_first_model_stays_blessed_when_it_is_in_production(bless: Bless) -> None:
    rules = [{"metric": "skill", "min": 0.1, "gain": 0.01}]
    verdict = bless(rules, bootstrap="leave out", released=True)
    assert verdict["blessed"] is True
    assert verdict["champion"]["bootstrap"].startswith("the candidate itself is in production")
    rules[0]["min"] = 0.99
    assert bless(rules, bootstrap="leave out", released=True)["blessed"] is False


@pytest.mark.parametrize(
    ("rule", "champion"),
    [
        opened("margin", {"metric": "skill", "margin": 0.01}, predictions(1.5)),
        opened("margin", {"metric": "skill", "margin": 0.01}, predictions(1.0)),
        opened("gain", {"metric": "skill", "gain": 0.01}, predictions(0.7)),
        opened("gain", {"metric": "log_loss", "gain": 0}, predictions(0.7)),
        opened(
            "slice",
            {"metric": "roc_auc", "slice": "town", "rows_min": 100, "margin": 0.01},
            predictions(1.0),
        ),
        opened(
            "slice",
            {"metric": "accuracy", "slice": {"town": ["a", "b"]}, "margin": 0},
            predictions(0.5),
        ),
    ],
)
def test_a_candidate_no_worse_than_the_champion_is_blessed(
    bless: Bless, rule: Any, champion: Any
) -> None:
    verdict = bless([rule], champion=champion, bootstrap="leave out")
    assert (verdict["blessed"], verdict["reasons"]) == (True, [])
    assert verdict["champion"] == {"model_digest": "sha256:c"}
    assert all(entry["low"] is not None for entry in verdict["rules"])


def broken(value: float, column: str = "p_1") -> dict[str, Any]:
    table = predictions(1.5)
    table[column] = table[column].copy()
    table[column][3] = value
    return table


def worse_in_a() -> dict[str, Any]:
    """Better on the whole, much worse where the town is a."""
    good, bad = predictions(3.0), predictions(-0.5)
    return {
        name: good[name] if name in ("row_id", "truth") else np.where(TOWNS == "a", bad[name], good[name])
        for name in good
    }  # fmt: skip


SKILL = {"metric": "skill", "min": 0.1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # the absolute bounds
        closed("min", {"rules": [{"metric": "skill", "min": 0.99}]}, "skill is 0.5"),
        closed("max", {"rules": [{"metric": "log_loss", "max": 0.01}]}, "above the maximum 0.01"),
        closed("a value that is finite", {"candidate": broken(float("nan"))}, "skill is missing or not finite for this candidate"),
        closed("a value that is finite", {"candidate": broken(float("inf"))}, "skill is missing or not finite for this candidate"),
        closed("rows_min", {"candidate": predictions(1.5, rows=9)}, "only 9 test rows"),
        closed("a metric of the task", {"rules": [{"metric": "no_such", "min": 0}]}, "it is no metric of a binary task"),
        closed("a metric of the task", {"rules": [{"metric": "rmse", "max": 1}]}, "it is no metric of a binary task"),
        # the rules themselves
        closed("at least one rule", {"rules": []}, "without a rule nothing is blessed"),
        closed("at least one rule", {"rules": None}, "without a rule nothing is blessed"),
        closed("rules without a slip", {"rules": [{"metric": "skill"}]}, "must give min, max, margin, gain or gap"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "mni": 0.1}]}, "unknown key 'mni'"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "min": "a"}]}, "no finite numbers"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "min": float("nan")}]}, "no finite numbers"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "margin": -0.1}]}, "margin, gain or gap in gates.yaml is negative"),
        closed("rules without a slip", {"rules": [{"min": 0.1}]}, "names no metric"),
        closed("rules without a slip", {"rules": ["skill"]}, "must be a mapping"),
        closed("rows_min", {"rows_min": None}, "no model.rows_min"),
        closed("rows_min", {"rows_min": 0}, "no model.rows_min"),
        closed("rules without a slip", {"resamples": 5}, "model.resamples in gates.yaml must be"),
        closed("rules without a slip", {"resamples": "many"}, "model.resamples in gates.yaml must be"),
        closed("rules without a slip", {"resamples": 10**11}, "model.resamples in gates.yaml must be 100 to 100,000"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "min": -(10**400)}]}, "no finite numbers"),
        closed("rows_min", {"rows_min": 10**400}, "gates.yaml has no model.rows_min"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "gain": 0, "against": "nobody"}]}, "not 'nobody'"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "gain": 0, "against": ["dummy"]}]}, "must be champion, linear, dummy"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "min": 0, "against": "dummy"}]}, "asks for a margin or gain"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "gap": 0.5}]}, "its slice a column"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "gap": 0.5, "slice": "town", "min": 0}]}, "must be the only bound"),
        closed("rules without a slip", {"rules": [{"metric": "skill", "gap": -0.5, "slice": "town"}]}, "is negative"),
        closed("a metric of the task", {"rules": [{"metric": "no_such", "gap": 0.5, "slice": "sensitive"}]}, "it is no metric"),
        closed("a metric of the task", {"rules": [{"metric": "selection_rate", "margin": 0.5}]}, "neither more nor less of it"),
        closed("a metric of the task", {"rules": [{"metric": "selection_rate", "gain": 0, "against": "dummy"}]}, "neither more nor less"),
        # slices
        closed("slice", {"rules": [SKILL | {"slice": "village"}]}, "no column 'village' to slice by"),
        closed("rows_min", {"rules": [SKILL | {"slice": {"town": "c"}}]}, "skill on town = c: only 0 test rows"),
        closed("rows_min", {"rules": [SKILL | {"slice": {"town": "tiny"}, "rows_min": 50}]}, "only 20 test rows"),
        closed("rows_min", {"rules": [SKILL | {"slice": "town", "rows_min": 5000}]}, "no value of 'town' has 5000"),
        closed("slice", {"rules": [SKILL | {"slice": [1]}]}, "its slice in gates.yaml must be"),
        # the champion
        closed("a champion, or the reason why there is none", {"bootstrap": "leave out"}, "there is no champion"),
        closed("a champion, or the reason why there is none", {"bootstrap": "  "}, "there is no champion"),
        closed("a champion, or the reason why there is none", {"bootstrap": True}, "there is no champion"),
        closed("a champion, or the reason why there is none", {"champion": predictions(1.5), "reason": "its columns are gone"}, "its columns are gone"),
        closed("a champion, or the reason why there is none", {"champion": predictions(1.5) | {"row_id": np.arange(ROWS) + 1}}, "asked about other rows"),
        closed("a value that is finite", {"champion": broken(float("nan")), "rules": [SKILL | {"margin": 0.5}]}, "not finite for the champion"),
        closed("margin", {"champion": predictions(3.0), "rules": [SKILL | {"margin": 0.01}]}, "may be worse than the champion"),
        closed("margin", {"champion": predictions(1.6), "rules": [SKILL | {"margin": 0.0001}]}, "may be worse than the champion"),
        closed("gain", {"champion": predictions(1.5), "rules": [SKILL | {"gain": 0}]}, "not surely better than the champion"),
        closed("slice", {"champion": predictions(1.5), "candidate": worse_in_a(),
          "rules": [{"metric": "log_loss", "slice": "town", "rows_min": 100, "margin": 0.02}]},
         "log_loss on town = a may be worse"),
        # the checks
        closed("checks and tests of the model", {"findings": [{**GOOD, "status": "fail"}]}, "x: fine"),
        closed("checks and tests of the model", {"findings": [{**GOOD, "status": "error"}]}, "x: fine"),
        closed("checks and tests of the model", {"findings": [GOOD, {**GOOD, "status": "whatever"}]}, "x: fine"),
        closed("checks and tests of the model", {"tests": [{**GOOD, "check": "test_x", "status": "fail"}]}, "test_x: fine"),
        closed("checks and tests of the model", {"tests": [{**GOOD, "check": "test_x", "status": "error"}]}, "test_x: fine"),
    ],
)  # fmt: skip
def test_a_bad_candidate_is_not(bless: Bless, change: dict[str, Any], reason: str) -> None:
    verdict = bless(**({"rules": [SKILL]} | change))
    assert verdict["blessed"] is False
    assert any(reason in said for said in verdict["reasons"]), verdict["reasons"]


@pytest.mark.gate("blessing", "rows_min", "open")
def test_slices_with_few_rows_are_listed_where_each_value_is_meant(bless: Bless) -> None:
    verdict = bless([SKILL | {"slice": "town", "rows_min": 100}])
    assert [rule["slice"] for rule in verdict["rules"]] == ["town = b", "town = a"] or [
        rule["slice"] for rule in verdict["rules"]
    ] == ["town = a", "town = b"]
    assert verdict["not_judged"] == [
        {"slice": "town = tiny", "rows": 20, "reason": "fewer than rows_min"}
    ]


@pytest.mark.gate("blessing", "margin of a negative metric", "open")
@pytest.mark.gate("blessing", "margin of a negative metric", "closed")
def test_a_negative_metric_that_gets_worse_is_seen_as_worse(bless: Bless) -> None:
    # r2 of -0.5 against -0.9: a rule on ratios would call it better.
    from gatehouse.core.config.rules import read_rules
    from gatehouse.gates.blessing import judge_one
    from gatehouse.metrics.comparison import Predictions, compare

    rng = np.random.default_rng(0)
    truth = rng.normal(size=6000)
    worse = Predictions(truth, truth + rng.normal(scale=1.38, size=6000))
    bad = Predictions(truth, truth + rng.normal(scale=1.22, size=6000))
    [rule] = read_rules([{"metric": "r2", "margin": 0.05}], 10)
    for candidate, champion, passed in ((worse, bad, False), (bad, worse, True)):
        found = compare(candidate, champion, {}, [("r2", "all")], baseline=0.0)["r2", "all"]
        assert (found.candidate or 0) < -0.3
        assert judge_one(rule, "all", found, True)["passed"] is passed


DUMMY = {"metric": "skill", "against": "dummy", "gain": 0}
LINEAR = {"metric": "skill", "against": "linear", "margin": 0.1}


@pytest.mark.gate("blessing", "against: dummy", "open")
@pytest.mark.parametrize("champion", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_knows_something_is_better_than_the_dummy(
    bless: Bless, task: str, champion: bool
) -> None:
    other = predictions(0.5, seed=1, task=task) if champion else None
    verdict = bless([DUMMY], task=task, champion=other)
    assert (verdict["blessed"], verdict["reasons"]) == (True, [])
    [rule] = verdict["rules"]
    assert (rule["against"], rule["champion"]) == ("dummy", pytest.approx(0, abs=1e-9))
    assert rule["low"] > 0


@pytest.mark.gate("blessing", "against: dummy", "closed")
@pytest.mark.parametrize("champion", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["constant", "random labels"])
def test_a_constant_or_random_model_is_not(
    bless: Bless, task: str, model: str, champion: bool
) -> None:
    candidate = constant(task) if model == "constant" else predictions(0.0, task=task)
    verdict = bless([DUMMY], candidate, candidate if champion else None, task=task)
    assert verdict["blessed"] is False
    [reason] = verdict["reasons"]
    assert "not surely better than the class shares of the training rows (or their mean)" in reason


def test_a_class_that_training_never_saw_costs_the_dummy_no_infinite_loss(bless: Bless) -> None:
    candidate = predictions(1.5, task="multiclass")
    seen = np.flatnonzero(candidate["truth"] != "top")
    train = {name: values[seen] for name, values in candidate.items()}
    [rule] = bless([DUMMY], candidate, train=train, task="multiclass")["rules"]
    assert rule["passed"] is True and 0 < rule["low"] < rule["candidate"] < 1


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8])
def test_a_sum_in_another_order_is_no_gain(bless: Bless, step: int) -> None:
    table = constant("regression")
    near = table["prediction"][0] * (1 + step * 2.3e-16)
    for side in (near, 2 * table["prediction"][0] - near):
        verdict = bless([DUMMY], table | {"prediction": np.full(ROWS, side)}, task="regression")
        assert verdict["blessed"] is False
        assert abs(verdict["rules"][0]["candidate"]) < 1e-9


@pytest.mark.parametrize("champion", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("strength", "blessed"),
    [shown("against: linear", *case) for case in ((0.8, True), (1.5, True), (4.0, False))],
)
def test_the_linear_baseline_is_a_rival(
    bless: Bless, task: str, strength: float, blessed: bool, champion: bool
) -> None:
    linear = predictions(strength, task=task)
    other = predictions(0.5, seed=1, task=task) if champion else None
    verdict = bless([LINEAR], task=task, linear=linear, champion=other)
    assert verdict["blessed"] is blessed, verdict["reasons"]
    assert verdict["rules"][0]["against"] == "linear"
    assert bool(verdict["beaten"]) is not blessed
    if not blessed:
        assert "may be worse than the linear baseline by more than 0.1" in verdict["reasons"][0]


@pytest.mark.parametrize(
    ("card", "line"),
    [
        ({}, "`model: auto` in params.yaml mends it"),
        ({"choice": {"asked": "auto"}}, "`model: linear` in params.yaml mends it"),
        ({"choice": {"asked": "boosting"}}, "`model: auto` in params.yaml mends it"),
        ({"choice": {"asked": "linear"}}, "it is one itself, so set `features` in params.yaml"),
    ],
)
def test_who_is_surely_worse_than_linear_hears_which_line_mends_it(
    bless: Bless, card: dict[str, Any], line: str
) -> None:
    """In the first lines of the verdict, also where the margin lets it through."""
    from gatehouse.gates import blessing, verdict

    rule = LINEAR | {"margin": 0.5}
    assert bless([rule], linear=predictions(1.5, seed=1))["beaten"] == ""
    judged = bless([rule], linear=predictions(2.5))
    put("model/model.json", card)
    beaten = blessing.by_linear(Project(), judged["rules"])
    assert beaten.startswith("surely worse than a linear model (skill 0.")
    assert line in beaten
    gate = {"open": True, "rows": 9, "findings": []}
    shown = {"open": True, "reasons": [], "data_gate": gate, "notes": []}
    told = verdict.lines(shown | {"blessing": judged | {"beaten": beaten}})
    assert any(line in text for text in told[:3]), told


@pytest.mark.parametrize(
    ("linear", "reason"),
    [
        (None, "linear.parquet is not there"),
        (b"PAR1 and no more", "linear.parquet is damaged"),
        (pa.table({"row_id": pa.array([], pa.int64())}), "it gave no predictions"),
        (
            pa.table({"row_id": pa.array([], pa.int64())}).replace_schema_metadata({"reason": "odd"}),
            "cannot be compared: odd",
        ),
        (predictions(1.5) | {"row_id": np.arange(ROWS)[::-1].copy()}, "asked about other rows"),
        (predictions(1.5, rows=599), "asked about other rows"),
        ({"truth": [1]}, "asked about other rows"),
        (predictions(1.5, task="regression"), "not of schema.yaml's task"),
        (broken(float("nan")), "not finite for the linear baseline"),
        (broken(float("inf")), "not finite for the linear baseline"),
    ],
)  # fmt: skip
def test_a_linear_baseline_that_cannot_be_asked_closes_the_rule(
    bless: Bless, linear: Any, reason: str
) -> None:
    verdict = bless([SKILL, LINEAR], linear=linear)
    assert verdict["blessed"] is False
    [said] = verdict["reasons"]
    assert reason in said
    assert bless([SKILL], linear=linear)["blessed"] is True, "who does not ask is not concerned"


@pytest.mark.parametrize(
    ("rule", "task", "blessed"),
    [
        shown("gap", {"metric": "accuracy", "gap": 0.1}, "binary", True),
        shown("gap", {"metric": "log_loss", "gap": 0.2}, "multiclass", True),
        shown("gap", {"metric": "mae", "gap": 0.1}, "regression", True),
        shown("gap", {"metric": "accuracy", "gap": 0.1}, "multiclass", False),
        shown("gap", {"metric": "skill", "gap": 0.2}, "binary", False),
        shown("gap", {"metric": "mae", "gap": 0.1}, "regression", False),
        shown("gap", {"metric": "selection_rate", "gap": 0.1}, "binary", True),
        shown("gap", {"metric": "selection_rate", "gap": 0.1}, "binary", False),
    ],
)
def test_groups_may_lie_apart_by_the_gap_and_no_more(
    bless: Bless, rule: dict[str, Any], task: str, blessed: bool
) -> None:
    fair = predictions(1.5, task=task)
    other = predictions(-0.5, task=task)
    if rule["metric"] == "selection_rate":
        other = answers(
            np.array(fair["truth"] == "yes", int), np.tile([0.3, 0.7], (ROWS, 1)), ["no", "yes"]
        )
    mixed = {
        n: v if n == "row_id" else np.where(TOWNS == "a", other[n], v) for n, v in fair.items()
    }
    candidate = fair if blessed else mixed
    verdict = bless([rule | {"slice": "town", "rows_min": 100}], candidate, task=task)
    assert verdict["blessed"] is blessed, verdict["reasons"]
    [entry] = verdict["rules"]
    least, most = entry["groups"].values()
    assert set(entry["groups"]) == {"town = a", "town = b"}
    assert entry["candidate"] == pytest.approx(most - least) and most >= least
    assert (entry["slice"], entry["against"], entry["rows"]) == ("town", None, ROWS - 20)
    if not blessed:
        assert "town = a" in verdict["reasons"][0] and "a gap of" in verdict["reasons"][0]


GAP = {"metric": "accuracy", "gap": 0.9, "slice": "town", "rows_min": 10}


@pytest.mark.parametrize(
    ("rule", "towns", "reason"),
    [
        (GAP, ["a"] * ROWS, "fewer than two groups of 10 test rows"),
        (GAP, [None] * ROWS, "fewer than two groups"),
        (GAP | {"rows_min": 300}, TOWNS, "fewer than two groups of 300"),
        (GAP | {"slice": {"town": ["a"]}}, TOWNS, "fewer than two groups"),
        (GAP | {"slice": {"town": ["a", "tiny"]}, "rows_min": 50}, TOWNS, "on town = tiny: only 20"),
        (GAP | {"metric": "roc_auc"}, predictions(1)["truth"], "is missing or not finite"),
    ],
)  # fmt: skip
def test_a_gap_that_cannot_be_judged_closes(
    bless: Bless, rule: Any, towns: Any, reason: str
) -> None:
    table = {"town": pa.array(towns, pa.string()), "age": np.arange(ROWS)}
    verdict = bless([rule], table=table)
    assert verdict["blessed"] is False
    assert reason in verdict["reasons"][0]
    if isinstance(rule["slice"], str):
        verdict = bless([rule | {"slice": "sensitive"}], table=table, sensitive=["town"])
        assert verdict["blessed"] is False, "a declared column is judged, or closes"


def test_each_sensitive_column_is_judged(bless: Bless) -> None:
    table = {"town": TOWNS, "age": np.arange(ROWS) * 0.1}
    rules = [GAP | {"slice": "sensitive"}, SKILL | {"slice": "sensitive", "rows_min": 100}]
    verdict = bless(rules, table=table, sensitive=["town", "age"])
    assert (verdict["blessed"], verdict["reasons"]) == (True, [])
    assert {rule["slice"] for rule in verdict["rules"] if "gap" in rule} == {"town", "age"}
    assert sum(rule["slice"].startswith("age = ") for rule in verdict["rules"]) == 4


def test_no_sensitive_column_closes_nothing_and_is_listed(bless: Bless) -> None:
    rules = [SKILL, GAP | {"slice": "sensitive"}]
    verdict = bless(rules)
    assert (verdict["blessed"], len(verdict["rules"])) == (True, 1)
    [left] = verdict["not_judged"]
    assert (left["slice"], left["rows"]) == ("sensitive", 0)
    assert "declares no column `sensitive: true`" in left["reason"]
    alone = bless(rules[1:])
    assert "without a rule nothing is blessed" in alone["reasons"][0], "but alone it is no rule"


@pytest.mark.parametrize(
    ("least", "blessed"), [shown("value", 100, True), shown("value", 5000, False)]
)
def test_the_gain_by_the_cost_matrix_is_a_metric(bless: Bless, least: int, blessed: bool) -> None:
    verdict = bless([{"metric": "value", "min": least}], cost=[[0, -1], [-2, 3]])
    assert verdict["blessed"] is blessed
    truth, said = (predictions(1.5)[name] == "yes" for name in ("truth", "prediction"))
    gain = 3 * (truth & said).sum() - (~truth & said).sum() - 2 * (truth & ~said).sum()
    assert verdict["rules"][0]["candidate"] == pytest.approx(1000 * gain / ROWS)


def test_without_a_cost_matrix_there_is_no_value(bless: Bless) -> None:
    verdict = bless([{"metric": "value", "min": -9e9}])
    assert verdict["reasons"] == ["value: ml-canvas.yaml gives no cost matrix"]


@pytest.mark.parametrize("task", TASKS)
def test_one_answer_in_the_truth_is_not_enough(bless: Bless, task: str) -> None:
    table = predictions(1.5, task=task)
    kept = np.flatnonzero(table["truth"] == table["truth"][0]) if CLASSES[task] else [0] * 50
    one = {name: values[kept] for name, values in table.items()} | {"row_id": np.arange(len(kept))}
    for rule in (SKILL, DUMMY, LINEAR):
        assert bless([rule], one, linear=one, task=task)["blessed"] is False


@pytest.mark.parametrize("task", TASKS)
def test_ten_rows_are_judged_and_nine_are_not(bless: Bless, task: str) -> None:
    few = [predictions(6.0, rows=rows, task=task) for rows in (10, 9)]
    verdicts = [bless([SKILL, DUMMY], each, task=task) for each in few]
    assert [verdict["blessed"] for verdict in verdicts] == [True, False]


def test_missing_values_are_a_slice(bless: Bless) -> None:
    towns = pa.array([None if at < 300 else "a" for at in range(ROWS)], pa.string())
    verdict = bless([SKILL | {"slice": "town"}], table={"town": towns})
    assert {r["slice"]: r["rows"] for r in verdict["rules"]} == {
        "town = (missing)": 300,
        "town = a": 300,
    }


def test_predictions_of_other_test_rows_are_refused(bless: Bless) -> None:
    with stops("predictions-of-other-rows", "data/test.parquet"):
        bless(table={"town": TOWNS[:10]})


def as_text(table: dict[str, Any]) -> dict[str, Any]:
    return table | {"p_0": [str(value) for value in table["p_0"]]}


@pytest.mark.parametrize(
    ("which", "change", "sentence"),
    [
        ("candidate", as_text, "are not of schema.yaml's task"),
        ("candidate", lambda t: t | {"p_1": [[1.0]] * ROWS}, "are not of schema.yaml's task"),
        ("candidate", lambda t: t | {"truth": [1] * ROWS}, "are not of schema.yaml's task"),
        ("train", lambda t: t | {"truth": [1] * ROWS}, "are not of schema.yaml's task"),
        ("train", lambda _: {"truth": pa.array([], pa.string())}, "train.parquet has no rows"),
    ],
)
def test_predictions_of_another_kind_are_refused(
    bless: Bless, which: str, change: Callable[[Any], Any], sentence: str
) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=sentence):
        bless(**{which: change(predictions(1.5))})
    assert not Path("blessing.json").exists()


def test_a_linear_model_of_another_kind_closes_its_rule(bless: Bless) -> None:
    verdict = bless([SKILL, LINEAR], linear=as_text(predictions(1.5)))
    [reason] = verdict["reasons"]
    assert "the linear baseline cannot be compared: predictions/ are not of" in reason


BLESSED = {"blessed": True, "reasons": [], "rules": []}
GATE: dict[str, Any] = {"open": True, "reasons": [], "rows": 9, "findings": []}


@pytest.mark.parametrize(
    ("gate", "blessing"),
    [
        ({}, BLESSED),
        (GATE | {"reasons": None}, BLESSED),
        ({"open": True, "reasons": []}, BLESSED),
        (GATE, {}),
        (GATE, {"blessed": True}),
        (GATE, BLESSED | {"reasons": "none"}),
        (GATE, BLESSED | {"rules": [1]}),
        (GATE, BLESSED | {"rules": 1}),
    ],
)
def test_a_verdict_over_edited_reports_is_none(
    here: Path, monkeypatch: pytest.MonkeyPatch, gate: Any, blessing: Any
) -> None:
    from gatehouse.core.digests import model_digest
    from gatehouse.gates import verdict

    monkeypatch.setattr(verdict, "stale_stages", lambda _: [])
    for name in ("model.json", "model.skops"):
        Path("model", name).write_text("x")
    put("reports/data_gate.json", GATE)
    put("blessing.json", BLESSED | {"model_digest": model_digest(MODEL)})
    assert verdict.show(Project(), as_json=False) == 0
    put("reports/data_gate.json", gate)
    put("blessing.json", blessing | ({"model_digest": model_digest(MODEL)} if blessing else {}))
    with stops("not-judged", "damaged") as stop:
        verdict.show(Project(), as_json=True)
    assert stop.value.exit_code == 2


@pytest.mark.parametrize(("gate", "rows"), [(None, None), (GATE | {"rows": 4321}, 4321)])
def test_the_record_says_how_many_rows_the_data_had(bless: Bless, gate: Any, rows: Any) -> None:
    if gate:
        put("reports/data_gate.json", gate)
    assert bless()["data_rows"] == rows


@pytest.mark.parametrize("report", ["", "{", "[]", "{}", '{"findings": []}', None])
@pytest.mark.parametrize("name", ["model", "model_tests"])
def test_without_findings_nothing_is_judged(here: Path, name: str, report: str | None) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.gates.blessing import bless as judge

    put("gates.yaml", {"model": {"rows_min": 10}})
    put("blessing.json", {"blessed": True})
    for each in ("model", "model_tests"):
        put(f"reports/{each}.json", {"findings": [GOOD]})
    Path(f"reports/{name}.json").unlink()
    if report is not None:
        Path(f"reports/{name}.json").write_text(report)
    with pytest.raises(Stop, match=rf"reports/{name}\.json"):
        judge(Project())
    assert not Path("blessing.json").exists(), "an old blessing must not survive"


@pytest.mark.gate("blessing", "a row means the same on every way", "open")
@pytest.mark.gate("blessing", "a row means the same on every way", "closed")
def test_a_way_that_says_something_else_closes(bless: Bless) -> None:
    assert bless()["reasons"] == []
    one = {"way": "json", "reason": "3 of 9 rows get another answer", "columns": ["country"]}
    [reason] = bless(differ=[one])["reasons"]
    assert "JSON to the service, 3 of 9 rows" in reason
    assert "'country'" in reason
    assert "null_values" in reason
    [reason] = bless(differ=[one | {"way": "batch", "columns": []}])["reasons"]
    assert reason == "round trip: by the batch, 3 of 9 rows get another answer than by the source"
