"""The inference log has one form, which its writers and its reader share."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from gatehouse.core import inference_log as log


def test_a_line_has_the_fields_that_are_described() -> None:
    form = log.LINE % (b"01234567", b"sha256:a")
    parts = (b"r1", b"2026-11-27T08:00:00", 5, 0.25, b'{"x":1}', b'{"prediction":2}', b"[]")
    line = json.loads(form % parts)
    assert set(line) == set(log.Line.__annotations__) - {"ids"}
    assert datetime.fromisoformat(line["time"]) == datetime(2026, 11, 27, 8, 0, 0, 5, UTC)
    assert (line["seconds"], line["schema"], line["model"]) == (0.25, "01234567", "sha256:a")


def test_a_files_name_says_when_it_was_begun() -> None:
    moment = datetime(2026, 11, 27, 8, 1, 2)
    name = log.file_name(moment, "host", 7, 1)
    assert (log.day_folder(moment), name) == ("2026-11-27", "080102-host-7-1.jsonl")
    assert log.is_log_file(name) and not log.is_log_file(f".{name}.tmp")
    assert log.begun(moment.date(), name) == moment
    assert Path(f"{log.day_folder(moment)}/{name}").match(f"{log.DAYS}/*{log.SUFFIX}")


@pytest.mark.parametrize("name", ["x.jsonl", "080102.jsonl", "250000-a.jsonl", "08010-a.jsonl"])
def test_another_name_says_nothing(name: str) -> None:
    assert log.begun(date(2026, 11, 27), name) is None


@pytest.mark.parametrize(
    ("answer", "form"),
    [([{"prediction": 1}], "rows"), ({"prediction": [1]}, "columns"), ({"prediction": 1}, "one")],
)
def test_the_form_is_told_by_the_answer(answer: Any, form: str) -> None:
    assert log.form_of(answer) == form
    assert log.form_of_text(json.dumps(answer, separators=(",", ":")).encode()) == form


def test_without_a_schema_there_is_no_version(tmp_path: Path) -> None:
    assert log.schema_version(tmp_path / "schema.yaml") == ""
    (tmp_path / "schema.yaml").write_text("x")
    assert log.schema_version(tmp_path / "schema.yaml") == "2d711642"
