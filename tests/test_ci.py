"""CI for real: what a team pushes, what the jobs do, what the pull request then says."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from baked import BakedProject
from conftest import Bake, _bake
from test_three_tasks import BOTH, table
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import run

pytestmark = pytest.mark.slow

JOBS = {"changes", "code", "data", "model", "service", "report", "pass"}
GREEN = dict.fromkeys(JOBS, "success")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path_factory.mktemp("github") / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def laptop(
    hub: FakeGitHub, environments: BakedProject, tmp_path_factory: pytest.TempPathFactory
) -> BakedProject:
    """A project whose first model was made here; all of it is pushed, by `make push`."""
    folder = tmp_path_factory.mktemp("laptop")
    source = folder / "table.csv"
    table("binary").to_csv(source, index=False)
    answers = {"data": str(source), "target": "outcome", "project_name": "Widget"}
    project = _bake(folder, **answers, time_column="when")
    project.borrow_environments(environments)
    project.make("setup", "pipeline", "gate")
    project.git("remote", "add", "origin", str(hub.bare))
    save(project, "First model")
    return project


def save(project: BakedProject, message: str, branch: str = "main") -> None:
    project.git("checkout", "--quiet", "-B", branch)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", message)
    project.make("push")
