"""Each gate, shown open on what must pass and closed on what must not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from baked import BakedProject

GOOD: dict[str, Any] = {
    "check": "x",
    "status": "pass",
    "message": "fine",
    "fix": "",
    "value": 0,
    "threshold": 1,
}
GATES: dict[str, Any] = {"data": {"rows_min": 3}, "model": {"rows_min": 10}}

SCHEMA: dict[str, Any] = {
    "task": "binary",
    "target": "y",
    "classes": ["no", "yes"],
    "columns": {
        "size": {"type": "number", "role": "feature", "nullable": False, "min": 0, "max": 10},
        "town": {"type": "string", "role": "feature", "nullable": True, "categories": ["a", "b"]},
        "key": {"type": "integer", "role": "id", "nullable": False, "unique": True},
        "old": {"type": "number", "role": "ignore"},
        "y": {"type": "string", "role": "target", "nullable": False},
    },
}
TABLE: dict[str, Any] = {
    "size": [1.0, 2.0, 3.0, 4.0],
    "town": ["a", "b", None, "a"],
    "key": [1, 2, 3, 4],
    "old": [0.0, 0.0, 0.0, 0.0],
    "y": ["no", "yes", "no", "yes"],
}


@pytest.fixture
def here(science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository to put a gate's files into."""
    monkeypatch.chdir(tmp_path)
    for name in ("reports", "data", "model"):
        (tmp_path / name).mkdir()
    return tmp_path


def put(path: str, content: Any) -> None:
    text = yaml.safe_dump(content) if path.endswith(".yaml") else json.dumps(content)
    Path(path).write_text(text, encoding="utf-8")


# --- the blessing ---------------------------------------------------------------------------

ROWS = 600
Bless = Callable[..., dict[str, Any]]


def predictions(strength: float, seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Truth and probabilities of a made-up model; the more strength, the better."""
    rng = np.random.default_rng(7)
    truth = rng.random(rows) < 0.5
    noise = np.random.default_rng(seed).normal(size=rows)
    positive = 1 / (1 + np.exp(-strength * (2 * truth - 1) - noise))
    return {
        "row_id": np.arange(rows),
        "truth": np.where(truth, "yes", "no"),
        "prediction": np.where(positive > 0.5, "yes", "no"),
        "p_0": 1 - positive,
        "p_1": positive,
    }


TOWNS = np.where(np.arange(ROWS) < 20, "tiny", np.where(np.arange(ROWS) % 2, "a", "b"))


@pytest.fixture
def bless(here: Path) -> Bless:
    from ops.gates.blessing import bless as judge

    def bless(
        rules: Any = ({"metric": "skill", "min": 0.1},),
        candidate: Any = None,
        champion: Any = None,
        findings: Any = (GOOD,),
        reason: str | None = None,
        **model: Any,
    ) -> dict[str, Any]:
        candidate = predictions(1.5) if candidate is None else candidate
        rows = len(candidate["truth"])
        section = {"rows_min": 10, "bootstrap": "none yet", "rules": list(rules or []), **model}
        put("gates.yaml", {"model": {k: v for k, v in section.items() if v != "leave out"}})
        put("schema.yaml", SCHEMA)
        put("reports/model.json", {"findings": list(findings)})
        for name in ("model", "champion", "predictions", "src"):
            Path(name).mkdir(exist_ok=True)
        for name in ("model/model.json", "model/model.skops", "src/code.py"):
            Path(name).write_text("x", encoding="utf-8")
        put("champion/champion.json", {"found": champion is not None, "model_digest": "sha256:c"})
        pq.write_table(pa.table({"town": TOWNS[:rows]}), "data/test.parquet")
        for side in ("train", "test"):
            pq.write_table(pa.table(candidate), f"predictions/{side}.parquet")
        asked = pa.table(champion or {"row_id": pa.array([], pa.int64())})
        if reason:
            asked = asked.slice(0, 0).replace_schema_metadata({"reason": reason})
        pq.write_table(asked, "predictions/champion.parquet")
        assert judge() == 0
        verdict: dict[str, Any] = json.loads(Path("blessing.json").read_text(encoding="utf-8"))
        return verdict

    return bless


def test_a_first_model_is_blessed_by_its_bounds_and_the_record_says_so(bless: Bless) -> None:
    verdict = bless(
        [{"metric": "skill", "min": 0.1, "margin": 0.01}, {"metric": "log_loss", "max": 1}]
    )
    assert (verdict["blessed"], verdict["reasons"]) == (True, [])
    assert [rule["passed"] for rule in verdict["rules"]] == [True, True]
    assert verdict["champion"] == {"bootstrap": "none yet"}
    assert verdict["digests"].keys() == {"test_data", "gates", "code"}


@pytest.mark.parametrize(
    ("rule", "champion"),
    [
        ({"metric": "skill", "margin": 0.01}, predictions(1.5)),
        ({"metric": "skill", "margin": 0.01}, predictions(1.0)),
        ({"metric": "skill", "gain": 0.01}, predictions(0.7)),
        ({"metric": "log_loss", "gain": 0}, predictions(0.7)),
        ({"metric": "roc_auc", "slice": "town", "rows_min": 100, "margin": 0.01}, predictions(1.0)),
        ({"metric": "accuracy", "slice": {"town": ["a", "b"]}, "margin": 0}, predictions(0.5)),
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
        ({"rules": [{"metric": "skill", "min": 0.99}]}, "skill is 0.5"),
        ({"rules": [{"metric": "log_loss", "max": 0.01}]}, "above the maximum 0.01"),
        ({"candidate": broken(float("nan"))}, "skill is missing or not finite for this candidate"),
        ({"candidate": broken(float("inf"))}, "skill is missing or not finite for this candidate"),
        ({"candidate": predictions(1.5, rows=9)}, "only 9 test rows"),
        ({"rules": [{"metric": "no_such", "min": 0}]}, "it is no metric of a binary task"),
        ({"rules": [{"metric": "rmse", "max": 1}]}, "it is no metric of a binary task"),
        # the rules themselves
        ({"rules": []}, "without a rule nothing is blessed"),
        ({"rules": None}, "without a rule nothing is blessed"),
        ({"rules": [{"metric": "skill"}]}, "must give min, max, margin or gain"),
        ({"rules": [{"metric": "skill", "mni": 0.1}]}, "unknown key 'mni'"),
        ({"rules": [{"metric": "skill", "min": "a"}]}, "no finite numbers"),
        ({"rules": [{"metric": "skill", "min": float("nan")}]}, "no finite numbers"),
        ({"rules": [{"metric": "skill", "margin": -0.1}]}, "margin or gain in gates.yaml is negative"),
        ({"rules": [{"min": 0.1}]}, "names no metric"),
        ({"rules": ["skill"]}, "must be a mapping"),
        ({"rows_min": None}, "no model.rows_min"),
        ({"rows_min": 0}, "no model.rows_min"),
        # slices
        ({"rules": [SKILL | {"slice": "village"}]}, "no column 'village' to slice by"),
        ({"rules": [SKILL | {"slice": {"town": "c"}}]}, "skill on town = c: only 0 test rows"),
        ({"rules": [SKILL | {"slice": {"town": "tiny"}, "rows_min": 50}]}, "only 20 test rows"),
        ({"rules": [SKILL | {"slice": "town", "rows_min": 5000}]}, "no value of 'town' has 5000"),
        ({"rules": [SKILL | {"slice": [1]}]}, "its slice in gates.yaml must be"),
        # the champion
        ({"bootstrap": "leave out"}, "there is no champion"),
        ({"bootstrap": "  "}, "there is no champion"),
        ({"bootstrap": True}, "there is no champion"),
        ({"champion": predictions(1.5), "reason": "its columns are gone"}, "its columns are gone"),
        ({"champion": predictions(1.5) | {"row_id": np.arange(ROWS) + 1}}, "asked about other rows"),
        ({"champion": broken(float("nan")), "rules": [SKILL | {"margin": 0.5}]}, "not finite for the champion"),
        ({"champion": predictions(3.0), "rules": [SKILL | {"margin": 0.01}]}, "may be worse than the champion"),
        ({"champion": predictions(1.6), "rules": [SKILL | {"margin": 0.0001}]}, "may be worse than the champion"),
        ({"champion": predictions(1.5), "rules": [SKILL | {"gain": 0}]}, "not surely better than the champion"),
        ({"champion": predictions(1.5), "candidate": worse_in_a(),
          "rules": [{"metric": "log_loss", "slice": "town", "rows_min": 100, "margin": 0.02}]},
         "log_loss on town = a may be worse"),
        # the checks
        ({"findings": [{**GOOD, "status": "fail"}]}, "x: fine"),
        ({"findings": [{**GOOD, "status": "error"}]}, "x: fine"),
        ({"findings": [GOOD, {**GOOD, "status": "whatever"}]}, "x: fine"),
    ],
)  # fmt: skip
def test_a_bad_candidate_is_not(bless: Bless, change: dict[str, Any], reason: str) -> None:
    verdict = bless(**({"rules": [SKILL]} | change))
    assert verdict["blessed"] is False
    assert any(reason in said for said in verdict["reasons"]), verdict["reasons"]


def test_slices_with_few_rows_are_listed_where_each_value_is_meant(bless: Bless) -> None:
    verdict = bless([SKILL | {"slice": "town", "rows_min": 100}])
    assert [rule["slice"] for rule in verdict["rules"]] == ["town = b", "town = a"] or [
        rule["slice"] for rule in verdict["rules"]
    ] == ["town = a", "town = b"]
    assert verdict["not_judged"] == [
        {"slice": "town = tiny", "rows": 20, "reason": "fewer than rows_min"}
    ]


def test_a_negative_metric_that_gets_worse_is_seen_as_worse(bless: Bless) -> None:
    # r2 of -0.5 against -0.9: a rule on ratios would call it better.
    from ops.gates.blessing import judge_one
    from ops.gates.rules import read_rules
    from ops.gates.statistics import Predictions, compare

    rng = np.random.default_rng(0)
    truth = rng.normal(size=6000)
    worse = Predictions(truth, truth + rng.normal(scale=1.38, size=6000))
    bad = Predictions(truth, truth + rng.normal(scale=1.22, size=6000))
    [rule] = read_rules([{"metric": "r2", "margin": 0.05}], 10)
    for candidate, champion, passed in ((worse, bad, False), (bad, worse, True)):
        found = compare(
            "regression", candidate, champion, {}, [("r2", "all")], baseline=0.0
        )[("r2", "all")]  # fmt: skip
        assert (found.candidate or 0) < -0.3
        assert judge_one(rule, "all", found, False)["passed"] is passed


@pytest.mark.parametrize("report", ["", "{", "[]", "{}", '{"findings": []}', None])
def test_without_findings_nothing_is_judged(here: Path, report: str | None) -> None:
    from ops.console import Stop
    from ops.gates.blessing import bless as judge

    put("gates.yaml", GATES)
    put("blessing.json", {"blessed": True})
    if report is not None:
        Path("reports/model.json").write_text(report)
    with pytest.raises(Stop, match=r"reports/model\.json"):
        judge()
    assert not Path("blessing.json").exists(), "an old blessing must not survive"


# --- the data gate --------------------------------------------------------------------------


@pytest.fixture
def data_gate(here: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    from ops.gates.data import judge
    from ops.run_checks import check_schema

    def data_gate(
        table: Any = TABLE, schema: Any = SCHEMA, gates: Any = GATES, findings: Any = (GOOD,)
    ) -> tuple[int, dict[str, Any]]:
        put("gates.yaml", gates)
        put("schema.yaml", schema)
        pq.write_table(pa.table(table), "data/dataset.parquet")
        rows, found = check_schema()
        found_too = [finding.as_json() for finding in found]
        put("reports/data.json", {"rows": rows, "findings": [*found_too, *findings]})
        code = judge()
        return code, json.loads(Path("reports/data_gate.json").read_text(encoding="utf-8"))

    return data_gate


def test_good_data_passes(data_gate: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, report = data_gate()
    assert (code, report["open"], report["reasons"]) == (0, True, [])
    assert {f["status"] for f in report["findings"]} == {"pass"}


def without(name: str) -> dict[str, Any]:
    return {key: values for key, values in TABLE.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"table": without("size")}, "schema: size: the column is missing"),
        ({"table": TABLE | {"size": ["a", "b", "c", "d"]}}, "schema: size: the values are no number"),
        ({"table": TABLE | {"size": [1.0, None, 2.0, 3.0]}}, "schema: size: 1 values are missing"),
        ({"table": TABLE | {"key": [1, 2, 2, 3]}}, "schema: key: 2 values stand more than once"),
        ({"table": TABLE | {"town": [1, 2, 3, 4]}}, "schema: town: the values are no string"),
        ({"table": TABLE | {"y": ["no", "yes", "perhaps", "no"]}}, "1 rows have a class"),
        ({"table": TABLE | {"y": [1, 0, 1, 0]}}, "schema: y: the values are no string"),
        ({"table": {k: v[:2] for k, v in TABLE.items()}}, "rows: 2 rows with a target"),
        ({"findings": [GOOD | {"status": "fail"}]}, "x: fine"),
        ({"findings": [GOOD | {"status": "error"}]}, "x: fine"),
    ],
)  # fmt: skip
def test_broken_data_closes_the_gate(
    data_gate: Callable[..., tuple[int, dict[str, Any]]], change: dict[str, Any], reason: str
) -> None:
    code, report = data_gate(**change)
    assert (code, report["open"]) == (1, False)
    assert any(reason in said for said in report["reasons"]), report["reasons"]


@pytest.mark.parametrize(
    ("table", "check", "message"),
    [
        (TABLE | {"size": [1.0, 2.0, 3.0, 4000.0]}, "values: size", "1 of 4 values are above the maximum 10"),
        (TABLE | {"size": [-1.0, -2.0, 3.0, 4.0]}, "values: size", "2 of 4 values are below the minimum 0"),
        (TABLE | {"town": ["a", "b", "zz", None]}, "values: town", "1 of 4 values are none of the listed categories"),
        (TABLE | {"new": [1, 2, 3, 4]}, "unknown columns", "1 columns are not in schema.yaml"),
    ],
)  # fmt: skip
def test_moved_values_are_reported_and_the_gate_stays_open(
    data_gate: Callable[..., tuple[int, dict[str, Any]]], table: Any, check: str, message: str
) -> None:
    code, report = data_gate(table)
    assert (code, report["open"]) == (0, True)
    [finding] = [f for f in report["findings"] if f["status"] == "warn"]
    assert finding["check"] == check
    assert message in finding["message"]
    assert "zz" not in json.dumps(finding), "no value of the data is ever shown"


def test_other_order_whole_numbers_and_a_lost_ignored_column_are_no_fault(
    data_gate: Callable[..., tuple[int, dict[str, Any]]],
) -> None:
    table = {key: TABLE[key] for key in ("y", "key", "town")} | {"size": [1, 2, 3, 4]}
    code, report = data_gate(table)
    assert (code, report["reasons"]) == (0, [])


@pytest.mark.parametrize(
    ("schema", "gates"),
    [
        ({**SCHEMA, "columns": {}}, GATES),
        (SCHEMA, {"data": {}}),
        (SCHEMA, {"model": {}}),
        (SCHEMA, {"data": {"rows_min": 0}}),
        (SCHEMA, {"data": {"rows_min": None}}),
    ],
)
def test_without_rules_the_data_is_not_judged(
    data_gate: Callable[..., tuple[int, dict[str, Any]]], schema: Any, gates: Any
) -> None:
    from ops.console import Stop

    put("reports/data_gate.json", {"open": True})
    with pytest.raises(Stop, match=r"schema\.yaml describes no columns|no data\.rows_min"):
        data_gate(schema=schema, gates=gates)


def test_an_old_verdict_does_not_survive(here: Path) -> None:
    from ops.console import Stop
    from ops.gates.data import judge

    put("gates.yaml", GATES)
    put("reports/data_gate.json", {"open": True})
    with pytest.raises(Stop, match=r"reports/data\.json is not there"):
        judge()
    assert not Path("reports/data_gate.json").exists()
