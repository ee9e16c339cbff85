"""A project is worked on from wherever somebody stands: nothing depends on that folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import small_project

import gatehouse
from gatehouse.core.project import Project
from gatehouse.training.evaluate import evaluate
from gatehouse.training.explain import explain
from gatehouse.training.ingest import ingest
from gatehouse.training.split import split
from gatehouse.training.train import train


def test_the_stages_of_a_project_run_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (root := tmp_path / "project").mkdir()
    small_project(root, "params.yaml", "gates.yaml", "dvc.yaml", data="own.csv", target="y")
    x = np.random.default_rng(2).normal(size=200).round(3)
    (root / "data").mkdir()
    lines = "".join(f"{value},{int(value > 0)}\n" for value in x)
    (root / "data/source.csv").write_text(f"x,y\n{lines}", encoding="utf-8")
    columns = {"x": {"type": "number"}, "y": {"type": "integer", "role": "target"}}
    schema = {"task": "binary", "target": "y", "classes": [0, 1], "columns": columns}
    (root / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")

    monkeypatch.chdir(elsewhere)
    project = Project(root)
    for stage in (ingest, split, train, evaluate):
        stage(project)
    assert explain(project, "0")["target"] == "y"
    asked = gatehouse.Project.here(root / "data")
    assert asked.model.predict(pd.DataFrame({"x": [1.0, -1.0]})).shape == (2, 2)
    assert (root / "predictions/round_trip.json").exists()
    assert not list(elsewhere.iterdir())
