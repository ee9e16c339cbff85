"""What GitHub tells a workflow: the event's name, its payload and the commit it is about."""

from dataclasses import dataclass, field
from typing import Any

from workflows import api
from workflows.github import FakeGitHub


@dataclass(frozen=True)
class Event:
    """An event on a hub; ``trusted`` is false where the token can only read."""

    name: str
    ref: str
    sha: str
    payload: dict[str, Any]
    actor: str = "mona"
    trusted: bool = True
    about: dict[str, Any] = field(default_factory=dict)
    """How the run shows in the API: head_sha, head_branch, head_repository."""


def _event(hub: FakeGitHub, name: str, branch: str = "", **payload: Any) -> Event:
    branch = branch or hub.default_branch
    ref = f"refs/heads/{branch}"
    sha = hub.commit(ref)
    full = {"repository": api.repository(hub), "sender": {"login": "mona"}} | payload
    return Event(name, ref, sha, full, about=_about(hub.repository, sha, branch))


def _about(repository: str, sha: str, branch: str) -> dict[str, Any]:
    home = {"full_name": repository, "owner": {"login": repository.split("/")[0]}}
    return {"head_sha": sha, "head_branch": branch, "head_repository": home}


def push(hub: FakeGitHub, branch: str = "", before: str = "0" * 40) -> Event:
    """A push to a branch that has already arrived in the bare repository."""
    branch = branch or hub.default_branch
    sha = hub.commit(f"refs/heads/{branch}")
    subject = hub.git("log", "-1", "--format=%B", sha)
    head = {"id": sha, "message": subject, "author": {"name": "mona"}}
    more = {"ref": f"refs/heads/{branch}", "before": before, "after": sha, "head_commit": head}
    return _event(hub, "push", branch, commits=[head], **more)


def pull_request(hub: FakeGitHub, number: int, action: str = "synchronize") -> Event:
    """The merge commit of a pull request, as it was opened or pushed to last."""
    pull = hub.pulls[number]
    head = pull["head"]
    payload = {
        "action": action,
        "number": number,
        "pull_request": pull,
        "repository": api.repository(hub),
        "sender": pull["user"],
    }
    return Event(
        "pull_request",
        f"refs/pull/{number}/merge",
        hub.commit(f"refs/pull/{number}/merge"),
        payload,
        actor=pull["user"]["login"],
        trusted=not head["repo"]["fork"],
        about=_about(head["repo"]["full_name"], head["sha"], head["ref"]),
    )


def merge_group(hub: FakeGitHub, number: int) -> Event:
    """The merge queue tries a pull request on top of its base."""
    pull = hub.pulls[number]
    base, head = pull["base"], hub.commit(f"refs/pull/{number}/merge")
    branch = f"gh-readonly-queue/{base['ref']}/pr-{number}-{base['sha']}"
    hub.git("update-ref", f"refs/heads/{branch}", head)
    group = {
        "head_sha": head,
        "head_ref": f"refs/heads/{branch}",
        "base_sha": base["sha"],
        "base_ref": f"refs/heads/{base['ref']}",
    }
    return _event(hub, "merge_group", branch, action="checks_requested", merge_group=group)


def schedule(hub: FakeGitHub, cron: str = "17 4 * * 1") -> Event:
    return _event(hub, "schedule", schedule=cron)


def workflow_dispatch(hub: FakeGitHub, branch: str = "", **inputs: str) -> Event:
    """Somebody pressed the button, with these inputs."""
    ref = f"refs/heads/{branch or hub.default_branch}"
    return _event(hub, "workflow_dispatch", branch, inputs=inputs, ref=ref)


def workflow_run(hub: FakeGitHub, run_id: int, action: str = "completed") -> Event:
    """A run of another workflow has ended; for a fork it names no pull request."""
    run = {name: value for name, value in hub.runs[run_id].items() if name != "jobs"}
    named = {"name": run["name"], "path": run["path"]}
    return _event(hub, "workflow_run", action=action, workflow_run=run, workflow=named)
