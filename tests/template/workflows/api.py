"""The answers of the fake API: a table of paths, and a store for all the others."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import merging

from workflows.standins import artifacts

if TYPE_CHECKING:
    from workflows.github import FakeGitHub


@dataclass(frozen=True)
class Request:
    """What was asked; ``path`` has no query and no slash at its end."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    accept: str


@dataclass(frozen=True)
class Answer:
    """What is answered; bytes and text go out as they are."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


Handler = Callable[["FakeGitHub", Request, "re.Match[str]"], Answer]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []
NOT_FOUND = Answer(404, {"message": "Not Found"})


def _route(method: str, path: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(path), handler))
        return handler

    return register


def answer(hub: FakeGitHub, request: Request) -> Answer:
    """The answer of a route of this repository, else of the store."""
    home = f"/repos/{hub.repository}"
    if request.path.startswith(f"{home}/"):
        below = request.path.removeprefix(home)
        for method, pattern, handler in _ROUTES:
            if method == request.method and (match := pattern.fullmatch(below)):
                return handler(hub, request, match)
    return _stored(hub, request)


def repository(hub: FakeGitHub) -> dict[str, Any]:
    """The repository as events and answers show it."""
    owner, name = hub.repository.split("/")
    return {
        "id": 1,
        "name": name,
        "full_name": hub.repository,
        "owner": {"login": owner, "type": "Organization"},
        "default_branch": hub.default_branch,
        "private": False,
        "fork": False,
        "html_url": f"https://github.com/{hub.repository}",
        "clone_url": f"https://github.com/{hub.repository}.git",
    }


def comment(hub: FakeGitHub, number: int, body: str, author: str) -> dict[str, Any]:
    """A comment as the API shows it, not yet kept."""
    identity, kind = next(hub.ids), "Bot" if author.endswith("[bot]") else "User"
    return {
        "id": identity,
        "issue": number,
        "body": body,
        "user": {"login": author, "type": kind},
        "author_association": "NONE",
        "created_at": now(),
        "updated_at": now(),
        "html_url": f"https://github.com/{hub.repository}/pull/{number}#issuecomment-{identity}",
        "issue_url": f"https://api.github.com/repos/{hub.repository}/issues/{number}",
    }


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _page(hub: FakeGitHub, request: Request, items: list[Any], key: str = "") -> Answer:
    """One page of a list, with the link to the next as ``gh api --paginate`` wants it."""
    size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    shown = items[(page - 1) * size : page * size]
    headers = {"content-type": "application/json"}
    if page * size < len(items):
        rest = "".join(f"&{k}={v}" for k, v in request.query.items() if k != "page")
        url = f"https://api.github.com{request.path}?page={page + 1}{rest}"
        headers["link"] = f'<{url}>; rel="next"'
    return Answer(200, {"total_count": len(items), key: shown} if key else shown, headers)


# --- comments ------------------------------------------------------------------------------------


@_route("GET", r"/issues/(\d+)/comments")
def _list_comments(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    return _page(hub, request, hub.comments(int(match[1])))


@_route("POST", r"/issues/(\d+)/comments")
def _new_comment(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    if len(request.body["body"]) > 65536:
        return Answer(422, {"message": "Validation Failed: body is too long"})
    return Answer(201, hub.comment(int(match[1]), request.body["body"]))


@_route("GET", r"/issues/comments/(\d+)")
@_route("PATCH", r"/issues/comments/(\d+)")
@_route("DELETE", r"/issues/comments/(\d+)")
def _one_comment(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    found = next((one for one in hub.issue_comments if one["id"] == int(match[1])), None)
    if found is None:
        return NOT_FOUND
    if request.method == "DELETE":
        hub.issue_comments.remove(found)
        return Answer(204)
    if request.method == "PATCH":
        if len(request.body["body"]) > 65536:
            return Answer(422, {"message": "Validation Failed: body is too long"})
        found |= {"body": request.body["body"], "updated_at": now()}
    return Answer(200, found)


@_route("GET", r"/issues")
def _list_issues(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    state, kept = request.query.get("state", "open"), hub.store.get(request.path, [])
    return _page(hub, request, [one for one in kept if state in ("all", one["state"])])


# --- pull requests -------------------------------------------------------------------------------


@_route("GET", r"/pulls")
def _list_pulls(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    state, query = request.query.get("state", "open"), request.query
    found = [pull for pull in hub.pulls.values() if state in ("all", pull["state"])]
    if "head" in query:
        found = [pull for pull in found if pull["head"]["label"] == query["head"]]
    if "base" in query:
        found = [pull for pull in found if pull["base"]["ref"] == query["base"]]
    return _page(hub, request, found)


@_route("POST", r"/pulls")
def _new_pull(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    """Of a branch of this repository; by a workflow, which has a token and no name."""
    said = request.body
    revision, author = f"refs/heads/{said['head']}", "github-actions[bot]"
    number = hub.open_pull(
        hub.bare, said["head"], base=said["base"], title=said["title"], author=author,
        revision=revision,
    )  # fmt: skip
    hub.pulls[number]["body"] = said.get("body", "")
    return Answer(201, hub.pulls[number])


@_route("PATCH", r"/pulls/(\d+)")
def _change_pull(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    if (pull := hub.pulls.get(int(match[1]))) is None:
        return NOT_FOUND
    pull.update({name: request.body[name] for name in ("title", "body") if name in request.body})
    return Answer(200, pull)


@_route("GET", r"/pulls/(\d+)")
def _one_pull(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    pull = hub.pulls.get(int(match[1]))
    return Answer(200, pull | {"changed_files": len(_files(hub, match[1]))}) if pull else NOT_FOUND


@_route("GET", r"/pulls/(\d+)/files")
def _files_of_pull(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    return _page(hub, request, _files(hub, match[1]))


def _files(hub: FakeGitHub, number: str) -> list[dict[str, Any]]:
    ends = (f"refs/pull/{number}/merge^1", f"refs/pull/{number}/merge")
    words, found = iter(hub.git("diff", "--name-status", "-M", "-z", *ends).split("\0")), []
    kinds = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "T": "changed"}
    for kind in (word for word in words if word):
        old = {"previous_filename": next(words)} if kind[0] == "R" else {}
        found.append({"filename": next(words), "status": kinds[kind[0]], **old})
    return found


@_route("GET", r"/compare/([0-9a-f]{40})\.\.\.([0-9a-f]{40})")
def _compare(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    return Answer(200, {"merge_base_commit": {"sha": hub.git("merge-base", match[1], match[2])}})


@_route("GET", r"/commits/([0-9a-f]{40})/pulls")
def _pulls_of_commit(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    """Commits of forks are not found this way."""
    pulls = [pull for pull in hub.pulls.values() if not pull["head"]["repo"]["fork"]]
    return _page(hub, request, [pull for pull in pulls if pull["head"]["sha"] == match[1]])


# --- commit statuses and check runs --------------------------------------------------------------


@_route("POST", r"/statuses/([0-9a-f]{40})")
def _new_status(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    """By a workflow, whose token is that of GitHub Actions."""
    said = {"context": "default", "description": "", "target_url": None} | request.body
    if said["state"] not in ("error", "failure", "pending", "success"):
        return Answer(422, {"message": "Validation Failed: state"})
    if len(said["description"] or "") > 140:
        return Answer(422, {"message": "Validation Failed: description is too long"})
    made = {"id": next(hub.ids), "sha": match[1], "app": merging.ACTIONS, **said}
    hub.statuses.append(made)
    return Answer(201, made)


@_route("GET", r"/commits/([0-9a-f]{40})/statuses")
def _list_statuses(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    return _page(hub, request, [one for one in hub.statuses[::-1] if one["sha"] == match[1]])


@_route("GET", r"/commits/([0-9a-f]{40})/check-runs")
def _list_checks(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    runs = [run for run in hub.runs.values() if run["head_sha"] == match[1]]
    return _page(hub, request, [job for run in runs for job in run["jobs"]], "check_runs")


# --- runs and artifacts --------------------------------------------------------------------------


@_route("GET", r"/actions/runs")
@_route("GET", r"/actions/workflows/([^/]+)/runs")
def _list_runs(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    runs = sorted(hub.runs.values(), key=lambda run: -int(run["id"]))
    if match.re.groups:
        runs = [run for run in runs if run["path"].endswith(f"/{match[1]}")]
    for name, shown in (("head_sha", "head_sha"), ("event", "event"), ("branch", "head_branch")):
        if name in request.query:
            runs = [run for run in runs if run[shown] == request.query[name]]
    if "status" in request.query:
        runs = [r for r in runs if request.query["status"] in (r["status"], r["conclusion"])]
    return _page(hub, request, [_without_jobs(run) for run in runs], "workflow_runs")


def _without_jobs(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != "jobs"}


@_route("GET", r"/actions/runs/(\d+)(?:/attempts/\d+)?(/jobs|/artifacts)?")
def _one_run(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    run = hub.runs.get(int(match[1]))
    if run is None:
        return NOT_FOUND
    if match[2] == "/jobs":
        return _page(hub, request, run["jobs"], "jobs")
    if match[2] == "/artifacts":
        found = [
            _artifact(hub, one) for one in artifacts.artifacts(hub.artifacts_folder, run["id"])
        ]
        name = request.query.get("name")
        found = [one for one in found if name in (None, one["name"])]
        return _page(hub, request, found, "artifacts")
    return Answer(200, _without_jobs(run))


def _artifact(hub: FakeGitHub, one: artifacts.Artifact) -> dict[str, Any]:
    url = f"https://api.github.com/repos/{hub.repository}/actions/artifacts/{one.id}"
    return {
        "id": one.id,
        "name": one.name,
        "size_in_bytes": one.size,
        "digest": f"sha256:{one.digest}",
        "expired": False,
        "url": url,
        "archive_download_url": f"{url}/zip",
        "workflow_run": {"id": one.run_id, "head_sha": hub.runs[one.run_id]["head_sha"]},
    }


@_route("GET", r"/actions/artifacts/(\d+)(/zip)?")
def _one_artifact(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    folder = hub.artifacts_folder
    every = [one for run in hub.runs for one in artifacts.artifacts(folder, run)]
    found = next((one for one in every if one.id == int(match[1])), None)
    if found is None:
        return NOT_FOUND
    if match[2]:
        return Answer(200, found.zip(folder).read_bytes(), {"content-type": "application/zip"})
    return Answer(200, _artifact(hub, found))


@_route("POST", r"/dispatches")
@_route("POST", r"/actions/workflows/[^/]+/dispatches")
def _dispatch(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    return Answer(204)


# --- git -----------------------------------------------------------------------------------------


@_route("GET", r"/contents/(.+)")
def _contents(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    ref = request.query.get("ref", hub.default_branch)
    names = [ref, f"refs/heads/{ref}"]
    for name in names:
        shown = ["git", "-C", str(hub.bare), "show", f"{name}:{match[1]}"]
        done = subprocess.run(shown, capture_output=True, check=False)
        if done.returncode == 0:
            break
    else:
        return NOT_FOUND
    if "raw" in request.accept:
        return Answer(200, done.stdout, {"content-type": "text/plain"})
    packed = base64.b64encode(done.stdout).decode()
    body = {"type": "file", "path": match[1], "encoding": "base64", "content": packed}
    return Answer(200, body)


@_route("GET", r"/git/ref/heads/(.+)")
@_route("GET", r"/branches/(.+)")
def _branch(hub: FakeGitHub, request: Request, match: re.Match[str]) -> Answer:
    try:
        commit = hub.commit(f"refs/heads/{match[1]}")
    except AssertionError:
        return NOT_FOUND
    ref = f"refs/heads/{match[1]}"
    both = {"ref": ref, "object": {"sha": commit, "type": "commit"}}
    return Answer(200, both | {"name": match[1], "commit": {"sha": commit}})


# --- all else ------------------------------------------------------------------------------------


def _stored(hub: FakeGitHub, request: Request) -> Answer:
    """Keep what is put, add what is posted to the list at its path, give it back."""
    path, body, kept = request.path, request.body, hub.store
    if request.method == "GET":
        if path == f"/repos/{hub.repository}":
            return Answer(200, repository(hub) | kept.get(path, {}))
        if path not in kept:
            return NOT_FOUND
        found = kept[path]
        return _page(hub, request, found) if isinstance(found, list) else Answer(200, found)
    if request.method == "POST":
        made = {"id": next(hub.ids), **(body or {})}
        if path.endswith("/issues"):
            made |= {"number": len(kept.get(path, [])) + 1 + len(hub.pulls), "state": "open"}
            made |= {"user": {"login": "github-actions[bot]", "type": "Bot"}}
            made |= {"html_url": f"https://github.com/{hub.repository}/issues/{made['number']}"}
            kept[f"{path}/{made['number']}"] = made
        else:
            kept[f"{path}/{made['id']}"] = made
        kept.setdefault(path, []).append(made)
        return Answer(201, made)
    if request.method == "DELETE":
        return Answer(204) if kept.pop(path, None) is not None else NOT_FOUND
    if request.method == "PATCH" and isinstance(kept.get(path), dict):
        kept[path].update(body or {})
        return Answer(200, kept[path])
    kept[path] = body if body is not None else {}
    return Answer(200, kept[path])
