"""GitHub's side of `make github`: enough of the API, in memory, with every call on record."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import merging

Answer = tuple[int, Any]
UPGRADE = {"message": "Upgrade to GitHub Pro or make this repository public to enable this."}
MISSING = {"message": "Not Found"}
ME = {"login": "ada", "id": 7}


@dataclass
class Pull:
    """A pull request: its head commit, whose it is, what it changes, who has approved it."""

    head: str
    author: str = "mona"
    files: tuple[str, ...] = ("params.yaml",)
    approvals: set[str] = field(default_factory=set)
    behind: bool = False


class FakeGitHub:
    """One person and her repositories. ``plan`` is free or pro; it limits what is private."""

    def __init__(self, plan: str = "pro") -> None:
        self.plan = plan
        self.calls: list[tuple[str, str]] = []
        self.repositories: dict[str, dict[str, Any]] = {}
        self.things: dict[str, Any] = {}  # by path below the repository
        self.taken: set[str] = set()
        self.organisations: dict[int, Any] | None = None  # rulesets by number, where it has any
        self.down = False
        self.scopes: str | None = "gist, read:org, repo, workflow"  # None: no classic token
        self.said: dict[str, list[merging.Said]] = defaultdict(list)  # by commit

    def ran(self, event: str, commit: str, **jobs: str) -> None:
        """A run of Actions has ended: its check runs, by job."""
        self.said[commit] += [
            merging.Said(name, state, event=event) for name, state in jobs.items()
        ]

    def blocked(self, pull: Pull, codeowners: str = "", *, admin: bool = False) -> list[str]:
        """What keeps a pull request out of main, by the ruleset that was set up."""
        rules = [v for key, v in self.things.items() if key.startswith("rulesets/")]
        [main] = [each for each in rules if each["name"] == "main"]
        return merging.blocked(
            main,
            self.said[pull.head],
            pull.files,
            codeowners,
            author=pull.author,
            approvals=pull.approvals,
            behind=pull.behind,
            admin=admin,
        )

    def mergeable(self, pull: Pull, codeowners: str = "", *, admin: bool = False) -> bool:
        """Whether GitHub would let it in."""
        return not self.blocked(pull, codeowners, admin=admin)

    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] != "GET"]

    def add(self, name: str, *, private: bool = True, admin: bool = True) -> None:
        self.repositories[name] = {
            "full_name": name,
            "private": private,
            "permissions": {"admin": admin},
            "default_branch": "main",
            "id": 1000 + len(self.repositories),
            "owner": {"login": name.split("/")[0], "id": ME["id"]},
            "created_at": "2026-11-30T10:00:00Z",
            "allow_merge_commit": True,
            "security_and_analysis": {"secret_scanning": {"status": "disabled"}},
        }

    def answer(self, method: str, path: str, body: Any) -> Answer:
        path = path.partition("?")[0].strip("/")
        self.calls.append((method, path))
        if self.down:
            return 503, {"message": "Unavailable"}
        if path == "user":
            return 200, ME
        owner, _, rest = path.partition("/")
        if owner == "orgs" and "/rulesets" in rest:
            return self.organisation(method, rest.partition("/rulesets")[2].strip("/"), body)
        if owner in ("user", "orgs"):
            return self.create("ada" if owner == "user" else rest.split("/")[0], body)
        name, rest = "/".join(path.split("/")[1:3]), "/".join(path.split("/")[3:])
        if name not in self.repositories:
            return 404, MISSING
        return self.below(self.repositories[name], method, rest, body)

    def create(self, owner: str, body: dict[str, Any]) -> Answer:
        name = f"{owner}/{body['name']}"
        if name in self.taken:
            error = {"message": "name already exists on this account"}
            return 422, {"message": "Repository creation failed.", "errors": [error]}
        self.add(name, private=body["private"])
        return 201, self.repositories[name]

    def organisation(self, method: str, number: str, body: Any) -> Answer:
        """Rulesets of an organisation; a person, a cheap plan or a weak token has none."""
        if self.organisations is None:
            return 404, MISSING
        if method == "GET":
            listed = [{"id": n, "name": each["name"]} for n, each in self.organisations.items()]
            return 200, self.organisations[int(number)] if number else listed
        self.organisations[int(number or len(self.organisations) + 1)] = body
        return 201, body

    def below(self, about: dict[str, Any], method: str, path: str, body: Any) -> Answer:
        cheap = about["private"] and self.plan == "free"
        if path == "":
            if method == "PATCH" and cheap and "security_and_analysis" in body:
                return 422, {"message": "Secret scanning is not available for this repository."}
            about |= body or {}
            return 200, about
        if cheap and path.startswith("rulesets"):
            return 403, UPGRADE
        kind = path.split("/")[0]
        if kind == "statuses":  # which a workflow's own token makes GitHub Actions' own
            self.said[path.split("/")[1]].append(merging.Said(body["context"], body["state"]))
            return 201, body
        if method == "GET":
            found = self.things.get(path, MISSING)
            return (404, MISSING) if found is MISSING else (204 if found is None else 200, found)
        if kind == "environments":
            return self.environment(path, method, body, cheap)
        if kind == "rulesets":
            number = path.split("/")[1] if "/" in path else str(len(self.things) + 1)
            # GitHub adds what it knows besides, and turns lists around.
            full = body | {"id": int(number), "rules": body["rules"][::-1], "source": "x"}
            self.things[f"rulesets/{number}"] = full
            self.things["rulesets"] = [
                {"id": each["id"], "name": each["name"]}
                for key, each in self.things.items()
                if key.startswith("rulesets/")
            ]
            return 201, full
        if path == "actions/variables":
            path = f"actions/variables/{body['name']}"
        self.things[path] = {"enabled": True} if path.startswith("private-") else body
        return 204, None

    def environment(self, path: str, method: str, body: Any, cheap: bool) -> Answer:
        if method == "POST":
            there = self.things.setdefault(path, {"branch_policies": []})
            there["branch_policies"].append({"name": body["name"]})
            return 200, body
        if cheap and body:
            return 422, {"message": "Fail to create protected rule, please ensure billing plan."}
        rules = []
        if body.get("reviewers"):
            listed = [{"type": r["type"], "reviewer": {"id": r["id"]}} for r in body["reviewers"]]
            rules = [{"type": "required_reviewers", "reviewers": listed}]
        policy = body.get("deployment_branch_policy")
        self.things[path] = {"protection_rules": rules, "deployment_branch_policy": policy}
        return 200, self.things[path]

    @contextmanager
    def serve(self, socket: Path) -> Iterator[None]:
        """Answer what gh asks when its ``http_unix_socket`` is ``socket``."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding") == "chunked":  # what gh reads from stdin
                    while size := int(self.rfile.readline(), 16):
                        text += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                body = json.loads(text) if text else None
                status, content = fake.answer(self.command, self.path, body)
                text = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if fake.scopes is not None:
                    self.send_header("X-OAuth-Scopes", fake.scopes)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if text:  # after a 204 gh is gone already
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

            def address_string(self) -> str:
                return "gh"

            def log_message(self, *words: Any) -> None:
                pass

        with ThreadingUnixStreamServer(str(socket), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
