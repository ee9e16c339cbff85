"""The JSON files that one stage leaves for another: what is refused, and by which words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stops import stops

from gatehouse.core.config.results import (
    Blessing,
    Champion,
    Checks,
    Golden,
    Metrics,
    read_result,
    write_result,
)
from gatehouse.core.errors import Stop

JUDGED = {"metric": "skill", "slice": "all", "passed": True}
GOOD: dict[str, Any] = {
    "version": 1,
    "blessed": True,
    "model_digest": "sha256:m",
    "serving": {"format": "onnx", "reason": "the same"},
    "reasons": [],
    "rules": [JUDGED],
}


def read(folder: Path, content: Any, **options: Any) -> Blessing:
    path = folder / "blessing.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_result(path, Blessing, **options)


def test_what_is_written_is_read_and_nothing_is_added(tmp_path: Path) -> None:
    blessing = read(tmp_path, GOOD)
    write_result(tmp_path / "again.json", blessing)
    assert json.loads((tmp_path / "again.json").read_text()) == GOOD


FAULTS: dict[str, tuple[Any, str]] = {
    "a key that nobody knows": (GOOD | {"reason": []}, r"reason: .*did you mean reasons\?"),
    "such a key in a list": (
        GOOD | {"rules": [JUDGED | {"pased": True}]},
        r"rules\.0\.pased: .*did you mean passed\?",
    ),
    "a key twice": ('{"version": 1, "blessed": false, "blessed": true}', "'blessed' twice"),
    "a key twice, deep inside": (
        json.dumps(GOOD).replace('"metric"', '"slice": "x", "metric"'),
        "'slice' twice",
    ),
    "a word for yes": (GOOD | {"blessed": "true"}, "blessed"),
    "a number for yes": (GOOD | {"blessed": 1}, "blessed"),
    "no number": (GOOD | {"rules": [JUDGED | {"low": float("nan")}]}, r"rules\.0\.low"),
    "another form": (GOOD | {"version": 2}, "version"),
    "no version": ({k: v for k, v in GOOD.items() if k != "version"}, "version"),
    "a form that nothing serves": (GOOD | {"serving": {"format": "x", "reason": ""}}, "format"),
    "less than it must hold": ({"version": 1, "blessed": True}, "model_digest"),
    "no object": ("[]", "no JSON object"),
    "no JSON": ("{", "no JSON"),
    "a tower of brackets": ("[" * 100_000, "no JSON"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_none_of_it_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    content, said = FAULTS[name]
    with pytest.raises(Stop, match=said) as stop:
        read(tmp_path, content)
    assert (stop.value.code, stop.value.exit_code) == ("file-damaged", 2)
    assert "make pipeline" in str(stop.value)


def test_an_old_file_is_read_where_it_may_be_old(tmp_path: Path) -> None:
    old = {k: v for k, v in GOOD.items() if k != "version"} | {"written_then": 1}
    assert read(tmp_path, old, old=True).model_digest == "sha256:m"
    with stops("file-damaged", "version"):
        read(tmp_path, old)
    with stops("file-damaged", "written_then"):
        read(tmp_path, old | {"version": 1}, old=True)
    with stops("file-damaged", "blessed"):
        read(tmp_path, old | {"blessed": "true"}, old=True)


def test_a_finding_of_an_unknown_status_is_kept(tmp_path: Path) -> None:
    finding = {"check": "x", "status": "new", "message": "", "value": 3, "threshold": "a"}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"version": 1, "findings": [finding]}))
    [found] = read_result(path, Checks).stated(path)
    assert (found.status, found.value, found.threshold) == ("new", 3, "a")


def test_numbers_stay_of_their_kind(tmp_path: Path) -> None:
    write_result(tmp_path / "m.json", Metrics(train={"rows": 3}, test={"rows": 1, "skill": None}))
    assert '"rows": 3,' not in (tmp_path / "m.json").read_text()
    assert read_result(tmp_path / "m.json", Metrics).train == {"rows": 3}
    assert '"rows": 3\n' in (tmp_path / "m.json").read_text()


@pytest.mark.parametrize("model", [Blessing, Champion, Checks, Golden, Metrics])
def test_an_empty_file_is_none_of_them(tmp_path: Path, model: Any) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(Stop) as stop:
        read_result(tmp_path / "x.json", model)
    assert stop.value.code == "file-damaged"


def test_the_record_and_the_digests_need_no_package() -> None:
    code = "import gatehouse.core.digests, gatehouse.core.findings, gatehouse.registry.record"
    source = str(Path(__file__).parents[2] / "src")
    environment = {"PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, check=False)
    assert done.returncode == 0
