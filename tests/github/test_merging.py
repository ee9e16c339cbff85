"""What GitHub lets into main, by the rulesets that are shipped: the fake decides as GitHub does."""

import pytest
from fake_github import FakeGitHub, Pull
from merging import Said, blocked, owners, ruleset

OWNERS = """\
*               @ada
/params.yaml
/docs/
*.dvc           @ada @data/team
/src/**/model.py @ada
/tests/*        # released, but only what lies in it itself
"""
HEAD = "a" * 40


@pytest.fixture
def github() -> FakeGitHub:
    github = FakeGitHub()
    github.things["rulesets/1"] = ruleset()
    return github


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("gates.yaml", ["@ada"]),
        ("params.yaml", []),
        ("old/params.yaml", ["@ada"]),
        ("docs/a/b.md", []),
        ("data/source.csv.dvc", ["@ada", "@data/team"]),
        ("src/a/b/model.py", ["@ada"]),
        ("tests/test_a.py", []),
        ("tests/deep/conftest.py", ["@ada"]),
    ],
)
def test_the_last_line_that_matches_names_the_owners(path: str, named: list[str]) -> None:
    assert owners(OWNERS, path) == named


def test_nothing_goes_in_before_it_was_judged_and_approved(github: FakeGitHub) -> None:
    pull = Pull(HEAD)
    assert github.blocked(pull) == ["nobody else has approved it", "pass is expected"]
    github.said[HEAD].append(Said("pass", "success"))
    pull.approvals = {"grace"}
    assert github.mergeable(pull)
    github.said[HEAD].append(Said("pass", "pending"))
    assert github.blocked(pull) == ["pass is pending"], "the latest counts"


def test_a_status_of_a_workflow_counts_for_its_commit_alone(github: FakeGitHub) -> None:
    github.add("ada/widget")
    body = {"context": "pass", "state": "success"}
    assert github.answer("POST", f"repos/ada/widget/statuses/{HEAD}", body)[0] == 201
    assert github.mergeable(Pull(HEAD, approvals={"grace"}))
    assert github.blocked(Pull("b" * 40, approvals={"grace"})) == ["pass is expected"]


def test_check_runs_of_a_dispatched_run_are_not_in_a_pull_request(github: FakeGitHub) -> None:
    """A bot's pull request: CI was dispatched on its branch, and only a status can be seen."""
    pull = Pull(HEAD, author="github-actions[bot]", approvals={"ada"})
    for event in ("workflow_dispatch", "workflow_run", "repository_dispatch"):
        github.ran(event, HEAD, **{"pass": "success"})
    assert github.blocked(pull) == ["pass is expected"]
    github.said[HEAD].append(Said("pass", "success"))
    assert github.mergeable(pull)


def test_attack_a_person_reports_pass_himself(github: FakeGitHub) -> None:
    """ATTACK: somebody with write access sets the status `pass` by hand | the ruleset takes it from GitHub Actions alone"""
    github.said[HEAD].append(Said("pass", "success", app=0))
    assert github.blocked(Pull(HEAD, approvals={"ada"})) == ["pass is expected"]


def test_attack_a_pull_request_brings_a_green_job_named_pass(github: FakeGitHub) -> None:
    """ATTACK: a pull request's own workflow has a job `pass` that is always green | the judge's status has to be green, too"""
    github.said[HEAD].append(Said("pass", "failure"))
    github.ran("pull_request", HEAD, **{"pass": "success"})
    assert github.blocked(Pull(HEAD, approvals={"ada"})) == ["pass is failure"]


def test_owners_agree_to_what_is_theirs(github: FakeGitHub) -> None:
    github.said[HEAD].append(Said("pass", "success"))
    pull = Pull(HEAD, files=("params.yaml", "gates.yaml"), approvals={"grace"})
    assert github.blocked(pull, OWNERS) == ["an owner of gates.yaml has to approve"]
    pull.approvals = {"grace", "Ada"}
    assert github.mergeable(pull, OWNERS)


def test_who_works_alone_passes_the_rules_and_only_an_administrator_can(
    github: FakeGitHub,
) -> None:
    github.said[HEAD].append(Said("pass", "success"))
    own = Pull(HEAD, author="ada", files=("gates.yaml",), approvals={"ada"})
    assert len(github.blocked(own, OWNERS)) == 2, "nobody approves her own"
    assert github.mergeable(own, OWNERS, admin=True)


def test_what_is_not_on_the_newest_main_waits(github: FakeGitHub) -> None:
    github.said[HEAD].append(Said("pass", "success"))
    pull = Pull(HEAD, approvals={"ada"}, behind=True)
    assert github.blocked(pull) == ["it is not on the newest main"]


@pytest.mark.parametrize(("approvals", "rules_that_hold_it"), [(0, 0), (1, 2)])
def test_with_no_approval_asked_for_the_owners_are_not_either(
    approvals: int, rules_that_hold_it: int
) -> None:
    rules = ruleset()
    [review] = [r["parameters"] for r in rules["rules"] if r["type"] == "pull_request"]
    review["required_approving_review_count"] = approvals
    said = [Said("pass", "success")]
    found = blocked(rules, said, ["gates.yaml"], OWNERS, author="mona", approvals=())
    assert len(found) == rules_that_hold_it
