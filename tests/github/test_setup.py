"""`gatehouse github setup` against a GitHub of our own: created, adopted, done twice, refused."""

import json
import os
import re
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
from stops import stops

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
    from gatehouse.github import api, plain

    def ask(method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
        if method == "POST" and "rulesets" not in path:
            hub(project)
        status, content = github.answer(method, path, json.loads(json.dumps(body)))
        if status >= 500:
            raise Stop("github-unreachable", "GitHub cannot be reached", 3)
        head = "" if github.scopes is None else f"HTTP/2.0 200\nX-Oauth-Scopes: {github.scopes}\n"
        return status, head, json.loads(json.dumps(content))

    monkeypatch.setattr(api, "ask", ask)

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
    from gatehouse.github.trust import ORIGIN

    found = ORIGIN.fullmatch(url)
    assert found is not None
    assert found[1] == "acme/widget"


@pytest.mark.parametrize(
    "url", ["https://evilgithub.com/a/b", "https://github.com/a", "x y@github.com:a/b"]
)
def test_what_only_looks_like_github_is_not(url: str) -> None:
    from gatehouse.github.trust import ORIGIN

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


# --- before anything is made, and what comes next -----------------------------------------------


@pytest.mark.parametrize("name", ["schema.yaml", "dvc.lock", "data/source.csv.dvc"])
@pytest.mark.parametrize("staged", [True, False])
def test_what_the_pipeline_wrote_is_committed_first(
    setup: Setup, github: FakeGitHub, project: Path, name: str, staged: bool
) -> None:
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("x: 1\n")
    if staged:
        git("add", name)
    code, said = setup()
    assert code == 2
    assert name.partition("/")[0] in said
    assert "git add . && git commit" in said
    assert github.calls == []
    git("add", name)
    git("commit", "-qm", "First model")
    assert setup()[0] == 0


def test_once_main_is_there_work_that_goes_on_is_no_hindrance(setup: Setup, project: Path) -> None:
    setup()
    (project / "schema.yaml").write_text("x: 1\n")
    assert setup()[1].splitlines()[-1] == "no change"


@pytest.mark.parametrize(
    ("scopes", "lacks"),
    [
        ("gist, read:org, repo", "workflow"),
        ("workflow", "repo"),
        ("", "repo and workflow"),
        ("public_repo, workflow", "repo"),
    ],
)
def test_a_token_that_may_too_little_makes_nothing(
    setup: Setup, github: FakeGitHub, scopes: str, lacks: str
) -> None:
    github.scopes = scopes
    code, said = setup()
    assert code == 2
    assert f"lacks the scope {lacks}," in said
    assert "gh auth refresh" in said
    assert github.writes() == []
    assert git("remote") == ""


def test_a_token_that_names_no_scopes_is_tried(setup: Setup, github: FakeGitHub) -> None:
    github.scopes = None
    code, said = setup()
    assert code == 0
    assert said.startswith("note    this token names no scopes")


def test_it_ends_with_what_a_person_sees_next(setup: Setup) -> None:
    lines = setup()[1].splitlines()
    [first, *rest] = [line for line in lines if line.startswith("next")]
    assert "https://github.com/ada/flight-delays/actions" in first
    assert any("gh pr merge --squash --admin" in line for line in rest), "who works alone"
    assert lines[-1].endswith(" changes")


# --- a bucket -----------------------------------------------------------------------------------


def bucket(project: Path, url: str) -> None:
    (project / ".dvc").mkdir()
    text = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {url}\n"
    (project / ".dvc/config").write_text(text)


@pytest.mark.parametrize(
    ("about", "said", "prefix"),
    [
        ({}, None, "repo:ada@7/flight-delays@1000"),
        ({"created_at": "2026-07-14T23:59:59Z"}, None, "repo:ada/flight-delays"),
        (
            {"created_at": "2020-01-01T00:00:00Z"},
            {"use_immutable_subject": True},
            "repo:ada@7/flight-delays@1000",
        ),
        ({}, {"sub_claim_prefix": "repo:a@1/b@2"}, "repo:a@1/b@2"),
    ],
)
def test_the_subject_is_what_github_says_or_has_ids_since_july(
    setup: Setup, github: FakeGitHub, project: Path, about: Any, said: Any, prefix: str
) -> None:
    bucket(project, "s3://store/orders")
    github.add("ada/flight-delays")
    hub(project)
    github.repositories["ada/flight-delays"] |= about
    if said:
        github.things["actions/oidc/customization/sub"] = said
    text = setup()[1]
    assert f"role flight-delays-reads '{prefix}:*'" in text
    assert f"role flight-delays-writes '{prefix}:environment:data'" in text
    assert "arn:aws:s3:::store/*" in text


@pytest.mark.parametrize("url", ["gs://store/orders", "azure://store/orders"])
def test_other_clouds_have_commands_of_their_own(setup: Setup, project: Path, url: str) -> None:
    bucket(project, url)
    text = setup()[1]
    assert "repo:ada@7/flight-delays@1000:environment:data" in text
    assert "store" in text
    assert not re.search("@[A-Z]+@", text)


def test_a_cloud_that_was_told_is_not_told_again(
    setup: Setup, github: FakeGitHub, project: Path
) -> None:
    bucket(project, "s3://store")
    assert "to do   the data remote's cloud does not trust" in setup()[1]
    github.things["environments/data/variables"] = {"total_count": 1}
    assert "aws iam" not in setup()[1]
    assert github.things["environments/data"]["protection_rules"] == []


def test_without_a_bucket_there_is_no_environment_for_it(setup: Setup, github: FakeGitHub) -> None:
    setup()
    assert "environments/data" not in github.things
    assert "environments/release" in github.things


WORKFLOW = """\
on: {push: }
jobs:
  one:
    permissions: {contents: read} # the code
    steps:
      - {run: ./gatehouse github oidc}

  two:
    permissions: {contents: read, id-token: write, attestations: write} # who built it
    steps:
      - {run: ./gatehouse image}
"""


def test_only_with_a_bucket_jobs_may_ask_for_a_token(
    setup: Setup, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.core.actions import unfit
    from gatehouse.core.project import Project
    from gatehouse.github.trust import allow

    path = project / ".github/workflows/ci.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(WORKFLOW)
    assert unfit(Project(), "") == {}
    bucket(project, "s3://store")
    assert list(unfit(Project(), "s3://store")) == [Path(".github/workflows/ci.yml")]
    assert "to do   ci.yml: id-token does not fit the data remote" in setup()[1]
    allow(Project())
    granted = WORKFLOW.replace("contents: read} # the", "contents: read, id-token: write} # the")
    assert path.read_text() == granted
    assert unfit(Project(), "s3://store") == {}
    (project / ".dvc/config").write_text("")
    allow(Project())
    assert path.read_text() == WORKFLOW, "what another job has it for stays"


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


@pytest.mark.parametrize("said", ["repo, workflow", "", None])
def test_the_scopes_of_the_token_come_with_the_answer(gh: FakeGitHub, said: str | None) -> None:
    from gatehouse.github.api import person

    gh.scopes = said
    known = {"repo, workflow": {"repo", "workflow"}, "": set(), None: None}
    assert person() == (ME, known[said])


def test_a_github_that_is_down_is_infrastructure(gh: FakeGitHub) -> None:
    from gatehouse.github.api import call

    gh.down = True
    with stops("github-unreachable") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 3


def test_no_network_is_infrastructure(
    gh: FakeGitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gatehouse.github.api import call

    (tmp_path / "config.yml").write_text(f"http_unix_socket: {tmp_path / 'none'}\n")
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path))
    with stops("github-unreachable") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 3


def test_whoever_is_not_logged_in_is_told_how(
    gh: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github.api import call

    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with stops("gh-not-logged-in") as stop:
        call("GET", "user")
    assert stop.value.exit_code == 2


def test_without_gh_the_command_that_mends_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gatehouse.github.api import call

    monkeypatch.setenv("PATH", str(tmp_path))
    with stops("gh-missing") as stop:
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


def test_an_organisation_leaves_the_records_to_workflows(setup: Setup, github: FakeGitHub) -> None:
    github.organisations = {}
    code, said = setup()
    assert code == 0, said
    assert "done    ruleset records of flight-delays, of the organisation\n" in said
    [ruleset] = github.organisations.values()
    conditions = ruleset["conditions"]
    assert conditions["repository_name"]["include"] == ["flight-delays"]
    assert {*conditions["ref_name"]["include"]} == {
        f"refs/heads/{name}" for name in ("environments", "monitoring")
    }
    assert {"creation", "update"} <= {rule["type"] for rule in ruleset["rules"]}
    always = [who for who in ruleset["bypass_actors"] if who["bypass_mode"] == "always"]
    assert [(who["actor_type"], who["actor_id"]) for who in always] == [("Integration", 15368)]
    assert setup()[1].endswith("no change\n")
    github.organisations[1]["enforcement"] = "disabled"
    assert "1 changes" in setup()[1]
    assert github.organisations[1]["enforcement"] == "active"
