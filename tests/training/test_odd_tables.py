"""Every stage of training on tables that nobody tidied, for all three tasks."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from baked import BakedProject
from odd_tables import TABLES, Table
from projects import described, trained

from gatehouse.core.project import Project
from gatehouse.data.contract import broken
from gatehouse.training.evaluate import MEASURED
from gatehouse.training.predict import predict as batch

MORE = {"regression": ("median_absolute_error",)}

pytestmark = pytest.mark.slow


# A table is as wide as people's are; the widest, each night, is of the same columns.
NIGHTLY = {"500 columns": pytest.mark.long}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NIGHTLY.get(name, ())) for name in TABLES]
)
def test_every_stage_takes_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = TABLES[name]
    project = described(tmp_path / "project", table.write(tmp_path), **table.answers)
    declare_personal(table, project, capsys.readouterr().err)
    trained(project)
    check_schema(table, project.yaml("schema.yaml"), project.read("schema.yaml"))
    check_contract(project)
    check_measures(table, project)
    predict(table, project, tmp_path)


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


def check_contract(project: BakedProject) -> None:
    """The data are what the schema that was inferred from them says."""
    schema = project.yaml("schema.yaml")
    found = broken(pq.read_table(project.path / "data/dataset.parquet"), schema)
    assert [one.check for one in found if one.status in ("fail", "error")] == []


def check_measures(table: Table, project: BakedProject) -> None:
    """Something was learned, on rows of both sides."""
    measured = json.loads(project.read("metrics.json"))
    assert measured.pop("version") == 1
    assert min(side["rows"] for side in measured.values()) > 50
    assert measured["test"]["skill"] > 0
    assert list(measured["test"])[1:] == [*MEASURED[table.task], *MORE.get(table.task, ())]


def predict(table: Table, project: BakedProject, folder: Path) -> None:
    """Fresh rows, without the target, scored as a file."""
    fresh = table.make(np.random.default_rng(1))
    fresh = fresh.drop(columns=table.answers["target"])
    source, out = folder / "fresh.parquet", folder / "out.csv"
    fresh.columns = [str(c) or "unnamed_0" for c in fresh.columns]
    fresh.astype({c: "string" for c in fresh if fresh[c].dtype == object}).to_parquet(source)
    with contextlib.chdir(project.path):
        batch(Project(), source, out)
    answers = pd.read_csv(out)
    assert len(answers) == len(fresh)
    column = "prediction (model)" if "prediction" in fresh else "prediction"
    assert answers[column].notna().all()
