"""A GitHub of one repository: a bare git repository and an API on a unix socket.

It knows pull requests, comments, runs, artifacts and contents; whatever else is put, posted or
patched is kept under its path and given back. Every call is recorded.
"""

import http.server
import json
import shutil
import socketserver
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import merging

from workflows import api

WRITE_TOKEN, READ_TOKEN = "ghs_of-this-run-write", "ghs_of-this-run-read"

# In a run a push needs the token; the tests themselves push as they like.
_PRE_RECEIVE = f"""#!/bin/sh
[ -z "$HARNESS_HUB" ] || [ "$GH_TOKEN" = "{WRITE_TOKEN}" ] || {{
  echo "remote: Permission to the repository denied: no GH_TOKEN that may write" >&2; exit 1; }}
"""


@dataclass(frozen=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int
    token: str


@dataclass
class FakeGitHub:
    """Use as a context manager: the API answers on ``socket`` while it is open."""

    folder: Path
    repository: str = "acme/widget"
    default_branch: str = "main"
    calls: list[Call] = field(default_factory=list)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    issue_comments: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """Commit statuses, oldest first."""
    approvals: dict[int, set[str]] = field(default_factory=dict)
    """Who has approved a pull request as it is now, by number."""
    store: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    """Status by part of a path: calls to it fail."""
    environments: Path | None = None
    """A project that was set up: runs with its locks find what it has installed."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.ids = iter(range(1001, 10**9))
        self.git_root = self.folder / "git"
        self.bare = self.git_root / f"{self.repository}.git"
        self.artifacts_folder = self.folder / "artifacts"
        if not self.bare.exists():
            self.bare.mkdir(parents=True)
            self.git("init", "--quiet", "--bare", f"--initial-branch={self.default_branch}")
            hook = self.bare / "hooks" / "pre-receive"
            hook.write_text(_PRE_RECEIVE, encoding="utf-8")
            hook.chmod(0o755)

    def __enter__(self) -> Self:
        # A socket's path may have 108 characters, less than a folder of pytest needs.
        self._short = Path(tempfile.mkdtemp(prefix="hub-"))
        self.socket = self._short / "api.sock"
        self._server = _Server(str(self.socket), self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._short)

    # --- git -----------------------------------------------------------------------------------

    def git(self, *words: str) -> str:
        """Run git in the bare repository, as somebody."""
        who = ["-c", "user.name=GitHub", "-c", "user.email=noreply@github.com"]
        return _output("git", *who, *words, cwd=self.bare)

    def commit(self, ref: str) -> str:
        return self.git("rev-parse", "--verify", f"{ref}^{{commit}}")

    def push(self, work: Path, branch: str = "", revision: str = "HEAD") -> str:
        """Push a commit of a work tree to a branch (main), with force; its id."""
        ref = f"refs/heads/{branch or self.default_branch}"
        _output("git", "push", "--quiet", "--force", str(self.bare), f"{revision}:{ref}", cwd=work)
        return self.commit(ref)

    def open_pull(
        self,
        work: Path,
        branch: str,
        *,
        base: str = "",
        fork: bool = False,
        title: str = "A change",
        author: str = "mona",
        revision: str = "HEAD",
    ) -> int:
        """Open a pull request from a work tree's commit; a fork's branch is not in the repository."""
        number = len(self.pulls) + 1
        owner = author if fork else self.repository.split("/")[0]
        name = f"{owner}/{self.repository.split('/')[1]}"
        self.pulls[number] = {
            "number": number,
            "state": "open",
            "draft": False,
            "title": title,
            "body": "",
            "user": {"login": author, "type": "User"},
            "labels": [],
            "html_url": f"https://github.com/{self.repository}/pull/{number}",
            "head": {
                "ref": branch,
                "label": f"{owner}:{branch}",
                "user": {"login": owner},
                "repo": {"full_name": name, "fork": fork, "owner": {"login": owner}},
            },
            "base": {"ref": base or self.default_branch, "repo": api.repository(self)},
        }
        self.update_pull(number, work, revision)
        return number

    def update_pull(self, number: int, work: Path, revision: str = "HEAD") -> dict[str, Any]:
        """Push again to the pull request, and merge it with its base as GitHub does."""
        pull = self.pulls[number]
        head_ref = f"refs/pull/{number}/head"
        push = ["push", "--quiet", "--force", str(self.bare)]
        _output("git", *push, f"{revision}:{head_ref}", cwd=work)
        pull["head"]["sha"] = self.commit(head_ref)
        self.approvals[number] = set()  # stale ones are dismissed
        if not pull["head"]["repo"]["fork"]:
            self.git("update-ref", f"refs/heads/{pull['head']['ref']}", pull["head"]["sha"])
        base, head = self.commit(f"refs/heads/{pull['base']['ref']}"), pull["head"]["sha"]
        tree = self.git("merge-tree", "--write-tree", base, head).splitlines()[0]
        message = f"Merge {head} into {base}"
        merge = self.git("commit-tree", tree, "-p", base, "-p", head, "-m", message)
        self.git("update-ref", f"refs/pull/{number}/merge", merge)
        pull["base"]["sha"] = base
        pull["merge_commit_sha"] = merge
        return pull

    # --- what people see -------------------------------------------------------------------------

    def comments(self, number: int) -> list[dict[str, Any]]:
        return [one for one in self.issue_comments if one["issue"] == number]

    def comment(
        self, number: int, body: str, author: str = "github-actions[bot]"
    ) -> dict[str, Any]:
        """Write a comment on an issue or pull request."""
        with self.lock:
            made = api.comment(self, number, body, author)
            self.issue_comments.append(made)
        return made

    def blocked(self, number: int, *, admin: bool = False) -> list[str]:
        """What keeps a pull request out of main, by the ruleset that the library ships."""
        pull, tip = self.pulls[number], f"refs/heads/{self.default_branch}"
        base, head = self.commit(tip), pull["head"]["sha"]
        merge = f"refs/pull/{number}/merge"
        said = [
            merging.Said(one["context"], one["state"], one["app"])
            for one in self.statuses
            if one["sha"] == head
        ]
        for run in self.runs.values():
            if run["head_sha"] == head:
                jobs = [(job["name"], job["conclusion"]) for job in run["jobs"]]
                said += [merging.Said(*job, event=run["event"]) for job in jobs]
        try:
            codeowners = self.git("show", f"{tip}:.github/CODEOWNERS")
        except AssertionError:
            codeowners = ""
        return merging.blocked(
            merging.ruleset(),
            said,
            self.git("diff", "--name-only", "--no-renames", f"{merge}^1", merge).splitlines(),
            codeowners,
            author=pull["user"]["login"],
            approvals=self.approvals[number],
            behind=self.git("merge-base", base, head) != base,
            admin=admin,
        )

    def mergeable(self, number: int, *, admin: bool = False) -> bool:
        """Whether GitHub would let it in."""
        return not self.blocked(number, admin=admin)

    def handle(self, method: str, target: str, body: Any, headers: dict[str, str]) -> api.Answer:
        """Answer one request, and record it."""
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        token = headers.get("authorization", "").split(" ")[-1]
        request = api.Request(method, url.path.rstrip("/"), query, body, headers.get("accept", ""))
        with self.lock:
            broken = next((code for part, code in self.broken.items() if part in url.path), 0)
            if broken:
                answer = api.Answer(broken, {"message": "Server Error"})
            elif not token:
                answer = api.Answer(401, {"message": "Requires authentication"})
            elif method != "GET" and token == READ_TOKEN:
                answer = api.Answer(403, {"message": "Resource not accessible by integration"})
            else:
                answer = api.answer(self, request)
            self.calls.append(Call(method, request.path, query, body, answer.status, token))
        return answer


def _output(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, hub: FakeGitHub) -> None:
        self.hub = hub
        super().__init__(path, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        raw = self._content()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.hub.handle(self.command, self.path, body, headers)
        content = answer.content()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _content(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        # What gh reads from its standard input comes in chunks.
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Calls are recorded, not printed."""
