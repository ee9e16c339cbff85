"""The data gate: open on good data; closed on what is broken or personal; what moved is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gate_files import GOOD, put
from odd_tables import TABLES
from stops import stops

from gatehouse.core.project import Project

GATES: dict[str, Any] = {"data": {"rows_min": 3}}
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
Gate = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def data_gate(here: Path) -> Gate:
    from gatehouse.gates.data_gate import judge
    from gatehouse.gates.run_checks import check_schema

    def data_gate(
        table: Any = TABLE, schema: Any = SCHEMA, gates: Any = GATES, findings: Any = (GOOD,)
    ) -> tuple[int, dict[str, Any]]:
        put("gates.yaml", gates)
        put("schema.yaml", schema)
        pq.write_table(pa.table(table), "data/dataset.parquet")
        rows, found = check_schema(Project())
        found_too = [finding.as_json() for finding in found]
        put("reports/data.json", {"rows": rows, "findings": [*found_too, *findings]})
        code = judge(Project())
        return code, json.loads(Path("reports/data_gate.json").read_text(encoding="utf-8"))

    return data_gate


@pytest.mark.gate("data gate", "columns", "open")
@pytest.mark.gate("data gate", "type", "open")
@pytest.mark.gate("data gate", "nullable", "open")
@pytest.mark.gate("data gate", "unique", "open")
@pytest.mark.gate("data gate", "classes", "open")
@pytest.mark.gate("data gate", "rows_min", "open")
@pytest.mark.gate("data gate", "values at all", "open")
@pytest.mark.gate("data gate", "findings of the checks", "open")
def test_good_data_passes(data_gate: Gate) -> None:
    code, report = data_gate()
    assert (code, report["open"], report["reasons"]) == (0, True, [])
    assert {f["status"] for f in report["findings"]} == {"pass"}


def closed(rule: str, *values: Any) -> Any:
    """A case that closes by ``rule``."""
    return pytest.param(*values, marks=pytest.mark.gate("data gate", rule, "closed"))


def without(name: str) -> dict[str, Any]:
    return {key: values for key, values in TABLE.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        closed("columns", {"table": without("size")}, "schema: size: the column is missing"),
        closed("type", {"table": TABLE | {"size": ["a", "b", "c", "d"]}}, "schema: size: the values are no number"),
        closed("nullable", {"table": TABLE | {"size": [1.0, None, 2.0, 3.0]}}, "schema: size: 1 values are missing"),
        closed("unique", {"table": TABLE | {"key": [1, 2, 2, 3]}}, "schema: key: 2 values stand more than once"),
        closed("type", {"table": TABLE | {"town": [1, 2, 3, 4]}}, "schema: town: the values are no string"),
        closed("classes", {"table": TABLE | {"y": ["no", "yes", "perhaps", "no"]}}, "1 rows have a class"),
        closed("type", {"table": TABLE | {"y": [1, 0, 1, 0]}}, "schema: y: the values are no string"),
        closed("rows_min", {"table": {k: v[:2] for k, v in TABLE.items()}}, "rows: 2 rows with a target"),
        closed("values at all", {"table": TABLE | {"town": pa.nulls(4, pa.string())}}, "schema: town: all values are missing"),
        closed("values at all", {"table": TABLE | {"town": pa.nulls(4)}}, "schema: town: all values are missing"),
        closed("values at all", {"table": TABLE | {"y": pa.nulls(4, pa.string())}}, "schema: y: all values are missing"),
        closed("rows_min", {"table": pa.table(TABLE).slice(0, 0)}, "schema: the dataset has no rows"),
        closed("personal data", {"table": TABLE | {"old": ["a@b.ch", "c@d.ch", "x", None]}}, "personal: old: 67% of its"),
        closed("findings of the checks", {"findings": [GOOD | {"status": "fail"}]}, "x: fine"),
        closed("findings of the checks", {"findings": [GOOD | {"status": "error"}]}, "x: fine"),
    ],
)  # fmt: skip
def test_broken_data_closes_the_gate(data_gate: Gate, change: dict[str, Any], reason: str) -> None:
    code, report = data_gate(**change)
    assert (code, report["open"]) == (1, False)
    assert any(reason in said for said in report["reasons"]), report["reasons"]


@pytest.mark.parametrize(
    ("table", "check", "message"),
    [
        (TABLE | {"size": [1.0, 2.0, 3.0, 4000.0]}, "values: size", "1 of 4 values are above the maximum 10"),
        (TABLE | {"size": [1e4, 2e4, 3e4, 4e4]}, "values: size", "the median is 5,000 times the middle of the range: another unit?"),
        (TABLE | {"size": [-1.0, -2.0, 3.0, 4.0]}, "values: size", "2 of 4 values are below the minimum 0"),
        (TABLE | {"town": ["a", "b", "zz", None]}, "values: town", "1 of 4 values are none of the listed categories"),
        (TABLE | {"new": [1, 2, 3, 4]}, "unknown columns", "1 columns are not in schema.yaml"),
    ],
)  # fmt: skip
def test_moved_values_are_reported_and_the_gate_stays_open(
    data_gate: Gate, table: Any, check: str, message: str
) -> None:
    code, report = data_gate(table)
    assert (code, report["open"]) == (0, True)
    [finding] = [f for f in report["findings"] if f["status"] == "warn"]
    assert finding["check"] == check
    assert message in finding["message"]
    assert "zz" not in json.dumps(finding), "no value of the data is ever shown"


def test_other_order_whole_numbers_and_a_lost_ignored_column_are_no_fault(
    data_gate: Gate,
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
def test_without_rules_the_data_is_not_judged(data_gate: Gate, schema: Any, gates: Any) -> None:
    from gatehouse.core.errors import Stop

    put("reports/data_gate.json", {"open": True})
    with pytest.raises(Stop, match=r"schema\.yaml describes no columns|no data\.rows_min"):
        data_gate(schema=schema, gates=gates)


def test_an_old_verdict_does_not_survive(here: Path) -> None:
    from gatehouse.gates.data_gate import judge

    put("gates.yaml", GATES)
    put("reports/data_gate.json", {"open": True})
    with stops("file-missing", "reports/data.json"):
        judge(Project())
    assert not Path("reports/data_gate.json").exists()


def finding(report: dict[str, Any], check: str) -> dict[str, Any]:
    [found] = [f for f in report["findings"] if f["check"] == check]
    return dict(found)


@pytest.mark.parametrize(
    ("table", "check", "has", "says"),
    [
        (without("size"), "schema: size", "missing", "number"),
        (TABLE | {"size": ["a", "b", "c", "d"]}, "schema: size", "string", "number"),
        (TABLE | {"size": [1.0, None, 2.0, 3.0]}, "schema: size", "25 % missing", "none missing"),
        (TABLE | {"key": [1, 2, 2, 3]}, "schema: key", "2 repeated", "all unique"),
        (TABLE | {"town": pa.nulls(4, pa.string())}, "schema: town", "all missing", "values"),
        (TABLE | {"y": ["no", "yes", "perhaps", "no"]}, "schema: y", "3 classes, 1 unknown", "2 classes"),
        (TABLE | {"size": [0.0, 4e6, 1.0, 1.0]}, "values: size", "0 to 4,000,000", "0 to 10"),
        (TABLE | {"size": [-0.25, 4.0, 1.0, 1.0]}, "values: size", "-0.25 to 4", "0 to 10"),
        (TABLE | {"town": ["a", "zz", "yy", None]}, "values: town", "3 categories, 2 unknown", "2 categories"),
        (TABLE | {"new": [1, 2, 3, 4]}, "unknown columns", 1, 0),
    ],
)  # fmt: skip
def test_a_finding_holds_what_the_data_have_against_what_the_schema_says(
    data_gate: Gate, table: Any, check: str, has: Any, says: Any
) -> None:
    _, report = data_gate(table)
    found = finding(report, check)
    assert (found["value"], found["threshold"]) == (has, says)
    assert "zz" not in json.dumps(report)


def test_of_a_personal_column_no_range_is_said(data_gate: Gate) -> None:
    columns = SCHEMA["columns"]
    declared = columns | {"size": columns["size"] | {"pii": True}}
    table = TABLE | {"size": [77777.0, 1.0, 2.0, 3.0]}
    _, report = data_gate(table, schema=SCHEMA | {"columns": declared})
    found = finding(report, "values: size")
    assert (found["value"], found["threshold"]) == (0.25, 0.0)
    assert "7777" not in json.dumps(found).replace(",", "")


@pytest.mark.parametrize(
    ("table", "fix"),
    [
        (without("size") | {"Size": [1, 2, 3, 4]}, "Was it renamed to 'Size'?"),
        (without("town") | {"city": ["a", "b", "b", None]}, "Was it renamed to 'city'?"),
        (without("size") | {"Size": [1, 2, 3, 400]}, "Look at the source of 'size'"),
        (without("size") | {"Size": ["a", "b", "c", "d"]}, "Look at the source of 'size'"),
        (without("size") | {"s": [1, 2, 3, 4], "t": [4, 3, 2, 1]}, "Look at the source of 'size'"),
    ],
)
def test_a_lost_column_that_may_have_a_new_name(data_gate: Gate, table: Any, fix: str) -> None:
    code, report = data_gate(table)
    lost = [name for name in TABLE if name not in table]
    assert code == 1
    assert finding(report, f"schema: {lost[0]}")["fix"].startswith(fix)
    assert finding(report, "unknown columns")["status"] == "warn"


# --- personal data --------------------------------------------------------------------------


def card(number: int, prefix: str = "4", length: int = 16) -> str:
    """A number of this length with the check digit of payment cards."""
    digits = prefix + str(number).zfill(length - len(prefix) - 1)
    doubled = [int(d) * (2 - k % 2) for k, d in enumerate(reversed(digits))]
    return digits + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


def iban(number: int) -> str:
    account = f"{number:017d}"
    return f"CH{98 - int(account + '121700') % 97:02d}{account}"


def ahv(number: int) -> str:
    digits = f"756{number:09d}"
    return digits + str(-sum(int(d) * (1 + 2 * (k % 2)) for k, d in enumerate(digits)) % 10)


NUMBERS = [int(n) for n in np.random.default_rng(5).integers(10**8, 10**9, 300)]
FEW = ["some words", "others", None] * 100
PERSONAL: list[tuple[str, str, Any]] = [
    ("contact", "e-mail addresses", [f"p.{n}@mail.example.org" for n in NUMBERS]),
    ("note", "e-mail addresses", [f"about {n}" for n in NUMBERS[6:]] + [f"ask x{n}@a.ch, please" for n in NUMBERS[:6]]),
    ("x", "phone numbers", [f"+41 79 {n % 900 + 100} {n % 90 + 10} {n // 100 % 90 + 10}" for n in NUMBERS]),
    ("x", "phone numbers", [f"+4915{n}" for n in NUMBERS]),
    ("x", "phone numbers", [f"079 {n % 900 + 100} {n % 90 + 10} {n // 100 % 90 + 10}" for n in NUMBERS]),
    ("x", "phone numbers", [f"(555) {n % 800 + 200}-{n % 9000 + 1000}" for n in NUMBERS]),
    ("x", "phone numbers", [f"212-{n % 800 + 200}-{n % 9000 + 1000}" for n in NUMBERS]),
    ("customerPhone", "phone numbers", [4179000000 + n % 1000000 for n in NUMBERS]),
    ("Telefon-Nr.", "phone numbers", [f"0{n}" for n in NUMBERS]),
    ("x", "payment card numbers", [int(card(n)) for n in NUMBERS]),
    ("x", "payment card numbers", [card(n, "51") for n in NUMBERS]),
    ("x", "payment card numbers", [" ".join((card(n)[:4], card(n)[4:8], card(n)[8:12], card(n)[12:])) for n in NUMBERS]),
    ("x", "payment card numbers", [card(n, "37", 15) for n in NUMBERS] + FEW),
    ("card_number", "payment card numbers", [4 * 10**15 + n for n in NUMBERS]),
    ("x", "IBANs", [iban(n) for n in NUMBERS]),
    ("x", "IBANs", [" ".join(iban(n)[k : k + 4] for k in range(0, 21, 4)) for n in NUMBERS]),
    ("x", "social security numbers", [f"{n % 600 + 1:03d}-{n % 89 + 10}-{n % 9000 + 1000}" for n in NUMBERS]),
    ("x", "social security numbers", [int(ahv(n)) for n in NUMBERS]),
    ("x", "social security numbers", [f"756.{ahv(n)[3:7]}.{ahv(n)[7:11]}.{ahv(n)[11:]}" for n in NUMBERS]),
    ("SSN", "ID numbers", NUMBERS),
    ("ssn", "ID numbers", [*map(float, NUMBERS), None]),
    ("passport_no", "ID numbers", [f"X{n % 10**7:07d}" for n in NUMBERS]),
]  # fmt: skip
LOOK_ALIKES: list[tuple[str, Any]] = [
    ("id", NUMBERS),
    ("order", [4 * 10**15 + n for n in NUMBERS]),
    ("order", [f"4{n:015d}" for n in NUMBERS]),
    ("amount", [float(n) for n in NUMBERS]),
    ("amount", [n / 100 for n in NUMBERS]),
    ("epoch", [1_700_000_000 + n % 10**6 for n in NUMBERS]),
    ("epoch", [1_700_000_000_000 + n for n in NUMBERS]),
    ("mobile", [0, 1, None] * 100),
    ("mobile", ["yes", "no", None] * 100),
    ("telephone_minutes", NUMBERS),
    ("fax", ["none", "some"] * 150),
    ("card", ["gold", "silver"] * 150),
    ("cards", [n % 5 for n in NUMBERS]),
    ("zip", [f"{n % 10**5:05d}" for n in NUMBERS]),
    ("zip", [f"{n % 10**5:05d}-{n % 10**4:04d}" for n in NUMBERS]),
    ("flight", [f"UA{n % 2000}" for n in NUMBERS]),
    ("flight", [n % 8500 for n in NUMBERS]),
    ("hash", [f"{n * 7919:032x}" for n in NUMBERS]),
    ("hash", [f"{n * 7919 % 2**60:016X}" for n in NUMBERS]),
    ("isbn", [9_783_000_000_000 + n for n in NUMBERS]),
    ("isbn", [f"978-3-16-{n % 10**6:06d}-{n % 10}" for n in NUMBERS]),
    ("day", [f"2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in NUMBERS]),
    ("day", [f"{n % 28 + 1:02d}.{n % 12 + 1:02d}.2024 {n % 24:02d}:{n % 60:02d}" for n in NUMBERS]),
    ("day", [f"{n % 28 + 1:02d}/{n % 12 + 1:02d}/2024" for n in NUMBERS]),
    ("host", [f"192.168.{n % 250}.{n % 249}" for n in NUMBERS]),
    ("uuid", [f"{n:08x}-{n % 65536:04x}-4{n % 4096:03x}-a{n % 4095:03x}-{n:012x}" for n in NUMBERS]),
    ("handle", [f"@user{n}" for n in NUMBERS]),
    ("price", [f"{n % 90} @ {n % 7}.50" for n in NUMBERS]),
    ("drug", [f"{n % 3000:04d}-{n % 10000:04d}-{n % 100:02d}" for n in NUMBERS]),
    ("place", [f"47.{n % 10**6:06d}, 8.{n % 10**5}" for n in NUMBERS]),
    ("ean", [7_610_000_000_000 + n for n in NUMBERS]),
    ("when", pa.array(NUMBERS, pa.timestamp("us"))),
    ("open", [True, False, None] * 100),
    ("never", pa.nulls(300, pa.string())),
    ("nothing", pa.nulls(300, pa.float64())),
]  # fmt: skip


def scan(name: str, values: Any, **column: Any) -> list[Any]:
    from gatehouse.data.personal import personal

    return list(personal(pa.table({name: values}), {"columns": {name: column} if column else {}}))


@pytest.mark.gate("data gate", "personal data", "closed")
@pytest.mark.parametrize(("name", "kind", "values"), PERSONAL)
def test_personal_values_are_seen_and_never_said(name: str, kind: str, values: list[Any]) -> None:
    [found] = scan(name, values)
    assert (found.check, found.status) == (f"personal: {name}", "fail")
    assert found.message.endswith(f"% of its different values look like {kind}")
    assert "declare `pii: true` for it in schema.yaml" in found.fix
    said = json.dumps(found.as_json())
    assert not [value for value in values if value is not None and str(value) in said]


@pytest.mark.parametrize(("name", "kind", "values"), PERSONAL)
def test_a_declared_column_is_no_finding(name: str, kind: str, values: list[Any]) -> None:
    assert scan(name, values, type="string", role="ignore", pii=True) == []
    assert scan(name, values, type="string", role="ignore", pii=False) != []


@pytest.mark.gate("data gate", "personal data", "open")
@pytest.mark.parametrize(("name", "values"), LOOK_ALIKES)
def test_what_only_looks_like_it_is_left_alone(name: str, values: Any) -> None:
    assert scan(name, values) == []


def test_a_table_without_rows_has_nothing_personal() -> None:
    assert scan("mail", pa.array([], pa.string())) == []


def test_of_many_rows_a_sample_is_looked_at() -> None:
    rows = 250_000
    values = np.where(np.arange(rows) % 50, np.arange(rows).astype(str), "x@example.org")
    [found] = scan(
        "text", [f"{v}{k}"[::-1] if "@" not in v else f"{k}{v}" for k, v in enumerate(values)]
    )
    assert found.value == pytest.approx(0.02, abs=0.003)


@pytest.mark.parametrize("name", TABLES)
def test_in_the_odd_tables_only_the_addresses_are_personal(name: str) -> None:
    from gatehouse.data.personal import personal

    frame = TABLES[name].make(np.random.default_rng(0))
    frame.columns = [str(column) or "unnamed_0" for column in frame.columns]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # As ingest writes it: pandas has a type of text of its own.
    fields = [
        (f.name, pa.string() if f.type == pa.large_string() else f.type) for f in table.schema
    ]
    found = personal(table.cast(pa.schema(fields)), {"columns": {}})
    assert {f.check for f in found} == {f"personal: {name}" for name in TABLES[name].personal}


def test_no_personal_value_is_printed_or_written(
    data_gate: Gate, capfd: pytest.CaptureFixture[str]
) -> None:
    mails = [f"secret{k}@example.org" for k in range(4)]
    code, report = data_gate(TABLE | {"mail": mails})
    said = capfd.readouterr()
    assert code == 1
    assert "personal: mail: 100% of its different values look like e-mail addresses" in said.err
    assert "secret" not in said.err + said.out + json.dumps(report)
    assert not [p for p in Path("reports").iterdir() if "secret" in p.read_text(encoding="utf-8")]
