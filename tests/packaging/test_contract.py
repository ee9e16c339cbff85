"""The contract of the service: kept by the library's own, broken by one that says something else."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import bless, frame

from gatehouse.core.config.schema import load_schema
from gatehouse.core.digests import MODEL
from gatehouse.core.layout import GOLDEN
from gatehouse.core.project import Project
from gatehouse.data.tables import write_table
from gatehouse.packaging.contract.run import against, contract
from gatehouse.packaging.docker import last_words
from gatehouse.serving.skops_model import load
from gatehouse.training.golden import write_golden

HOUSE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def blessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a blessed model, golden requests, and this Python in place of what serves."""
    import pyarrow as pa

    monkeypatch.chdir(tmp_path)
    # A grammar of web addresses that takes seconds to build; jsonschema does without it.
    (tmp_path / "less").mkdir()
    (tmp_path / "less/rfc3987_syntax.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{HOUSE}{os.pathsep}{tmp_path / 'less'}")
    bless(tmp_path, "binary")
    assert load_schema(Project()).features
    write_table(pa.Table.from_pandas(frame(40), preserve_index=False), Path("data/test.parquet"))
    write_golden(Project(), load(MODEL))
    Path("metrics.json").write_text("{}", encoding="utf-8")
    Path("pyproject.toml").write_text('[project]\nname = "widget"\n', encoding="utf-8")
    program = Path(".venv-serve/bin/python")
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


def change_golden(**answer: Any) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    golden["answers"][0] |= answer
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


def test_the_library_keeps_it(blessed: Path) -> None:
    assert contract() == 0


def test_another_answer_breaks_it(blessed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change_golden(prediction="neither")
    assert contract() == 1
    assert "test_it_answers_as_offline" in capfd.readouterr().out


def test_a_service_that_is_not_there_breaks_it_and_nothing_of_the_tree_mends_that(
    blessed: Path,
) -> None:
    Path("conftest.py").write_text("collect_ignore_glob = ['*']", encoding="utf-8")
    Path("pytest.ini").write_text("[pytest]\naddopts = -k nothing", encoding="utf-8")
    done = against("http://127.0.0.1:1", quiet=True)
    assert done.returncode == 1
    assert "passed" not in last_words(done)
