"""Each task, with and without a time column: without a champion, then against one, good and bad."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from baked import AUTO, BakedProject, trees
from conftest import Bake

pytestmark = pytest.mark.slow

# Each task with every change, and the other way round each night.
TASKS = {"binary": "when", "multiclass": "", "regression": "when"}
CASES = [
    pytest.param((task, time), marks=() if time == often else pytest.mark.long)
    for task, often in TASKS.items()
    for time in ("when", "")
]


def table(task: str, rows: int = 2500) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    size, town = rng.normal(size=rows), rng.choice(["north", "south", "west"], rows)
    score = size + (town == "north") + rng.normal(size=rows) * 0.7
    target: Any = score.round(3)
    if task != "regression":
        cuts = {"binary": [0.3], "multiclass": [-0.4, 0.9]}[task]
        target = np.array(["low", "middle", "high"])[np.digitize(score, cuts)]
    hours = pd.to_timedelta(np.arange(rows), "h")
    when = pd.Timestamp("2026-01-01") + hours
    return pd.DataFrame({"when": when, "size": size.round(4), "town": town, "outcome": target})


@pytest.fixture(params=CASES, ids="-".join)
def project(
    request: pytest.FixtureRequest, bake: Bake, environments: BakedProject, tmp_path: Path
) -> BakedProject:
    task, time = request.param
    source = tmp_path / "table.csv"
    table(task).to_csv(source, index=False)
    made = bake(data=str(source), target="outcome", task=task, time_column=time)
    made.borrow_environments(environments).be_patient()
    made.make("setup", "pipeline", "gate")
    return made


def blessing(project: BakedProject) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.read("blessing.json"))
    return found


def test_first_model_then_an_equal_then_a_worse_one(project: BakedProject) -> None:
    first = blessing(project)
    assert first["champion"] == {"bootstrap": "first model of this project"}
    assert all(rule["low"] is None for rule in first["rules"] if rule["against"] == "champion")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "First model")

    project.replace("params.yaml", "seed: 0\n\ningest", "seed: 1\n\ningest")
    project.make("pipeline", "gate")
    second = blessing(project)
    assert second["model_digest"] != first["model_digest"]
    assert second["champion"]["model_digest"] == first["model_digest"]
    [rule] = [r for r in second["rules"] if r["against"] == "champion" and "margin" in r]
    assert (rule["difference"], rule["low"], rule["high"]) == (0, 0, 0)

    kind = "Classifier" if project.yaml("schema.yaml")["classes"] else "Regressor"
    project.replace("params.yaml", AUTO, trees(1, kind))
    project.gatehouse("pipeline", "--until", "blessing")
    [rule] = [r for r in blessing(project)["rules"] if r["against"] == "champion"]
    assert rule["candidate"] < rule["champion"]
    assert "skill may be worse than the champion by more than 0.05" in (
        project.gatehouse("gate", code=1).stdout
    )
    assert blessing(project)["champion"]["model_digest"] == first["model_digest"]
