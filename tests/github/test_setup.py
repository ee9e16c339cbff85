"""`gatehouse github setup` against a GitHub of our own: created, adopted, done twice, refused."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import ME, FakeGitHub
from manifests import eject, name_project

SETTINGS = ".github/settings.json"
Setup = Callable[..., tuple[int, str]]


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def github() -> FakeGitHub:
    return FakeGitHub()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit; github.com is the folder ``hub``, where pushes go."""
    path = tmp_path / "project"
    name_project(path)
    monkeypatch.chdir(path)
    for name, text in {"GLOBAL": str(tmp_path / "gitconfig"), "SYSTEM": os.devnull}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
    git("config", "--global", f"url.{tmp_path / 'hub'}/.insteadOf", "https://github.com/")
    git("config", "--global", "user.name", "x")
    git("config", "--global", "user.email", "x@example.org")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    return path


def hub(project: Path, name: str = "ada/flight-delays") -> Path:
    """The bare repository that GitHub would keep."""
    bare = project.parent / "hub" / f"{name}.git"
    if not bare.exists():
        git("init", "-q", "--bare", "-b", "main", str(bare))
    return bare


@pytest.fixture
def setup(
    github: FakeGitHub,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Setup:
    """Run it in this process, asking the fake where gh would be asked; code and words."""
    from gatehouse.core.errors import Stop
    from gatehouse.github import plain, settings, setup

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        if method == "POST" and "rulesets" not in path:
            hub(project)
        status, content = github.answer(method, path, json.loads(json.dumps(body)))
        if status >= 500:
            raise Stop("github-unreachable", "GitHub cannot be reached", 3)
        return status, json.loads(json.dumps(content))

    for module in (settings, setup):
        monkeypatch.setattr(module, "call", call)

    def run(*words: str) -> tuple[int, str]:
        code, why = 0, ""
        try:
            code = plain.run(["setup", *words], list)
        except Stop as stop:
            code, why = stop.exit_code, str(stop)
        said = capsys.readouterr()
        return code, said.out + said.err + why

    return run


def test_it_creates_the_repository_with_all_its_rules(
    setup: Setup, github: FakeGitHub, project: Path
) -> None:
    code, said = setup()
    assert code == 0, said
    about, things = github.repositories["ada/flight-delays"], github.things
    assert about["private"] is True
    assert about["delete_branch_on_merge"] is True
    assert about["allow_merge_commit"] is False
    assert git("-C", str(hub(project)), "rev-parse", "main") == git("rev-parse", "main")
    assert git("config", "remote.origin.url") == "https://github.com/ada/flight-delays.git"
    token = things["actions/permissions/workflow"]
    assert token["default_workflow_permissions"] == "read"
    assert token["can_approve_pull_request_reviews"] is True, "CT opens pull requests"
    assert things["actions/permissions"]["sha_pinning_required"] is True
    assert things["environments/production"]["protection_rules"][0]["reviewers"] == [
        {"type": "User", "reviewer": {"id": ME["id"]}}
    ]
    assert things["environments/staging"]["protection_rules"] == []
    for name in ("staging", "production"):
        where = f"environments/{name}/deployment-branch-policies"
        assert things[where]["branch_policies"] == [{"name": "main"}]
    rulesets = [value for key, value in things.items() if key.startswith("rulesets/")]
    assert [each["name"] for each in rulesets] == ["records", "main"]
    assert "to do   CI has no data to work on: `make setup`, then `gatehouse push`" in said
    assert "to do   .github/CODEOWNERS names nobody" in said


def test_a_second_run_changes_nothing_and_says_so(setup: Setup, github: FakeGitHub) -> None:
    setup("--public")
    before = len(github.writes())
    code, said = setup()
    assert code == 0
    assert said.splitlines()[-1] == "no change"
    assert len(github.writes()) == before > 10


@pytest.mark.parametrize("code", [0, 3])
def test_data_go_first_and_may_fail(setup: Setup, project: Path, code: int) -> None:
    program = project / ".venv/bin/gatehouse"
    program.parent.mkdir(parents=True)
    # In place of ``gatehouse push``: what it was told, and whether main was there already.
    said = f"git ls-remote {hub(project)} > seen; echo $@ $GIT_TERMINAL_PROMPT > words"
    program.write_text(f"#!/bin/sh\n{said}\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    ended, words = setup()
    assert ended == 0
    assert (project / "words").read_text() == "push 0\n"
    assert (project / "seen").read_text() == ""
    assert git("-C", str(hub(project)), "rev-parse", "main") == git("rev-parse", "main")
    assert ("done    the data are pushed" in words) is (code == 0)
    assert ("for the reason above: `gatehouse push`" in words) is (code != 0)
    (project / "words").unlink()
    setup()
    assert not (project / "words").exists(), "main is protected by now"


@pytest.mark.parametrize("exists", [True, False])
def test_a_dry_run_only_reads(
    setup: Setup, github: FakeGitHub, project: Path, exists: bool
) -> None:
    if exists:
        github.add("ada/flight-delays")
        hub(project)
    code, said = setup("--dry-run")
    assert code == 0
    assert github.calls
    assert github.writes() == []
    assert "would   ruleset main\n" in said
    assert said.splitlines()[-1].endswith(" changes to make")
    assert ("repository ada/flight-delays, private" in said) is not exists
    assert git("remote") == ""


def test_it_adopts_the_repository_of_origin(
    setup: Setup, github: FakeGitHub, project: Path
) -> None:
    github.add("acme/widget", private=False)
    hub(project, "acme/widget")
    git("remote", "add", "origin", "https://github.com/acme/widget.git")
    code, _said = setup()
    assert code == 0
    assert list(github.repositories) == ["acme/widget"]
    assert github.things["private-vulnerability-reporting"] == {"enabled": True}
    assert git("-C", str(hub(project, "acme/widget")), "rev-parse", "main")


def test_what_a_person_has_set_up_stays(setup: Setup, github: FakeGitHub) -> None:
    setup()
    mine = {
        "protection_rules": [
            {"type": "required_reviewers", "reviewers": [{"type": "Team", "reviewer": {"id": 3}}]},
            {"type": "wait_timer", "wait_timer": 30},
        ],
        "deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False},
    }
    github.things["environments/production"] = mine
    setup()
    assert github.things["environments/production"] == mine


def test_a_rule_that_was_loosened_is_put_back(setup: Setup, github: FakeGitHub) -> None:
    setup()
    number = next(e["id"] for e in github.things["rulesets"] if e["name"] == "main")
    github.things[f"rulesets/{number}"]["enforcement"] = "disabled"
    _code, said = setup()
    assert said.startswith("done    ruleset main\n")
    assert github.things[f"rulesets/{number}"]["enforcement"] == "active"
    assert len(github.things["rulesets"]) == 2


def test_a_cheaper_plan_is_said_and_passed_over(setup: Setup, github: FakeGitHub) -> None:
    github.plan = "free"
    code, said = setup()
    assert code == 0
    assert "refused ruleset main (Upgrade to GitHub Pro" in said
    assert "refused environment production, approved by ada (Fail to" in said
    assert "environments/production" in github.things
    before = len([call for call in github.writes() if call[0] == "POST"])
    assert setup()[1].splitlines()[-1] == "no change"
    # Two attempts at the rulesets, refused again: nothing was made.
    assert len([call for call in github.writes() if call[0] == "POST"]) == before + 2


def test_a_name_that_is_taken_is_refused(setup: Setup, github: FakeGitHub) -> None:
    github.taken.add("ada/flight-delays")
    code, said = setup()
    assert code == 2
    assert "name already exists on this account" in said
    assert "REPOSITORY=OWNER/NAME" in said
    assert git("remote") == ""


def test_another_project_of_that_name_is_left_alone(
    setup: Setup, github: FakeGitHub, project: Path
) -> None:
    github.add("ada/flight-delays")
    other = project.parent / "other"
    git("init", "-q", "-b", "main", str(other))
    git("-C", str(other), "commit", "-q", "--allow-empty", "-m", "another")
    git("-C", str(other), "push", "-q", str(hub(project)), "main")
    code, said = setup()
    assert code == 2
    assert "holds another project" in said
    assert github.writes() == []
    assert git("remote") == ""


def test_a_stranger_may_not_set_it_up(setup: Setup, github: FakeGitHub) -> None:
    github.add("acme/widget", admin=False)
    code, said = setup("--repository", "acme/widget")
    assert code == 2
    assert "no administrator of acme/widget" in said
    assert github.writes() == []


def test_commits_that_github_has_not_go_by_pull_request(setup: Setup, project: Path) -> None:
    setup()
    git("commit", "-q", "--allow-empty", "-m", "more")
    before = git("-C", str(hub(project)), "rev-parse", "main")
    _code, said = setup()
    assert "push a branch, open a pull request" in said
    assert git("-C", str(hub(project)), "rev-parse", "main") == before


@pytest.mark.parametrize("url", ["https://gitlab.com/a/b.git", "../elsewhere", "git@x.org:a/b"])
def test_an_origin_elsewhere_is_refused(setup: Setup, github: FakeGitHub, url: str) -> None:
    git("remote", "add", "origin", url)
    code, said = setup()
    assert code == 2
    assert "origin is not on github.com" in said
    assert github.writes() == []


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/widget",
        "https://token@github.com/acme/widget.git",
        "git@github.com:acme/widget.git",
        "ssh://git@github.com/acme/widget.git/",
    ],
)
def test_every_form_of_origin_is_read(url: str) -> None:
    from gatehouse.github.setup import ORIGIN

    found = ORIGIN.fullmatch(url)
    assert found is not None
    assert found[1] == "acme/widget"


@pytest.mark.parametrize(
    "url", ["https://evilgithub.com/a/b", "https://github.com/a", "x y@github.com:a/b"]
)
def test_what_only_looks_like_github_is_not(url: str) -> None:
    from gatehouse.github.setup import ORIGIN

    assert ORIGIN.fullmatch(url) is None


def test_variables_come_from_the_settings(setup: Setup, github: FakeGitHub, project: Path) -> None:
    path = eject(SETTINGS)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"variables": {"REGION": "north"}}))
    setup()
    assert github.things["actions/variables/REGION"]["value"] == "north"
    path.write_text(json.dumps(content | {"variables": {"REGION": "south"}}))
    assert setup()[1].startswith("done    variable REGION\n")
    assert github.things["actions/variables/REGION"]["value"] == "south"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": [{}], "environments": {}, "variables": {}}']
)
def test_settings_that_cannot_be_read_change_nothing(
    setup: Setup, github: FakeGitHub, project: Path, text: str
) -> None:
    eject(SETTINGS).write_text(text)
    code, said = setup()
    assert code == 2
    assert f"git checkout {SETTINGS}" in said
    assert github.calls == []


def test_owners_that_github_cannot_read_are_named(setup: Setup, github: FakeGitHub) -> None:
    error = {"line": 3, "kind": "Unknown owner"}
    github.things["codeowners/errors"] = {"errors": [error]}
    assert "CODEOWNERS, line 3: Unknown owner" in setup()[1]


# --- through gh itself --------------------------------------------------------------------------


@pytest.fixture
def gh(github: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    """gh of this machine speaks to the fake."""
    if not shutil.which("gh"):
        pytest.skip("gh is not here")
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        socket = Path(folder, "s")
        Path(folder, "config.yml").write_text(f"http_unix_socket: {socket}\n", encoding="utf-8")
        monkeypatch.setenv("GH_CONFIG_DIR", folder)
        monkeypatch.setenv("GH_TOKEN", "x")
        with github.serve(socket):
            yield github


def test_gh_asks_and_is_answered(gh: FakeGitHub) -> None:
    from gatehouse.github.api import call

    assert call("GET", "user") == (200, ME)
    assert call("POST", "user/repos", {"name": "widget", "private": True})[0] == 201
    assert call("GET", "repos/ada/nothing")[0] == 404
    assert call("PUT", "repos/ada/widget/vulnerability-alerts") == (204, None)
    assert call("GET", "repos/ada/widget/vulnerability-alerts") == (204, None)


def test_a_github_that_is_down_is_infrastructure(gh: FakeGitHub) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.api import call

    gh.down = True
    with pytest.raises(Stop, match="cannot be reached") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 3


def test_no_network_is_infrastructure(
    gh: FakeGitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.api import call

    (tmp_path / "config.yml").write_text(f"http_unix_socket: {tmp_path / 'none'}\n")
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path))
    with pytest.raises(Stop, match="cannot be reached") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 3


def test_whoever_is_not_logged_in_is_told_how(
    gh: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.api import call

    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Stop, match="run `gh auth login`") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 2


def test_without_gh_the_command_that_mends_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.api import call

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Stop, match="install it from") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 3


def test_a_ruleset_of_ones_own_wins(setup: Setup, github: FakeGitHub) -> None:
    path = eject(".github/ruleset.json")
    path.write_text(path.read_text().replace('"active"', '"evaluate"'))
    setup()
    assert {
        value["name"]: value["enforcement"]
        for key, value in github.things.items()
        if key.startswith("rulesets/")
    } == {"records": "active", "main": "evaluate"}


def test_it_needs_no_package(project: Path) -> None:
    # -S: without site-packages, as on a runner that has made no environment.
    command = [sys.executable, "-S", "-m", "gatehouse", "github", "setup", "--help"]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout
