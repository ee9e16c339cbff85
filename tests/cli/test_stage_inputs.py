"""A stage runs again when what can change its result does: data, the user's files, the pin."""

import importlib
from typing import Any

import pytest
import yaml
from projects import PROJECT, rendered

from gatehouse.cli.stages import STAGES

DVC = yaml.safe_load(rendered("dvc.yaml"))["stages"]
PACKAGE = "src/flight_delays"
# What a stage takes of the user's own code.
OWN = {
    "ingest": [f"{PACKAGE}/data.py"],
    "train": [PACKAGE],
    "evaluate": [PACKAGE],
    "model_tests": [PACKAGE, "tests"],
}
CHECKS = ("data_checks", "model_checks")  # they run in an environment of their own, too


def outs(stage: dict[str, Any]) -> list[str]:
    """What a stage leaves, whatever options stand beside it."""
    listed = [*stage["outs"], *stage.get("metrics", [])]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


MADE = {out for stage in DVC.values() for out in outs(stage)}


def test_every_stage_is_one_of_the_library() -> None:
    assert list(DVC) == list(STAGES)
    assert {name: stage["cmd"] for name, stage in DVC.items()} == {
        name: f"gatehouse stage {name}" for name in STAGES
    }
    for module, function in STAGES.values():
        assert callable(getattr(importlib.import_module(f"gatehouse.{module}"), function))


@pytest.mark.parametrize("name", [name for name in DVC if not DVC[name].get("always_changed")])
def test_a_stage_depends_on_the_pin_and_on_the_users_code(name: str) -> None:
    """The lock names the library by its hash, so nothing of it stands beside it."""
    deps = DVC[name]["deps"]
    assert "requirements/train.txt" in deps
    assert ("requirements/checks.txt" in deps) == (name in CHECKS)
    assert set(OWN.get(name, [])) <= set(deps)


@pytest.mark.parametrize("name", DVC)
def test_what_a_stage_depends_on_is_made_or_is_there(name: str) -> None:
    for dep in DVC[name]["deps"]:
        path = PROJECT / dep.replace(PACKAGE, "src/{{cookiecutter.package_name}}")
        assert dep in MADE or path.exists() or dep == "${ingest.source}", dep


@pytest.mark.parametrize("name", DVC)
def test_the_sections_that_a_stage_names_are_there(name: str) -> None:
    for said in DVC[name].get("params", []):
        file, sections = (
            next(iter(said.items())) if isinstance(said, dict) else ("params.yaml", [said])
        )
        content = yaml.safe_load(rendered(file))
        for section in sections:
            here = content
            for key in section.split("."):
                assert key in here, section
                here = here[key]


def test_what_judges_comes_after_what_it_judges() -> None:
    """No stage depends on what a later one makes, so none is judged by an old result."""
    before: set[str] = set()
    for name, stage in DVC.items():
        assert not {dep for dep in stage["deps"] if dep in MADE} - before, name
        before |= set(outs(stage))


def test_the_suite_of_the_model_is_made_anew_with_the_split() -> None:
    deps = set(DVC["model_tests"]["deps"])
    assert {"data/dataset.parquet", "data/train.parquet", "data/test.parquet"} <= deps
