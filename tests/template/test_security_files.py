"""Security as code in a generated repository: owners, Dependabot, and hooks that really stop."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from conftest import Bake, bake_into

from gatehouse.core import shipped
from gatehouse.core.project import Project

GUARDED = [
    *("/gates.yaml", "/monitor.yaml", "/ml-canvas.yaml", "/schema.yaml", "/deploy.yaml"),
    *("/tests/behaviour.yaml", "/dvc.yaml", "/gatehouse", "/Makefile", "/pyproject.toml"),
    *("/.dvc/config", "/requirements/", "/vendor/", "/deploy/", "/.github/"),
]
LATER = "/deploy/"  # for what is ejected, and for keys
# Parts, so that no scanner takes this file for a leak.
LEAK = (
    'key = "AKIA' + 'QYLPMN5HHHFPZAM2"\nsecret = "1tUm636uS1yOEcfP5pvf' + 'qJ/ml36mF7AkyHsEU0IU"\n'
)


@pytest.mark.parametrize("name", ["octocat", "@octocat", "acme/ml-team"])
def test_owners_guard_what_judges(bake: Bake, name: str) -> None:
    project = bake(github_owner=name)
    lines = [ln.split() for ln in project.read(".github/CODEOWNERS").splitlines()]
    rules = [words for words in lines if words and not words[0].startswith("#")]
    assert [words[0] for words in rules] == GUARDED
    assert {words[1] for words in rules} == {"@" + name.lstrip("@")}
    there = {words[0] for words in rules if project.path.joinpath(words[0][1:]).exists()}
    assert there == {*GUARDED} - {LATER}


def test_without_an_owner_the_file_says_what_to_do(bake: Bake) -> None:
    project = bake()
    text = project.read(".github/CODEOWNERS")
    assert all(line.startswith("#") for line in text.splitlines() if line)
    command = re.search(r"sed .*", text)
    assert command is not None
    project.run("sh", "-c", command[0])
    rules = [ln for ln in project.read(".github/CODEOWNERS").splitlines() if not ln.startswith("#")]
    assert [line.split() for line in rules if line] == [[path, "@your-name"] for path in GUARDED]


def test_dependabot_waits_and_groups(example: BakedProject) -> None:
    [actions] = example.yaml(".github/dependabot.yml")["updates"]
    assert actions["package-ecosystem"] == "github-actions"
    assert actions["cooldown"]["default-days"] >= 7
    assert actions["groups"]["actions"]["patterns"] == ["*"]


def test_main_takes_only_what_passed(example: BakedProject) -> None:
    ruleset: dict[str, Any] = json.loads(shipped.text(Project(), ".github/ruleset.json"))
    rules = {rule["type"]: rule.get("parameters") for rule in ruleset["rules"]}
    assert {"deletion", "non_fast_forward", "pull_request"} <= rules.keys()
    checks = rules["required_status_checks"]
    assert checks["required_status_checks"] == [{"context": "pass", "integration_id": 15368}]
    assert checks["strict_required_status_checks_policy"] is True
    assert rules["pull_request"]["require_code_owner_review"] is True
    assert rules["pull_request"]["required_approving_review_count"] == 1, "without one it is inert"
    assert {actor["bypass_mode"] for actor in ruleset["bypass_actors"]} == {"pull_request"}
    records = json.loads(shipped.text(Project(), ".github/ruleset-records.json"))
    assert records["bypass_actors"] == []
    assert {rule["type"] for rule in records["rules"]} == {"deletion", "non_fast_forward"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A repository whose hooks are those of the environment that runs these tests."""
    project = bake_into(tmp_path_factory.mktemp("hooked"))
    (project.path / ".venv").symlink_to(Path(sys.executable).parents[1])
    return project


@pytest.fixture
def hooked(shared: BakedProject) -> BakedProject:
    """The same, as generated."""
    shared.git("reset", "--quiet", "--hard")
    shared.git("clean", "--quiet", "-ffdx", "--exclude=/.venv")
    return shared


def commit(project: BakedProject, hook: str, name: str, text: str) -> tuple[bool, str]:
    """Stage a file past every .gitignore, run one hook; whether it lets it pass."""
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    project.git("add", "--force", name)
    done = project.run(".venv/bin/prek", "run", hook, code=None)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "red", "green", "hook"),
    [
        ("src/a.py", "import os\n", '"""A."""\n', "lint"),
        ("src/a.py", '"""A."""\nx = [ 1 ]\n', '"""A."""\n\nx = [1]\n', "format"),
        ("notes.txt", LEAK, "no key here\n", "secrets"),
        ("notes.txt", "x" * 2_200_000, "x" * 1_900_000, "size"),
        ("notes.txt", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n", "x\n", "conflicts"),
    ],
    ids=["lint", "format", "secrets", "size", "conflicts"],
)
def test_hooks_stop_what_they_should(
    hooked: BakedProject, name: str, red: str, green: str, hook: str
) -> None:
    if hook == "conflicts":  # git's own sign that a merge is going on
        head = hooked.git("rev-parse", "HEAD")
        (hooked.path / ".git/MERGE_HEAD").write_text(head + "\n", encoding="utf-8")
        (hooked.path / ".git/MERGE_MSG").write_text("x\n", encoding="utf-8")
    passed, said = commit(hooked, hook, name, green)
    assert passed, said
    passed, said = commit(hooked, hook, name, red)
    assert not passed
    assert f"hook id: {hook}" in said
    if red == LEAK:
        assert "AKIA" not in said, "a secret is never printed"


@pytest.mark.parametrize(
    ("name", "stopped"),
    [
        ("data/table.csv", True),
        ("exports/table.parquet", True),
        ("model/model.skops", True),
        ("old.pkl", True),
        ("data/table.csv.dvc", False),
        ("data/fetch_more.py", False),
        ("tests/code/small.csv", False),
    ],
)
def test_data_and_models_do_not_go_into_git(hooked: BakedProject, name: str, stopped: bool) -> None:
    text = '"""A."""\n' if name.endswith(".py") else "x\n"
    passed, said = commit(hooked, "data", name, text)
    assert passed is not stopped, said
    assert ("DVC keeps data and models" in said) is stopped


def test_a_new_project_passes_its_own_hooks(hooked: BakedProject) -> None:
    done = hooked.run(".venv/bin/prek", "run", "--all-files", code=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hooked.git("diff") == ""
