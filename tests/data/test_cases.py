"""Small tables as people have them: from the file to what schema.yaml says, and back again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from projects import rendered

from gatehouse.core.project import Project

ROWS = 120
RNG = np.random.default_rng(0)


@dataclass
class Setup:
    """What `make setup` makes of a file."""

    schema: dict[str, Any]
    table: pa.Table
    reasons: dict[str, str]
    console: str
    text: str

    def column(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.schema["columns"][name]
        return found

    def role(self, name: str) -> str:
        return str(self.column(name)["role"])

    def values(self, name: str) -> list[Any]:
        found: list[Any] = self.table[name].to_pylist()
        return found


Look = Callable[..., Setup]


@pytest.fixture
def look(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Look:
    """Ingest and `gatehouse schema`, in this process; then ingest and chunks by schema.yaml."""
    from gatehouse.core.config.params import load_params
    from gatehouse.core.config.schema import load_schema
    from gatehouse.data import describe as schema_init
    from gatehouse.data.tables import read_chunks
    from gatehouse.training.ingest import ingest

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schema_init, "_ingest", lambda *_: ingest(Project()))

    def look(
        content: str | bytes | pa.Table, target: str = "y", options: Any = None, **answers: Any
    ) -> Setup:
        source = tmp_path / ("t.parquet" if isinstance(content, pa.Table) else "t.csv")
        if isinstance(content, pa.Table):
            pq.write_table(content, source)
        else:
            source.write_bytes(content.encode() if isinstance(content, str) else content)
        told = yaml.safe_load(rendered("params.yaml"))
        told["ingest"] |= {"source": str(source), "derive_target": None, **(options or {})}
        Path("params.yaml").write_text(yaml.safe_dump(told))
        asked = {"task": "auto", "target": target, **answers, "columns": {}}
        Path("schema.yaml").write_text(yaml.safe_dump(asked))
        try:
            schema_init.init(Project(), force=True)
        finally:
            said = capsys.readouterr().err
            look.said = said  # type: ignore[attr-defined]
        first = pq.read_table("data/dataset.parquet")
        ingest(Project())
        again = pq.read_table("data/dataset.parquet")
        assert again.equals(first), "schema.yaml gives other values than the first look"
        schema = load_schema(Project())
        monkeypatch.setattr("gatehouse.data.tables.CHUNK_ROWS", 31)
        pieces = pa.concat_tables(
            read_chunks(source, load_params(Project()).ingest, schema.columns)
        )
        labelled = pieces.filter(pc.is_valid(pieces[target]))
        for name in first.column_names:
            if name != target and labelled[name].type == first[name].type:
                assert labelled[name].equals(first[name]), f"a piece of {name} is read otherwise"
        text = Path("schema.yaml").read_text()
        found: dict[str, Any] = yaml.safe_load(text)
        reasons = {
            name: json.loads(field.metadata[b"decided"])["why"]
            for name in first.column_names
            if (field := first.schema.field(name)).metadata
        }
        return Setup(found, first, reasons, said, text)

    return look


def csv(delimiter: str = ",", /, **columns: Any) -> str:
    """A file of these columns, each repeated to ``ROWS`` rows, beside a target."""
    rows = {"y": ["up", "down"], **columns}
    frame = pd.DataFrame(
        {name: np.resize(np.array(v, dtype=object), ROWS) for name, v in rows.items()}
    )
    return frame.to_csv(index=False, sep=delimiter)


MANY = [f"{k}" for k in range(1, 50)]

NUMBERS: dict[str, tuple[list[str], dict[str, Any], list[Any]]] = {
    "thousands": (["30,081", "1,234,567", "12"], {"thousands": ","}, [30081, 1234567, 12]),
    "thousands and a point": (["1,593.49", "515.79"], {"thousands": ","}, [1593.49, 515.79]),
    "decimal comma": (["1,5", "-0,25"], {"decimal": ","}, [1.5, -0.25]),
    "points and a comma": (["1.234,5", "12,25"], {"decimal": ",", "thousands": "."}, [1234.5, 12.25]),
    "points that can only group": (["1.234.567", "1.234"], {"thousands": "."}, [1234567, 1234]),
    "apostrophes": (["1'234.50", "7.25"], {"thousands": "'"}, [1234.5, 7.25]),
    "typographic apostrophes": (["1\u2019234", "7"], {"thousands": "'"}, [1234, 7]),
    "blanks": (["1 234,5", "2,5"], {"decimal": ",", "thousands": " "}, [1234.5, 2.5]),
    "narrow blanks": (["1\u202f234", "12\u00a0345"], {"thousands": " "}, [1234, 12345]),
    "rupees": (["12,34,567", "1,23,456"], {"thousands": ","}, [1234567, 123456]),
    "dollars": (["$12.30", "$5.00", "-$1.25"], {"unit": "$"}, [12.3, 5.0, -1.25]),
    "dollars, thousands": (["$1,612", "$1,250.50"], {"unit": "$", "thousands": ","}, [1612.0, 1250.5]),
    "accounting": (["$12.30", "($5.00)"], {"unit": "$"}, [12.3, -5.0]),
    "francs": (["CHF 1'200.50", "CHF 3.25"], {"unit": "CHF", "thousands": "'"}, [1200.5, 3.25]),
    "euros behind": (["12,50 €", "3,25 €"], {"unit": "€", "decimal": ","}, [12.5, 3.25]),
    "euros by code": (["1.200,50 EUR", "3,25 EUR"], {"unit": "EUR", "decimal": ",", "thousands": "."}, [1200.5, 3.25]),
    "per cent": (["12.5%", "7%"], {"unit": "%"}, [12.5, 7.0]),
    "per cent with a blank": (["12.5 %", "7.1 %"], {"unit": "%"}, [12.5, 7.1]),
    "kilograms": (["12 kg", "7 kg"], {"unit": "kg"}, [12, 7]),
    "kilometres an hour": (["12.5km/h", "7km/h"], {"unit": "km/h"}, [12.5, 7.0]),
    "degrees": (["12.5 °C", "-3 °C"], {"unit": "°C"}, [12.5, -3.0]),
    "zero needs no unit": (["$12", "0", "$7"], {"unit": "$"}, [12, 0, 7]),
    "minus as printed": (["\u22125", "7"], {}, [-5, 7]),
    "minus behind": (["5-", "7"], {}, [-5, 7]),
    "missing marks": (["5", "?", "7"], {}, [5, None, 7]),
    "infinite": (["5.5", "inf", "-Infinity"], {}, [5.5, None, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_is_a_number_however_it_is_written(look: Look, case: str) -> None:
    cells, settings, values = NUMBERS[case]
    found = look(csv(x=cells, z=["a", "b"]))
    column = found.column("x")
    assert column["type"] == ("number" if any(isinstance(v, float) for v in values) else "integer")
    assert column["role"] == "feature"
    assert found.values("x")[: len(values)] == values
    assert {k: column[k] for k in ("unit", "decimal", "thousands") if k in column} == settings


DATES: dict[str, tuple[list[str], str | None, datetime]] = {
    "two digits": (["01/17/96", "12/01/68"], "%m/%d/%y", datetime(1996, 1, 17)),
    "two digits, next century": (["01/17/68", "12/01/69"], "%m/%d/%y", datetime(2068, 1, 17)),
    "two digits with points": (["31.12.96", "01.02.05"], "%d.%m.%y", datetime(1996, 12, 31)),
    "half past noon": (["1/17/2024 12:30 PM", "2/3/2024 1:05 AM"], "%m/%d/%Y %I:%M %p", datetime(2024, 1, 17, 12, 30)),
    "half past midnight": (["1/17/2024 12:30:10 AM"], "%m/%d/%Y %I:%M:%S %p", datetime(2024, 1, 17, 0, 30, 10)),
    "short month": (["01-Feb-2024", "31-Dec-2023"], "%d-%b-%Y", datetime(2024, 2, 1)),
    "long month": (["1 February 2024", "31 May 2023"], "%d %b %Y", datetime(2024, 2, 1)),
    "month first": (["Feb 1, 2024", "March 31, 2023"], "%b %d, %Y", datetime(2024, 2, 1)),
    "month first, with a time": (["Feb 1, 2024 5:00 PM"], "%b %d, %Y %I:%M %p", datetime(2024, 2, 1, 17)),
    "a day above twelve": (["13-02-2024", "01-03-2024"], "%d-%m-%Y", datetime(2024, 2, 13)),
    "logs of servers": (["01/Feb/2024:10:00:00 +0100"], "%d/%b/%Y:%H:%M:%S %z", datetime(2024, 2, 1, 9)),
    "ISO": (["2024-02-01", "2024-02-02"], None, datetime(2024, 2, 1)),
    "ISO with its zone named": (["2024-02-01 10:00:00 UTC"], None, datetime(2024, 2, 1, 10)),
    "ISO with a blank": (["2024-02-01 10:00:00 +01:00"], None, datetime(2024, 2, 1, 9)),
    "nanoseconds": (["2024-02-01 10:00:00.123456789"], None, datetime(2024, 2, 1, 10, 0, 0, 123456)),
}  # fmt: skip


@pytest.mark.parametrize("case", DATES)
def test_a_date_is_a_date_however_it_is_written(look: Look, case: str) -> None:
    cells, fmt, first = DATES[case]
    found = look(csv(when=cells), time_column="when")
    assert found.column("when").get("format") == fmt
    assert (found.column("when")["type"], found.role("when")) == ("datetime", "time")
    assert found.values("when")[0] == first


DAYS = [f"{k % 12 + 1:02}/{k % 11 + 1:02}/20{k % 20 + 10}" for k in range(60)]
DOUBTS: dict[str, tuple[list[str], str]] = {
    "day or month": (DAYS, "`format: '%m/%d/%Y'` or `format: '%d/%m/%Y'`"),
    "two digits, three orders": ([f"{k % 12 + 1:02}/{k % 11 + 1:02}/{k % 9 + 1:02}" for k in range(60)], "`type: datetime`"),
    "no such day": ([f"{k % 28 + 1:02}.03.2024" for k in range(30)] + ["30.02.2024"], "days that do not exist"),
    "two ways": ([f"2024-01-{k:02}" for k in range(1, 25)] + [f"{k:02}.01.2024" for k in range(1, 25)], "several ways of writing"),
    "half with a zone": ([f"2024-01-{k:02}T10:00:00{'Z' * (k % 2)}" for k in range(1, 29)], "60 with a time zone and 60 without"),
    "times of day": ([f"{k % 24:02}:{k:02}" for k in range(60)], "times of day without a date"),
    "comma of two meanings": ([f"{k},{k + 100}" for k in range(1, 60)], "`decimal: ','` or `thousands: ','`"),
    "currencies": ([f"{'$€'[k % 2]}{k}.50" for k in range(60)], "several currencies ('$', '€')"),
    "units": ([f"{k} {['kg', 'lb'][k % 2]}" for k in range(60)], "several units ('kg', 'lb')"),
    "half without a unit": ([f"{k}{'%' * (k % 2)}" for k in range(1, 60)], "`unit: '%'`"),
    "too long for 64 bits": ([f"{9223372036854775800 + k}" for k in range(60)], "no 64-bit integer holds"),
    "words among numbers": ([*MANY, "low", "high"], "numbers mixed with other text in 4 rows"),
}  # fmt: skip


WORDS_WITH_NUMBERS = {
    "factor levels": ["1. Never Married", "2. Married", "3. Divorced"],
    "ranks in words": ["1st class", "2nd class", "3rd class"],
    "postal codes": [*map(str, range(98101, 98125)), "98108-1234", "98115-0012"],
}


@pytest.mark.parametrize("case", WORDS_WITH_NUMBERS)
def test_words_that_hold_numbers_are_categories_without_a_word(look: Look, case: str) -> None:
    found = look(csv(x=WORDS_WITH_NUMBERS[case], z=["a", "b"]))
    assert (found.column("x")["type"], found.role("x")) == ("string", "feature")
    [line] = [line for line in found.text.splitlines() if line.startswith("  x: ")]
    assert "#" not in line


@pytest.mark.parametrize("case", DOUBTS)
def test_what_has_more_than_one_meaning_is_named_as_what_it_is(look: Look, case: str) -> None:
    cells, said = DOUBTS[case]
    found = look(csv(x=cells, z=["a", "b"]))
    assert (found.column("x")["type"], found.role("x")) == ("string", "ignore")
    [line] = [line for line in found.text.splitlines() if line.startswith("  x: ")]
    assert said in line
    assert "identifier" not in line
    assert found.values("x")[: len(cells)] == cells[:ROWS]
    console = " ".join(found.console.split())
    assert said in console


def test_the_setting_that_is_named_settles_it(tmp_path: Path) -> None:
    from gatehouse.core.config.params import Ingest
    from gatehouse.core.config.schema import Column
    from gatehouse.data.tables import read_table

    path = tmp_path / "t.csv"
    path.write_text('x,d\n"1,269",01/02/2024\n"2,100",03/04/2024\n')
    for settings, first in (
        ({"type": "integer", "thousands": ","}, 1269),
        ({"type": "number", "decimal": ","}, 1.269),
    ):
        columns = {
            "x": Column.model_validate(settings),
            "d": Column(type="datetime", format="%d/%m/%Y"),
        }
        table = read_table(path, Ingest(source=path), columns)
        assert table["x"][0].as_py() == first
        assert table["d"][0].as_py() == datetime(2024, 2, 1)


def test_a_value_that_is_written_otherwise_is_never_guessed(tmp_path: Path) -> None:
    from gatehouse.core.config.params import Ingest
    from gatehouse.core.config.schema import Column
    from gatehouse.data.tables import read_table

    path = tmp_path / "t.csv"
    path.write_text('a,b,c\n"1,23",1.5,31/02/2024\n"1,234","1,5",28/02/96\n')
    columns = {
        "a": Column(type="number", thousands=","),
        "b": Column(type="number", decimal=","),
        "c": Column(type="datetime", format="%d/%m/%Y"),
    }
    table = read_table(path, Ingest(source=path), columns)
    assert [str(kind) for kind in table.schema.types] == ["string"] * 3  # which the gate refuses


def test_the_rest_of_the_file_shows_what_a_comma_means(look: Look) -> None:
    comma, more = [f"{k},{k + 100}" for k in range(1, 60)], ["0,5", "1,25"]
    assert look(csv(";", x=comma, z=more)).values("x")[0] == 1.101
    assert look(csv(";", x=comma, z=["0.5", "1.25"])).values("x")[0] == 1101
    assert look(csv(x=comma, z=["0.5", "1.25"])).column("x")["thousands"] == ","
    points = [f"{k}.{k + 100}" for k in range(1, 60)]
    assert look(csv(";", x=points, z=more)).values("x")[0] == 1101
    assert look(csv(x=points, z=["a", "b"])).values("x")[0] == 1.101
    assert look(csv(";", x=comma, z=["a", "b"]), options={"decimal": ","}).values("x")[0] == 1.101


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", RNG.permutation(10_000)[:ROWS]),
        ("Unnamed: 0", RNG.permutation(10_000)[:ROWS]),
        ("rownames", RNG.permutation(10_000)[:ROWS]),
        ("row.names", RNG.permutation(ROWS)),
        ("index", [*RNG.permutation(10_000)[: ROWS - 2], 1, 1]),
        ("anything", RNG.permutation(ROWS)),
        ("counts up", 7 + np.arange(ROWS)),
        ("PassengerId", RNG.permutation(10_000)[:ROWS]),
        ("order_id", RNG.permutation(10_000)[:ROWS]),
        ("No.", RNG.permutation(10_000)[:ROWS]),
        ("key", RNG.permutation(10_000)[:ROWS]),
    ],
)
def test_a_saved_index_is_left_out_and_said(look: Look, name: str, values: Any) -> None:
    index: dict[str, Any] = {name: [int(v) for v in values]}
    found = look(csv(x=[0.5, 1.5], **index))
    column = name or "unnamed_2"
    assert found.role(column) == "ignore"
    assert "row number" in found.console or "identifier" in found.console


@pytest.mark.parametrize("name", ["income", "population", "humid", "x"])
def test_a_quantity_that_is_unique_stays(look: Look, name: str) -> None:
    quantity: dict[str, Any] = {name: [int(v) for v in RNG.permutation(10_000)[:ROWS]]}
    found = look(csv(**quantity))
    assert found.role(name) == "feature"


def test_variants_of_a_class_are_named_and_one_setting_joins_them(look: Look) -> None:
    text = csv(y=["Yes", "Yes", "yes", "Yes ", "No", "no", "No"], x=[1.5, 2.5, 3.5])
    found = look(text)
    assert found.schema["classes"] == ["No", "Yes", "Yes ", "no", "yes"]
    assert "WARNING: 5 of 5 classes of 'y' differ in case or blanks alone" in found.console
    assert "`join_variants: true`" in found.console
    joined = look(text, options={"join_variants": True})
    assert joined.schema["classes"] == ["No", "Yes"]
    assert set(joined.values("y")) == {"No", "Yes"}
    assert "WARNING" not in joined.console


def test_joined_classes_are_those_of_the_schema() -> None:
    from gatehouse.core.config.schema import Schema
    from gatehouse.training.ingest import join_variants

    schema = Schema.model_construct(task="binary", target="y", classes=["YES", "no"], columns={})
    table = pa.table({"y": ["yes", "yes", " Yes", "YES", "no", None]})
    assert join_variants(table, schema)["y"].to_pylist() == [*["YES"] * 4, "no", None]


COUNTRIES = ["CH", "DE", "NA"]


def test_namibia_is_a_country(look: Look) -> None:
    found = look(csv(country=COUNTRIES, x=[0.5, 1.5]))
    assert found.column("country")["categories"] == ["CH", "DE", "NA"]
    assert not found.column("country").get("null_values")
    assert "NA is a value (40 rows): `null_values: ['NA']`" in " ".join(found.console.split())


def test_a_word_that_is_missing_among_numbers_is_missing_among_words(look: Look) -> None:
    found = look(csv(country=COUNTRIES, x=["0.5", "NA", "1.5"], s=["?", "a"]))
    assert found.column("country")["null_values"] == ["NA"]
    assert found.values("country")[:3] == ["CH", "DE", None]
    assert found.column("s")["categories"] == ["?", "a"]
    assert "NA means missing" in found.console


def test_a_list_in_params_holds_for_every_column(look: Look) -> None:
    found = look(csv(country=COUNTRIES, s=["?", "a"]), options={"null_values": ["?"]})
    assert found.column("country")["categories"] == ["CH", "DE", "NA"]
    assert found.column("s")["null_values"] == ["?"]
    assert found.column("s")["categories"] == ["a"]


def test_a_label_that_says_na_is_no_label_and_none_is_a_class(look: Look) -> None:
    found = look(csv(y=["a", "None", "NA", "a"], x=[0.5, 1.5]))
    assert found.schema["classes"] == ["None", "a"]
    assert found.table.num_rows == ROWS * 3 / 4
    assert "NA is no label (30 rows)" in found.console


def test_text_of_a_parquet_file_keeps_its_words(look: Look) -> None:
    table = pa.table(
        {
            "y": ["a", "b"] * 30,
            "c": ["NA", "CH", None] * 20,
            "x": [1.5, None] * 30,
            "t": ["  ", "u"] * 30,
        }
    )
    found = look(table)
    assert found.values("c")[:3] == ["NA", "CH", None]
    assert found.values("t")[:2] == [None, "u"]


def test_every_column_rejected_is_said_and_written(look: Look) -> None:
    from gatehouse.core.errors import Stop

    words = ["some", "words", "that", "somebody", "wrote", "about", "what", "was", "bought"]
    story = [" ".join(RNG.permutation(words)) + f" {k}" for k in range(ROWS)]
    text = csv(rownames=list(range(ROWS)), product=[f"B00{k}" for k in range(ROWS)], review=story)
    with pytest.raises(Stop, match="no column is left as a feature") as refusal:
        look(text)
    assert refusal.value.exit_code == 2
    said = str(refusal.value)
    for part in ("'rownames' (row number", "'product' (text-like identifier", "`role: text`"):
        assert part in said
    written = yaml.safe_load(Path("schema.yaml").read_text())
    assert {n: c["role"] for n, c in written["columns"].items()} == {
        "y": "target", "rownames": "ignore", "product": "ignore", "review": "ignore",
    }  # fmt: skip
    assert "review: {" in Path("schema.yaml").read_text()
    assert "# free text: `role: text` uses it" in Path("schema.yaml").read_text()


def test_ordered_categories_keep_their_order(look: Look) -> None:
    sizes = pd.Categorical(
        ["mid", "low", "high"] * 20, ["low", "mid", "high", "huge"], ordered=True
    )
    frame = pd.DataFrame({"size": sizes, "plain": sizes.as_unordered(), "y": ["a", "b"] * 30})
    found = look(pa.Table.from_pandas(frame))
    assert found.column("size")["ordered"] is True
    assert found.column("size")["categories"] == ["low", "mid", "high", "huge"]
    assert "ordered" not in found.column("plain")
    assert found.values("size")[:3] == ["mid", "low", "high"]


def test_odd_types_of_a_parquet_file_have_their_right_value(look: Look) -> None:
    from datetime import time, timedelta
    from decimal import Decimal

    table = pa.table(
        {
            "y": ["a", "b"] * 30,
            "long": pa.array([2**63 + k for k in range(60)], pa.uint64()),
            "whole": pa.array([Decimal(k) for k in range(0, 120, 2)], pa.decimal128(20, 0)),
            "price": pa.array([Decimal("1.25"), Decimal("2.50")] * 30, pa.decimal128(10, 2)),
            "at": pa.array([time(1, 0, 30), None] * 30, pa.time64("us")),
            "took": pa.array([timedelta(seconds=90), None] * 30, pa.duration("ms")),
            "raw": pa.array([b"one", b"two"] * 30),
            "big text": pa.array(["one", "two"] * 30, pa.large_string()),
            "day": pa.array([datetime(2024, 2, 1).date(), None] * 30, pa.date32()),
        }
    )
    found = look(table)
    first = {name: found.values(name)[0] for name in found.table.column_names}
    assert first == {
        "y": "a", "long": str(2**63), "whole": 0, "price": 1.25, "at": 3630.0, "took": 90.0,
        "raw": "one", "big text": "one", "day": datetime(2024, 2, 1),
    }  # fmt: skip


def test_the_console_table_is_short_and_fits() -> None:
    from gatehouse.data.describe import console_table

    columns = {f"sensor {k}": {"type": "number", "role": "feature"} for k in range(499)}
    columns |= {
        "a" * 60: {"type": "string", "role": "ignore"},
        "y": {"type": "number", "role": "target"},
    }
    lines = console_table(columns, {"a" * 60: "words " * 40})
    assert lines[1].startswith("sensor 0 … sensor 498  ")
    assert max(map(len, lines)) <= 100
    assert len(lines) < 12


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a,b,y\n1,2,u\n3,4,d\n\n\n", ["a", "b", "y"]),
        ("a,b,y,\n1,2,u,\n3,4,d,\n", ["a", "b", "y", "unnamed_3"]),
        ("\ufeffa,b,y\n1,2,u\n3,4,d\n", ["a", "b", "y"]),
    ],
)
def test_odd_ends_of_lines_and_files(look: Look, content: str, names: list[str]) -> None:
    assert look(content).table.column_names == names


def test_utf_16_is_read_where_it_is_named(look: Look) -> None:
    from gatehouse.core.errors import InputError

    text = csv(größe=[0.5, 1.5]).encode("utf-16")
    with pytest.raises(InputError, match=r"ingest\.encoding .*utf-16"):
        look(text)
    assert look(text, options={"encoding": "utf-16"}).values("größe")[0] == 0.5
