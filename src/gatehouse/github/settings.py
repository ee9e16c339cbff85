"""What the shipped files ``github/*.json`` ask for, brought about on GitHub.

Everything is read before it is written, so that a second run changes nothing. What GitHub refuses,
as it does on its cheaper plans, is said and passed over.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from gatehouse.core import shipped
from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import address

from .api import call, reason
from .oidc import NEEDS

PATH, RULESETS = ".github/settings.json", ".github/ruleset"
WRITERS = ".github/organisation-ruleset.json"
FORMS = {"settings": list, "environments": dict, "variables": dict}
NAMED_BRANCHES = {"protected_branches": False, "custom_branch_policies": True}


@dataclass
class Run:
    """Where it works, what it has changed, what is left to a person."""

    dry: bool
    me: dict[str, Any]
    path: str = ""
    exists: bool = True
    public: bool = False
    changes: int = 0
    refused: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)

    def read(self, path: str) -> tuple[int, Any]:
        """GET below the repository; while that is not there, nothing is."""
        return call("GET", self.path + path) if self.exists else (404, None)

    def done(self, what: str) -> None:
        """Say what was changed, or would be."""
        self.changes += 1
        sys.stdout.write(f"{'would' if self.dry else 'done':<7} {what}\n")
        sys.stdout.flush()

    def write(self, what: str, method: str, path: str, body: Any = None) -> bool:
        """Change one thing, or say what would be; False where GitHub refuses."""
        if not self.dry:
            status, content = call(method, path, body)
            if status >= 300:
                self.refused.append(f"{what} ({reason(content) or status})")
                return False
        self.done(what)
        return True


def read_wanted(project: Project) -> dict[str, Any]:
    """The settings, in the form that the rest relies on."""
    fix, wanted = _fix(PATH), _read(project, PATH)
    if not all(isinstance(wanted.get(key), form) for key, form in FORMS.items()):
        raise Stop(
            "settings-damaged",
            f"{PATH} lacks one of {', '.join(FORMS)}, or has it in another form: {fix}",
        )
    entries = [*wanted["settings"], *wanted["environments"].values()]
    if not all(isinstance(entry, dict) for entry in entries) or not all(
        {"what", "path"} <= entry.keys() for entry in wanted["settings"]
    ):
        raise Stop(
            "settings-damaged",
            f"{PATH} has a setting without what or path, or of another form: {fix}",
        )
    return wanted


def apply(project: Project, run: Run, wanted: dict[str, Any]) -> None:
    """Settings, environments, variables and rulesets, each only where it does not hold yet."""
    for entry in wanted["settings"]:
        status, found = run.read(entry["path"]) if run.public or not entry.get("public") else (0, 0)
        body = entry.get("body")
        if status >= 300 or (status and not holds(entry.get("found", body), found)):
            method = "PUT" if entry["path"] else "PATCH"
            run.write(entry["what"], method, run.path + entry["path"], body)
    bucket = address(project, shared=True).partition("://")[0] in NEEDS
    for name, environment in wanted["environments"].items():
        if bucket or not environment.get("bucket"):
            _environment(run, name, environment)
    for name, value in wanted["variables"].items():
        status, found = run.read(f"/actions/variables/{name}")
        if not holds(body := {"name": name, "value": str(value)}, found):
            method, end = ("POST", "") if status == 404 else ("PATCH", f"/{name}")
            run.write(f"variable {name}", method, f"{run.path}/actions/variables{end}", body)
    status, listed = run.read("/rulesets?per_page=100&includes_parents=false")
    ids = {each["name"]: f"/{each['id']}" for each in listed or []} if status == 200 else {}
    for name in (name for name in shipped.names() if name.startswith(RULESETS)):
        ruleset = _read(project, name)
        where = f"/rulesets{ids.get(ruleset.get('name'), '')}"
        if where == "/rulesets" or not holds(ruleset, run.read(where)[1]):
            method = "POST" if where == "/rulesets" else "PUT"
            run.write(f"ruleset {ruleset.get('name')}", method, run.path + where, ruleset)
    _writers(project, run)


def _writers(project: Project, run: Run) -> None:
    """Leave the branches of records to workflows, where an organisation has rulesets.

    A repository's own take no GitHub Actions among those who may pass them; `doctor` says so.
    """
    owner, _, name = run.path.removeprefix("repos/").partition("/")
    home = f"orgs/{owner}/rulesets"
    status, listed = call("GET", f"{home}?per_page=100")
    if status != 200:
        return
    ruleset = _read(project, WRITERS)
    ruleset["name"] = f"{ruleset.get('name')} of {name}"
    ruleset.setdefault("conditions", {})["repository_name"] = {"include": [name], "exclude": []}
    ids = {each["name"]: each["id"] for each in listed or []}
    where = f"{home}/{ids[ruleset['name']]}" if ruleset["name"] in ids else home
    if where == home or not holds(ruleset, call("GET", where)[1]):
        what = f"ruleset {ruleset['name']}, of the organisation"
        run.write(what, "POST" if where == home else "PUT", where, ruleset)


def _read(project: Project, name: str) -> dict[str, Any]:
    try:
        content = json.loads(shipped.text(project, name))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Stop("settings-damaged", f"{name} is damaged: {_fix(name)}")
    return content


def _fix(name: str) -> str:
    """What mends the project's own file; the package's is whole."""
    return f"restore it with `git checkout {name}`, or remove it"


def holds(wanted: Any, found: Any) -> bool:
    """Whether all that is wanted is there; GitHub adds defaults, and has an order of its own."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and holds(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same = isinstance(found, list) and len(found) == len(wanted)
        return same and all(any(holds(one, other) for other in found) for one in wanted)
    return bool(wanted == found)


def _environment(run: Run, name: str, wanted: dict[str, Any]) -> None:
    """Its branches and reviewers are limited as far as the plan goes; what is there stays."""
    path = f"/environments/{name}"
    status, found = run.read(path)
    found = found if status == 200 else {}
    rules = {rule["type"]: rule for rule in found.get("protection_rules") or []}
    review, timer = rules.get("required_reviewers", {}), rules.get("wait_timer", {})
    reviewers = [(each["type"], each["reviewer"]["id"]) for each in review.get("reviewers") or []]
    there = {  # all of it, since a PUT takes away what it does not name
        "wait_timer": timer.get("wait_timer"),
        "prevent_self_review": review.get("prevent_self_review"),
        "reviewers": [{"type": kind, "id": number} for kind, number in reviewers],
        "deployment_branch_policy": found.get("deployment_branch_policy"),
    }
    there = {key: value for key, value in there.items() if value}
    plain = {"deployment_branch_policy": NAMED_BRANCHES} | there
    bodies = {f"environment {name}, from named branches only": plain, f"environment {name}": {}}
    if wanted.get("reviewed") and not reviewers:
        full = plain | {"reviewers": [{"type": "User", "id": run.me["id"]}]}
        bodies = {f"environment {name}, approved by {run.me['login']}": full} | bodies
    for what, body in bodies.items():
        if (found and body.keys() <= there.keys()) or run.write(what, "PUT", run.path + path, body):
            break
    if body.get("deployment_branch_policy") == NAMED_BRANCHES:
        path += "/deployment-branch-policies"
        answer = run.read(path)[1] or {}
        listed = {each["name"] for each in answer.get("branch_policies") or []}
        for branch in sorted({*wanted.get("branches", [])} - listed):
            what = f"environment {name} takes branch {branch}"
            run.write(what, "POST", run.path + path, {"name": branch})
