"""Each gate, shown open on what must pass and closed on what must not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
GATES: dict[str, Any] = {
    "data": {"rows_min": 3},
    "model": {"rows_min": 10, "metrics": {"skill": {"min": 0.1}, "log_loss": {"max": 1.0}}},
}
METRICS: dict[str, Any] = {"rows": 100, "skill": 0.3, "log_loss": 0.5}

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


@pytest.fixture
def bless(here: Path) -> Callable[..., dict[str, Any]]:
    from ops.gates.blessing import bless as judge

    def bless(
        gates: Any = GATES, metrics: Any = METRICS, findings: Any = (GOOD,)
    ) -> dict[str, Any]:
        put("gates.yaml", gates)
        put("metrics.json", {"test": metrics, "train": metrics})
        put("reports/model.json", {"findings": list(findings)})
        for name in ("model/model.json", "model/model.skops", "data/test.parquet"):
            Path(name).write_text("x")
        assert judge() == 0
        verdict: dict[str, Any] = json.loads(Path("blessing.json").read_text(encoding="utf-8"))
        return verdict

    return bless


def test_a_good_candidate_is_blessed(bless: Callable[..., dict[str, Any]]) -> None:
    verdict = bless()
    assert verdict["blessed"] is True
    assert verdict["reasons"] == []
    assert [rule["passed"] for rule in verdict["rules"]] == [True, True]
    assert verdict["model_digest"].startswith("sha256:")


def model_gate(**changes: Any) -> dict[str, Any]:
    return {**GATES, "model": {**GATES["model"], **changes}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metrics": {**METRICS, "skill": 0.09}}, "skill is 0.09, below the minimum 0.1"),
        ({"metrics": {**METRICS, "log_loss": 1.5}}, "log_loss is 1.5, above the maximum 1"),
        ({"metrics": {**METRICS, "skill": None}}, "skill is missing or not finite"),
        ({"metrics": {**METRICS, "skill": float("nan")}}, "skill is missing or not finite"),
        ({"metrics": {**METRICS, "skill": float("inf")}}, "skill is missing or not finite"),
        ({"metrics": {**METRICS, "skill": True}}, "skill is missing or not finite"),
        ({"metrics": {"rows": 100, "skill": 0.3}}, "log_loss is missing"),
        ({"metrics": {**METRICS, "rows": 9}}, "only 9 test rows"),
        ({"metrics": {"skill": 0.3, "log_loss": 0.5}}, "only None test rows"),
        ({"gates": model_gate(metrics={})}, "without a rule nothing is blessed"),
        ({"gates": model_gate(metrics=None)}, "without a rule nothing is blessed"),
        ({"gates": model_gate(metrics={"skill": {}})}, "must give min, max or both"),
        ({"gates": model_gate(metrics={"skill": {"mni": 0.1}})}, "must give min, max or both"),
        ({"gates": model_gate(metrics={"skill": {"min": "a"}})}, "no finite numbers"),
        ({"gates": model_gate(metrics={"skill": {"min": float("nan")}})}, "no finite numbers"),
        ({"gates": model_gate(rows_min=None)}, "no model.rows_min"),
        ({"gates": model_gate(rows_min=0)}, "no model.rows_min"),
        ({"gates": {"data": {"rows_min": 1}}}, "without a rule nothing is blessed"),
        ({"findings": [{**GOOD, "status": "fail"}]}, "x: fine"),
        ({"findings": [{**GOOD, "status": "error"}]}, "x: fine"),
        ({"findings": [GOOD, {**GOOD, "status": "whatever"}]}, "x: fine"),
    ],
)
def test_a_bad_candidate_is_not(
    bless: Callable[..., dict[str, Any]], change: dict[str, Any], reason: str
) -> None:
    verdict = bless(**change)
    assert verdict["blessed"] is False
    assert any(reason in said for said in verdict["reasons"]), verdict["reasons"]


@pytest.mark.parametrize("report", ["", "{", "[]", "{}", '{"findings": []}', None])
def test_without_findings_nothing_is_judged(here: Path, report: str | None) -> None:
    from ops.console import Stop
    from ops.gates.blessing import bless as judge

    put("gates.yaml", GATES)
    put("metrics.json", {"test": METRICS})
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
