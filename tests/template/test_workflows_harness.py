"""The harness itself: a small workflow of ours does what GitHub would do with it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflows import events
from workflows.github import READ_TOKEN, WRITE_TOKEN, FakeGitHub
from workflows.runner import run

SAMPLE = Path(__file__).parent / "workflows" / "sample"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Mona", "-c", "user.email=mona@example.org"]
    command = ["git", *who, *words]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with the sample workflow."""
    folder = tmp_path / "work"
    shutil.copytree(SAMPLE, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "first")
    commit(folder, "second")
    return folder


def commit(folder: Path, text: str) -> str:
    (folder / "README.md").write_text(f"{text}\n", encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def hub(tmp_path: Path, work: Path) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "hub") as hub:
        hub.push(work)
        yield hub


def test_a_push_runs_every_job(hub: FakeGitHub, work: Path) -> None:
    first = run(hub, "sample.yml", events.push(hub))
    assert first.results == {
        "make": "success",
        "cells (good)": "success",
        "cells (bad)": "failure",
        "read": "success",
        "tag": "success",
        "pass": "success",
    }, first.text
    assert first.output("make", "greet", "words") == "hello mona"
    assert first.output("make", "facts", "parent") == git(work, "rev-parse", "HEAD^1")
    assert first.output("make", "facts", "event") == "push ref=refs/heads/main base="
    assert first.output("read", "read", "count") == "1 b"
    assert first.summaries == {"make": "### made 1\n"}
    assert first.artifact("made") == {"b.txt": b"b\n", "deep/count": b"1\n"}
    assert first.artifact("greeting") == {"README.md": b"second\n"}
    assert hub.commit("made") == git(work, "rev-parse", "HEAD"), "the push arrived"


def test_a_pull_request_runs_on_its_merge_commit(hub: FakeGitHub, work: Path) -> None:
    base = hub.commit("main")
    head = commit(work, "third")
    title = '"; touch /tmp/never; $(id) `id` #'
    number = hub.open_pull(work, "topic", title=title)
    done = run(hub, "sample.yml", events.pull_request(hub, number, "opened"))
    assert set(done.results) == {"make", "cells (good)", "cells (bad)", "read", "pass"}
    assert done.conclusion == "success", done.text
    assert done.output("make", "facts", "title") == title
    assert done.output("make", "facts", "parent") == base == done.output("make", "facts", "main")
    expected = "pull_request ref=refs/pull/1/merge base=main"
    assert done.output("make", "facts", "event") == expected
    (comment,) = hub.comments(number)
    assert (comment["body"], comment["user"]["login"]) == ("hello mona", "github-actions[bot]")
    assert [(call.method, call.status) for call in done.calls] == [("POST", 201)]
    merge = hub.commit(f"refs/pull/{number}/merge")
    assert hub.git("rev-parse", f"{merge}^2") == head == hub.commit("topic")


def test_a_stranger_can_neither_comment_nor_push(hub: FakeGitHub, work: Path) -> None:
    commit(work, "third")
    number = hub.open_pull(work, "main", fork=True, author="eve")
    done = run(hub, "sample.yml", events.pull_request(hub, number))
    assert done.results["make"] == "success"
    assert done.results["read"] == done.results["pass"] == done.conclusion == "failure"
    assert [(call.token, call.status) for call in done.calls] == [(READ_TOKEN, 403)]
    assert not hub.comments(number)
    assert hub.commit("main") != hub.pulls[number]["head"]["sha"]


def test_a_failing_job_skips_what_needs_it(hub: FakeGitHub) -> None:
    done = run(hub, "sample.yml", events.workflow_dispatch(hub, fail="yes"))
    assert done.results == {"make": "failure", "pass": "failure"}
    assert done.code == 1
    assert ("make", "error", "asked to fail") in done.annotations
    assert hub.runs[done.id]["conclusion"] == "failure"


def test_a_merge_queue_runs_on_its_own_branch(hub: FakeGitHub, work: Path) -> None:
    base = hub.commit("main")
    commit(work, "third")
    event = events.merge_group(hub, hub.open_pull(work, "topic"))
    done = run(hub, "sample.yml", event, job="make")
    assert done.output("make", "facts", "parent") == base
    assert f"ref=refs/heads/gh-readonly-queue/main/pr-1-{base} base=" in done.output(
        "make", "facts", "event"
    )


def test_a_schedule_runs_on_the_default_branch(hub: FakeGitHub) -> None:
    done = run(hub, "sample.yml", events.schedule(hub), job="make")
    assert done.results == {"make": "success"}
    assert done.output("make", "facts", "event") == "schedule ref=refs/heads/main base="


def test_a_pull_request_sees_the_cache_of_its_base(hub: FakeGitHub, work: Path) -> None:
    push = run(hub, "sample.yml", events.push(hub), job="make")
    key = push.output("make", "cache", "cache-primary-key")
    assert len(key) > len("store-"), "hashFiles hashes"
    assert not push.outputs["make", "cache"].get("cache-hit")
    commit(work, "third")
    number = hub.open_pull(work, "topic")
    pull = run(hub, "sample.yml", events.pull_request(hub, number), job="make")
    assert pull.output("make", "cache", "cache-matched-key") == key
    assert pull.output("make", "cache", "cache-hit") == "false", "by its prefix only"
    assert pull.artifact("made")["deep/count"] == b"2\n", "what the push had saved was there"


def test_an_action_without_a_stand_in_is_refused(hub: FakeGitHub, work: Path) -> None:
    file = work / ".github" / "workflows" / "sample.yml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("actions/checkout@", "actions/elsewhere@"), encoding="utf-8")
    commit(work, "unknown")
    hub.push(work)
    with pytest.raises(AssertionError, match=r"actions/elsewhere@.*has no stand-in"):
        run(hub, "sample.yml", events.push(hub))


def test_after_a_run_another_can_read_its_artifacts(hub: FakeGitHub, work: Path) -> None:
    """What a workflow does that follows another, by gh alone."""
    (work / ".github/workflows/after.yml").write_text(
        """
name: after
on: {workflow_run: {workflows: [sample], types: [completed]}}
jobs:
  read:
    runs-on: ubuntu-24.04
    steps:
      - id: read
        run: |
          head=$(gh api "repos/$GITHUB_REPOSITORY/pulls?head=$LABEL" --jq '.[] | select(.head.sha == env.SHA) | .number')
          id=$(gh api --paginate "repos/$GITHUB_REPOSITORY/actions/runs/$RUN/artifacts?per_page=1" --jq '.artifacts[] | select(.name == "made") | .id')
          gh api "repos/$GITHUB_REPOSITORY/actions/artifacts/$id/zip" > made.zip
          gh api "repos/$GITHUB_REPOSITORY/contents/README.md?ref=main" -H 'Accept: application/vnd.github.raw' > readme
          gh run download "$RUN" --name greeting --repo "$GITHUB_REPOSITORY"
          echo "said=$head $(python3 -m zipfile -l made.zip | grep -c b.txt) $(cat readme) $(cat README.md)" >> "$GITHUB_OUTPUT"
        env:
          GH_TOKEN: ${{ github.token }}
          RUN: ${{ github.event.workflow_run.id }}
          SHA: ${{ github.event.workflow_run.head_sha }}
          LABEL: ${{ github.event.workflow_run.head_repository.owner.login }}:${{ github.event.workflow_run.head_branch }}
""",
        encoding="utf-8",
    )
    commit(work, "after")
    hub.push(work)
    commit(work, "strange")
    number = hub.open_pull(work, "patch", fork=True, author="eve")
    ended = run(hub, "sample.yml", events.pull_request(hub, number), job="make")
    event = events.workflow_run(hub, ended.id)
    assert event.payload["workflow_run"]["pull_requests"] == []
    done = run(hub, "after.yml", event)
    assert done.conclusion == "success", done.text
    assert done.output("read", "read", "said") == "1 1 after strange"


def test_the_api_keeps_what_it_is_told(hub: FakeGitHub, tmp_path: Path) -> None:
    def gh(*words: str) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "gh"
        config.mkdir(exist_ok=True)
        (config / "config.yml").write_text(f"http_unix_socket: {hub.socket}\n", encoding="utf-8")
        found = shutil.which("gh")
        assert found, "gh is not here: .ci/run installs it"
        env = {"GH_CONFIG_DIR": str(config), "GH_TOKEN": "token", "HOME": str(tmp_path)}
        command = [found, "api", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    home = "repos/acme/widget"
    assert gh(f"{home}/environments/staging").returncode == 1, "not there yet"
    gh("-X", "PUT", f"{home}/environments/staging", "-F", "wait_timer=5")
    kept = json.loads(gh(f"{home}/environments/staging").stdout)
    assert kept == {"wait_timer": 5}
    gh(f"{home}/rulesets", "-f", "name=main")
    (ruleset,) = json.loads(gh(f"{home}/rulesets").stdout)
    gh("-X", "PATCH", f"{home}/rulesets/{ruleset['id']}", "-f", "name=trunk")
    assert json.loads(gh(f"{home}/rulesets").stdout)[0]["name"] == "trunk"
    assert json.loads(gh(home).stdout)["default_branch"] == "main"
    hub.broken["rulesets"] = 503
    assert gh(f"{home}/rulesets").returncode == 1
    assert [call.status for call in hub.calls] == [404, 200, 200, 201, 200, 200, 200, 200, 503]


def status(hub: FakeGitHub, sha: str, token: str = WRITE_TOKEN, **said: str) -> int:
    """A workflow says what it thinks of a commit; the answer's number."""
    body = {"context": "pass", "state": "success"} | said
    headers = {"authorization": f"token {token}"}
    return hub.handle("POST", f"/repos/{hub.repository}/statuses/{sha}", body, headers).status


def test_a_pull_request_is_merged_by_the_rules_alone(hub: FakeGitHub, work: Path) -> None:
    """The status of a workflow, on the head commit, and somebody's approval; no dispatched job."""
    head = commit(work, "third")
    number = hub.open_pull(work, "topic")
    about = {"event": "workflow_dispatch", "head_sha": head, "head_branch": "topic"}
    hub.runs[7] = about | {"id": 7, "jobs": [{"name": "pass", "conclusion": "success"}]}
    assert hub.blocked(number) == ["nobody else has approved it", "pass is expected"]
    assert hub.mergeable(number, admin=True), "who works alone passes the rules"
    assert status(hub, head, READ_TOKEN) == 403, "a fork's run may not"
    assert status(hub, head, description="x" * 141) == 422
    assert status(hub, head) == 201
    hub.approvals[number].add("grace")
    assert hub.mergeable(number)
    hub.runs[7]["event"] = "pull_request"
    hub.runs[7]["jobs"][0]["conclusion"] = "failure"
    assert hub.blocked(number) == ["pass is failure"], "a job of that name counts, too"
    commit(work, "fourth")
    hub.update_pull(number, work)
    assert hub.blocked(number) == ["nobody else has approved it", "pass is expected"]


def test_owners_and_the_newest_main_are_asked_for(hub: FakeGitHub, work: Path) -> None:
    (work / ".github/CODEOWNERS").write_text("* @ada\n/docs/\n", encoding="utf-8")
    commit(work, "owners")
    hub.push(work)
    head = commit(work, "third")
    number = hub.open_pull(work, "topic")
    status(hub, head)
    hub.approvals[number].add("grace")
    assert hub.blocked(number) == ["an owner of README.md has to approve"]
    hub.approvals[number].add("ada")
    assert hub.mergeable(number)
    git(work, "checkout", "--quiet", "HEAD^1")
    commit(work, "meanwhile")
    hub.push(work)
    assert hub.blocked(number) == ["it is not on the newest main"]
