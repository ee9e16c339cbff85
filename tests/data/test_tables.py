"""Reading what people call CSV: types from the whole column, and one sentence for what is broken."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    from gatehouse.core.config.params import Ingest
    from gatehouse.core.config.schema import Column
    from gatehouse.data.tables import read_table

    def read(
        content: str | bytes,
        types: dict[str, Any] | None = None,
        name: str = "t.csv",
        **options: Any,
    ) -> dict[str, Any]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        columns = {n: Column(**t) for n, t in (types or {}).items()}
        table: Any = read_table(path, Ingest(source=path, **options), columns)
        return {
            n: (str(table.schema.field(n).type), table[n].to_pylist()) for n in table.schema.names
        }

    return read


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "", "-3"], "int64", [1, None, -3]),
        (["1", "2.5", "1e3"], "double", [1.0, 2.5, 1000.0]),
        ([" 1", "2 ", ""], "int64", [1, 2, None]),
        (["1.5", "   ", "2"], "double", [1.5, None, 2.0]),
        (["1.0", "2.0", "7"], "double", [1.0, 2.0, 7.0]),
        (["0.5", "0.25", "-0.1"], "double", [0.5, 0.25, -0.1]),
        (["0", "10", "7"], "int64", [0, 10, 7]),
        (["007", "012", "100"], "string", ["007", "012", "100"]),
        (["true", "FALSE", ""], "bool", [True, False, None]),
        (["yes", "no", "NA"], "string", ["yes", "no", "NA"]),
        (["1", "NA", "?"], "int64", [1, None, None]),
        (["1.5", "inf", "-inf"], "double", [1.5, None, None]),
        (["9" * 25, "1", "2"], "string", ["9" * 25, "1", "2"]),
        (["9" * 25, "1.5", "2"], "double", [1e25, 1.5, 2.0]),
        (["2024-02-29", "", "2024-03-01"], "timestamp[us]", [datetime(2024, 2, 29), None, datetime(2024, 3, 1)]),
        (["2024-02-29T10:00:00Z", "2024-02-29T10:00:00+02:00", ""], "timestamp[us]", [datetime(2024, 2, 29, 10), datetime(2024, 2, 29, 8), None]),
        (["31.12.2024", "01.02.2024", ""], "timestamp[us]", [datetime(2024, 12, 31), datetime(2024, 2, 1), None]),
        (["12/31/2024", "01/02/2024", ""], "timestamp[us]", [datetime(2024, 12, 31), datetime(2024, 1, 2), None]),
        (["01/02/2024", "03/04/2024", ""], "string", ["01/02/2024", "03/04/2024", None]),
        (["", "NA", "NaN"], "string", [None, None, None]),
    ],
)  # fmt: skip
def test_a_column_gets_the_narrowest_type_of_all_its_values(
    read: Read, cells: list[str], kind: str, values: list[Any]
) -> None:
    text = "x,k\n" + "".join(f"{cell},{k}\n" for k, cell in enumerate(cells))
    assert read(text)["x"] == (kind, values)


def test_the_last_row_of_many_decides_too(read: Read) -> None:
    text = "x,k\n" + "1,1\n" * 400_000 + "one,1\n"
    kind, values = read(text)["x"]
    assert (kind, values[-1], values[0]) == ("string", "one", "1")


def test_the_schema_decides_before_the_looks(read: Read) -> None:
    types = {"zip": {"type": "string"}, "n": {"type": "number"}, "b": {"type": "boolean"}}
    found = read("zip,n,b,more\n1234,5,1,2\n0123,,0,3\n", types)
    assert found == {
        "zip": ("string", ["1234", "0123"]),
        "n": ("double", [5.0, None]),
        "b": ("bool", [True, False]),
        "more": ("int64", [2, 3]),
    }


def test_what_does_not_fit_the_schema_stays_text_for_the_gate(read: Read) -> None:
    found = read("n,k\n5,1\nfive,2\n", {"n": {"type": "number"}, "k": {"type": "integer"}})
    assert found == {"n": ("string", ["5", "five"]), "k": ("int64", [1, 2])}


def test_a_date_format_of_the_schema_is_used(read: Read) -> None:
    types = {"d": {"type": "datetime", "format": "%d/%m/%Y"}}
    assert read("d,k\n01/02/2024,1\n", types)["d"][1] == [datetime(2024, 2, 1)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_read_off_the_header(read: Read, delimiter: str) -> None:
    text = 'a,"b,c",d\n1,"x\ny",2\n'
    text = text.replace(",", delimiter) if delimiter != "," else text
    name = f"b{delimiter}c"
    assert read(text)[name] == ("string", ["x\ny"])


def test_decimal_comma(read: Read) -> None:
    assert read("a;b\n1,5;2\n-2,25;3\n", decimal=",")["a"] == ("double", [1.5, -2.25])


def test_decimal_comma_with_grouped_thousands(read: Read) -> None:
    assert read("a;b\n1.234,5;3.5\n-2;4\n12.345.678;1\n", decimal=",") == {
        "a": ("double", [1234.5, -2.0, 12345678.0]),
        "b": ("string", ["3.5", "4", "1"]),
    }


def test_whole_numbers_with_a_point_are_integers_where_the_schema_says_so(read: Read) -> None:
    types = {"n": {"type": "integer"}, "k": {"type": "integer"}}
    assert read("n,k\n5.0,5.5\n,6\n", types) == {
        "n": ("int64", [5, None]),
        "k": ("string", ["5.5", "6"]),
    }


def test_parquet_types_become_ours(read: Read, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    when = datetime(2024, 5, 1, 12)
    table = pa.table(
        {
            " big ": pa.array([2**63 + 1, 1], pa.uint64()),
            "small": pa.array([1, None], pa.uint8()),
            "money": pa.array([1, 2], pa.decimal128(10, 2)),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "day": pa.array([when.date(), None]),
            "at": pa.array([1, 2], pa.timestamp("ns", "Europe/Zurich")),
            "far": pa.array([datetime(9999, 12, 31), None], pa.timestamp("us")),
            "none": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    found = read((tmp_path / "in.parquet").read_bytes(), name="t.parquet")
    assert {name: kind for name, (kind, _) in found.items()} == {
        "big": "string", "small": "int64", "money": "double", "kind": "string",
        "day": "timestamp[us]", "at": "timestamp[us]", "far": "timestamp[us]", "none": "string",
    }  # fmt: skip
    assert found["day"][1] == [datetime(2024, 5, 1), None]


def test_names_that_are_numbers_are_no_repeated_header(read: Read) -> None:
    assert read("0,1,y\n0,1,2\n1,1,3\n")["y"] == ("int64", [2, 3])


def test_a_byte_order_mark_and_nameless_columns(read: Read) -> None:
    found = read(b"\xef\xbb\xbf, a ,b\r\n0,1,2\r\n1,3,4\r\n")
    assert list(found) == ["unnamed_0", "a", "b"]


def test_another_encoding_when_it_is_named(read: Read) -> None:
    assert read("größe,k\n1,ü\n".encode("latin-1"), encoding="latin-1")["k"][1] == ["ü"]


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"a,b\n1,2\n3\n4,5\n", "t.csv", r"row 3 has another number of fields"),
        (b"a,b\n1,2,9\n", "t.csv", r"row 2 has another number of fields"),
        (b"a,b\n1,\xff\xfe\n", "t.csv", r"is not utf-8 text"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00", "t.csv", r"is not utf-8 text"),
        (b"a,b\n", "t.csv", r"has no rows"),
        (b"", "t.csv", r"is empty"),
        (b"a,b\n1,2\na,b\n3,4\n", "t.csv", r"repeats its header in row 3"),
        (b"a,a\n1,2\n", "t.csv", r"column 'a' stands twice"),
        (b"PAR1 cut", "t.parquet", r"no readable Parquet file"),
        (b"", "t.parquet", r"no readable Parquet file"),
    ],
)  # fmt: skip
def test_a_broken_file_gets_one_sentence(
    read: Read, content: bytes, name: str, sentence: str
) -> None:
    from gatehouse.core.errors import InputError

    with pytest.raises(InputError, match=sentence) as refusal:
        read(content, name=name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not re.search(r"\b(ArrowInvalid|Traceback)\b", str(refusal.value))


@pytest.mark.parametrize("kind", ["nested", "no text"])
def test_a_parquet_column_that_no_model_can_use_is_named(
    read: Read, tmp_path: Path, kind: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gatehouse.core.errors import InputError

    values = pa.array([[1.0], [2.0]])
    if kind == "no text":  # bytes that a writer only called text
        raw = pa.array([b"a", b"\xff"])
        values = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"town": values, "late": [0, 1]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"column .town. holds (list<|bytes that are no UTF-8)"):
        read((tmp_path / "in.parquet").read_bytes(), name="t.parquet")
