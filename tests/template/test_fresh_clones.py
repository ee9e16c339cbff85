"""A generated project that was pushed, and what a fresh clone of it makes again: next to nothing."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from baked import AUTO, BakedProject, trees
from conftest import bake_into
from repositories import flip, git
from test_played_day import orders

MADE = {  # what gate, report and service read
    "blessing.json",
    "metrics.json",
    "model/model.json",
    "model/model.skops",
    "predictions/test.parquet",
    "reports/data.json",
    "reports/model.json",
    "reports/model_tests.json",
    "data/test.parquet",
}


@pytest.fixture(scope="module")
def pushed(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project whose pipeline has run once, and that was pushed; its origin lies beside it."""
    folder = tmp_path_factory.mktemp("storage")
    orders(3000, seed=1).to_csv(folder / "orders.csv", index=False)
    answers = {"data": str(folder / "orders.csv"), "target": "returned", "project_name": "Orders"}
    project = bake_into(folder, **answers).borrow_environments(environments)
    git("init", "--quiet", "--bare", "-b", "main", str(folder / "origin.git"))
    project.git("remote", "add", "origin", f"file://{folder}/origin.git")
    project.make("setup", "pipeline")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "First candidate")
    project.run(".venv/bin/gatehouse", "push")
    return project


def ran(said: str) -> list[str]:
    """The stages that a pipeline ran."""
    return re.findall("Running stage '(.*)'", said)


def cloned(project: BakedProject, folder: Path, origin: str = "origin.git") -> BakedProject:
    """A fresh, shallow clone as CI has it, of one branch."""
    url = f"file://{project.path.parent / origin}"
    git("clone", "--quiet", "--depth", "1", url, str(folder / "clone"))
    return BakedProject(folder / "clone").borrow_environments(project)


@pytest.mark.slow
def test_a_fresh_clone_runs_nothing_again(pushed: BakedProject, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path)
    started = time.monotonic()
    said = clone.make("pipeline", "gate", "report")
    assert ran(said.stdout) == ["champion"]
    assert time.monotonic() - started < 60
    assert "OPEN: the candidate is blessed" in said.stdout
    assert clone.files() >= MADE
    assert clone.git("status", "--porcelain") == ""
    assert "nothing changed" in clone.make("pipeline").stderr
    tip = clone.git("rev-parse", "origin/dvc-storage")
    clone.run(".venv/bin/gatehouse", "push")
    assert clone.git("rev-parse", "origin/dvc-storage") == tip


@pytest.mark.slow
def test_in_a_fresh_clone_only_what_lies_behind_a_change_runs(
    pushed: BakedProject, tmp_path: Path
) -> None:
    clone = cloned(pushed, tmp_path)
    clone.replace("params.yaml", AUTO, trees(90))
    said = clone.make("pipeline")
    behind = {"train", "champion", "evaluate", "model_checks", "model_tests", "blessing"}
    assert set(ran(said.stdout)) == behind | {"catalogue"}
    assert "champion: the blessed model of origin/" in said.stderr
    clone.git("checkout", "--", ".")
    assert ran(clone.make("pipeline").stdout) == ["champion"]


@pytest.mark.slow
def test_a_fresh_clone_of_what_was_never_pushed(pushed: BakedProject, tmp_path: Path) -> None:
    git("clone", "--quiet", "--bare", "--single-branch", str(pushed.path), str(tmp_path / "o.git"))
    clone = cloned(pushed, tmp_path, os.path.relpath(tmp_path / "o.git", pushed.path.parent))
    said = clone.make("pipeline", code=2)
    assert "data not pushed: run `gatehouse push` (or `dvc push`)" in said.stderr
    assert ran(said.stdout) == []
    shutil.copyfile(pushed.path / "data/source.csv", clone.path / "data/source.csv")
    said = clone.activated("gatehouse", "data")
    assert said.stderr == ""
    plan = clone.run(".venv/bin/dvc", "repro", "--dry", "ingest").stdout
    assert ran(plan) == ["ingest"], "what cannot be had is made"


@pytest.mark.slow
def test_a_damaged_result_is_not_built_upon(pushed: BakedProject, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path)
    stages = clone.yaml("dvc.lock")["stages"]
    [train] = [o["md5"] for o in stages["split"]["outs"] if o["path"] == "data/train.parquet"]
    copy = shutil.copytree(pushed.path.parent / "origin.git", tmp_path / "damaged.git")
    git("clone", "--quiet", "--branch", "dvc-storage", str(copy), str(tmp_path / "branch"))
    branch = BakedProject(tmp_path / "branch")
    found = flip(branch.path / "files/md5" / train[:2] / train[2:])
    branch.git("commit", "--quiet", "--all", "--message", "Damage")
    branch.git("push", "--quiet")
    clone.git("remote", "set-url", "origin", f"file://{copy}")
    said = clone.make("pipeline", code=2)
    assert f"data/train.parquet is damaged, its digest is {found} and not {train}" in said.stderr
    assert ran(said.stdout) == []
