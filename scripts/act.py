"""Run one workflow of a generated repository for real, with no GitHub, and tell what it did.

    .venv/bin/python scripts/act.py ci.yml pull_request --project ../flight-delays

The project's last commit is pushed to a repository of its own in a temporary folder; nothing of
the project is changed. For a pull request it is the head, and ``--base`` (its first parent) is
what ``main`` has.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.extend(
    str(Path(__file__).resolve().parents[1] / folder)
    for folder in ("tests", "tests/template", "tests/github")
)

from workflows import events
from workflows.events import Event
from workflows.github import FakeGitHub
from workflows.runner import run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workflow", help="file name, such as ci.yml")
    parser.add_argument("event", choices=["push", "pull_request", "schedule", "workflow_dispatch"])
    parser.add_argument("--project", type=Path, default=Path(), help="a git repository (here)")
    parser.add_argument("--base", default="HEAD^", help="of a pull request: what main has (HEAD^)")
    parser.add_argument("--fork", action="store_true", help="the pull request is a stranger's")
    parser.add_argument("--job", default="", help="only this job and what it needs")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="of a workflow_dispatch"
    )
    return parser.parse_args()


def _event(hub: FakeGitHub, given: argparse.Namespace) -> Event:
    if given.event == "pull_request":
        hub.push(given.project, revision=given.base)
        number = hub.open_pull(given.project, "change", fork=given.fork)
        return events.pull_request(hub, number, "opened")
    hub.push(given.project)
    if given.event == "workflow_dispatch":
        return events.workflow_dispatch(hub, **dict(pair.split("=", 1) for pair in given.input))
    return events.push(hub) if given.event == "push" else events.schedule(hub)


def main() -> int:
    """Exit code 0 where the run succeeded, 1 where it failed, 2 where it could not begin."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder, FakeGitHub(Path(folder) / "hub") as hub:
        try:
            # Objects kept in other branches, such as data, come along.
            for branch in _branches(given.project):
                hub.push(given.project, branch, f"refs/heads/{branch}")
            done = run(hub, given.workflow, _event(hub, given), job=given.job)
        except (AssertionError, ValueError) as error:
            print(f"act: {error}", file=sys.stderr)
            return 2
        print(done.text)
        for job, text in done.summaries.items():
            print(f"\n--- summary of {job}\n{text}")
        for comment in hub.issue_comments:
            print(f"\n--- comment on pull request {comment['issue']}\n{comment['body']}")
        for call in done.calls:
            print(f"--- {call.method} {call.path} {call.status}")
        print(f"\n{done.conclusion} in {done.seconds:.1f} s")
        for job, result in done.results.items():
            print(f"  {job:12} {result}")
    return 0 if done.conclusion == "success" else 1


def _branches(project: Path) -> list[str]:
    command = ["git", "-C", str(project), "for-each-ref", "--format=%(refname:short)", "refs/heads"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise ValueError(f"{project} is no git repository: run `git init` and commit there first")
    return shown.stdout.split()


if __name__ == "__main__":
    sys.exit(main())
