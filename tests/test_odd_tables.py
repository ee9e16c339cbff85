"""The whole pipeline on tables that nobody tidied, for all three tasks."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from baked import BakedProject
from conftest import Bake
from odd_tables import TABLES, Table

pytestmark = pytest.mark.slow


WIDE = pytest.param("500 columns", marks=pytest.mark.long)


@pytest.mark.parametrize("name", [WIDE if name == "500 columns" else name for name in TABLES])
def test_setup_pipeline_gate(
    name: str, bake: Bake, environments: BakedProject, tmp_path: Path
) -> None:
    table = TABLES[name]
    project = bake(data=str(table.write(tmp_path)), **table.answers)
    project.borrow_environments(environments).be_patient()
    declare_personal(table, project, project.make("setup").stderr)
    project.make("pipeline", "gate")
    check_schema(table, project.yaml("schema.yaml"), project.read("schema.yaml"))
    assert not [f for f in findings(project) if f["status"] == "error"]
    predict(table, project, tmp_path)
    project.run(".venv/bin/python", "-m", "pytest", "-q", "tests/data", "tests/model")


def declare_personal(table: Table, project: BakedProject, said: str) -> None:
    """As a person does to whom `make setup` named the columns."""
    assert said.count("looks personal") == len(table.personal)
    for name in table.personal:
        assert f"schema: {name!r} looks personal" in said
        project.replace("schema.yaml", f"  {name}: {{", f"  {name}: {{pii: true, ")


def check_schema(table: Table, schema: dict[str, Any], text: str) -> None:
    assert schema["task"] == table.task
    ignored = {n for n, column in schema["columns"].items() if column["role"] == "ignore"}
    assert ignored == table.ignored
    lines = {line.partition(": {")[0].strip(): line for line in text.splitlines()}
    assert all("} # " in lines[name] for name in ignored)


def findings(project: BakedProject) -> list[dict[str, Any]]:
    reports = [json.loads(project.read(f"reports/{what}.json")) for what in ("data", "model")]
    return [finding for report in reports for finding in report["findings"]]


def predict(table: Table, project: BakedProject, folder: Path) -> None:
    """Fresh rows, without the target, through `make predict`."""
    fresh = table.make(__import__("numpy").random.default_rng(1))
    fresh = fresh.drop(columns=table.answers["target"])
    source, out = folder / "fresh.parquet", folder / "out.csv"
    fresh.columns = [str(c) or "unnamed_0" for c in fresh.columns]
    fresh.astype({c: "string" for c in fresh if fresh[c].dtype == object}).to_parquet(source)
    project.make("predict", f"FILE={source}", f"OUT={out}")
    answers = pd.read_csv(out)
    assert len(answers) == len(fresh)
    column = "prediction (model)" if "prediction" in fresh else "prediction"
    assert answers[column].notna().all()
