"""The same requests to two versions: what changed, what is lost, what is won."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from osv import service

from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.deploy.replay import compare, replay


def says(share: float) -> dict[str, Any]:
    return {"prediction": share > 0.5, "probabilities": {"true": share, "false": 1 - share}}


def replayed(
    old: Callable[[Any], Any], new: Callable[[Any], Any], rows: Path, capsys: Any
) -> tuple[int, Any]:
    with service(old) as a, service(new) as b:
        code = replay(Project(), a, b, rows, as_json=True)
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def rows(here: Path) -> Path:
    path = here / "rows.jsonl"
    path.write_text("".join(f'{{"x": {n}}}\n' for n in range(10)), encoding="utf-8")
    return path


def test_a_replay_counts_what_changed(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = replayed(
        lambda row: says(row["x"] / 10), lambda row: says(row["x"] / 10 + 0.2), rows, capsys
    )
    assert code == 0
    assert (said["requests"], said["compared"], said["changed"]) == (10, 10, 2)
    assert said["largest_difference"] == pytest.approx(0.2)
    assert 0 < said["new_p50_ms"] <= said["new_p99_ms"]
    assert said["old_p50_ms"] > 0


def test_numbers_that_differ_by_a_rounding_have_not_changed() -> None:
    said = compare([{"prediction": 1.0}, {"prediction": 2.0}], [{"prediction": 1.0000001}] * 2)
    assert (said["changed"], said["largest_difference"]) == (1, pytest.approx(1.0, rel=1e-5))
    assert compare([None], [None])["largest_difference"] is None


def test_an_answer_that_is_lost_fails_and_one_that_is_won_does_not(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(row: Any) -> Any:
        return says(0.1) if row["x"] < 7 else None

    def every(row: Any) -> Any:
        return says(0.1)

    code, said = replayed(every, some, rows, capsys)
    assert (code, said["lost"], said["won"], said["compared"]) == (1, 3, 0, 7)
    code, said = replayed(some, every, rows, capsys)
    assert (code, said["lost"], said["won"]) == (0, 0, 3)


def test_requests_that_are_none_are_refused(here: Path) -> None:
    for text in ("", "3\n", "{\n"):
        (here / "rows.jsonl").write_text(text, encoding="utf-8")
        with pytest.raises(Stop) as stop:
            replay(
                Project(),
                "http://127.0.0.1:9",
                "http://127.0.0.1:9",
                here / "rows.jsonl",
                as_json=False,
            )
        assert stop.value.exit_code == 2
