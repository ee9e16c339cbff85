"""The one required check: GitHub takes a skipped job for a success, `pass` must not."""

import json
import os
import subprocess

import pytest
import yaml
from baked import BakedProject

ALL = ["code", "data", "model", "service"]
Case = tuple[dict[str, str], list[str] | None]


def verdict(project: BakedProject, results: dict[str, str], wanted: list[str] | None) -> int:
    """The exit code of the step of job `pass`, after these results of the jobs it needs."""
    workflow = yaml.safe_load(project.read(".github/workflows/ci.yml"))
    job = workflow["jobs"]["pass"]
    needs = {name: {"result": results.get(name, "success"), "outputs": {}} for name in job["needs"]}
    assert set(results) <= set(needs)
    if wanted is not None:
        needs["changes"]["outputs"] = {"wanted": json.dumps(wanted)}
    [step] = job["steps"]
    environment = {"PATH": os.environ["PATH"], "NEEDS": json.dumps(needs)}
    command = ["bash", "-e", "-c", step["run"]]  # as GitHub starts it
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ({}, ALL),
        (dict.fromkeys(("data", "model", "service"), "skipped"), ["code"]),
    ],
)
def test_green_where_all_that_had_to_run_succeeded(
    example: BakedProject, results: dict[str, str], wanted: list[str]
) -> None:
    assert verdict(example, results, wanted) == 0


@pytest.mark.parametrize("name", ["changes", *ALL, "report"])
@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped"])
def test_red_where_one_did_not(example: BakedProject, name: str, result: str) -> None:
    assert verdict(example, {name: result}, ALL) != 0


@pytest.mark.parametrize("wanted", [None, []])
def test_red_where_nobody_knows_what_had_to_run(
    example: BakedProject, wanted: list[str] | None
) -> None:
    skipped = dict.fromkeys(ALL, "skipped")
    assert verdict(example, skipped, wanted) != 0
