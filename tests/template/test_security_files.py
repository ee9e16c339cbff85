"""Security as code in a generated repository: owners, Dependabot, and hooks that really stop."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from conftest import Bake, bake_into

from gatehouse.core import owned, shipped
from gatehouse.core.project import Project

# Parts, so that no scanner takes this file for a leak.
LEAK = (
    'key = "AKIA' + 'QYLPMN5HHHFPZAM2"\nsecret = "1tUm636uS1yOEcfP5pvf' + 'qJ/ml36mF7AkyHsEU0IU"\n'
)


@pytest.mark.parametrize("name", ["octocat", "@octocat", "acme/ml-team"])
def test_owners_guard_all_but_the_science(bake: Bake, name: str) -> None:
    rules = owned.rules(bake(github_owner=name).read(".github/CODEOWNERS"))
    assert {owner for _, owners in rules for owner in owners} == {"@" + name.lstrip("@")}
    assert [(pattern, bool(owners)) for pattern, owners in rules] == [*owned.RULES]


def test_without_an_owner_the_file_says_what_to_do(bake: Bake) -> None:
    project = bake(github_owner="")
    text = project.read(".github/CODEOWNERS")
    assert not any(owners for _, owners in owned.rules(text))
    command = re.search(r"sed -i.*", text)
    assert command is not None
    project.run("sh", "-c", command[0])
    rules = owned.rules(project.read(".github/CODEOWNERS"))
    assert [(pattern, bool(owners)) for pattern, owners in rules] == [*owned.RULES]
    assert {owner for _, owners in rules for owner in owners} == {"@NAME"}


@pytest.mark.parametrize(
    ("known", "owner"),
    [
        ({}, set()),
        ({"config": "[github]\n\tuser = ada\n"}, {"@ada"}),
        ({"hosts": "github.com:\n    users:\n        ada:\n    user: ada\n"}, {"@ada"}),
        ({"hosts": "ghe.acme.com:\n    user: bob\ngithub.com:\n    user: ada\n"}, {"@ada"}),
        ({"hosts": "ghe.acme.com:\n    user: bob\n"}, set()),
        ({"hosts": "github.com:\n    user: '; rm'\n"}, set()),
    ],
)
def test_by_default_whoever_generates_is_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, str], owner: set[str]
) -> None:
    (tmp_path / "gitconfig").write_text(known.get("config", ""))
    if hosts := known.get("hosts"):
        (tmp_path / "hosts.yml").write_text(hosts)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path))
    project = bake_into(tmp_path / "made")
    text = project.read(".github/CODEOWNERS")
    assert {o for _, owners in owned.rules(text) for o in owners} == owner
    assert ("TO DO" in text) is not bool(owner)
    assert project.git("status", "--porcelain") == ""


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
