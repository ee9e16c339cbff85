"""Which runs a cloud trusts: ``gatehouse github oidc trust`` prints it ready to paste.

Two roles: one reads, for any run of the repository; one writes, for the environment ``data`` alone,
which a job of ct.yml has on main, where no package of anybody's trains. ``allow()`` lets the jobs
ask for a token: what a workflow may is written down in its file, so it is there only with a bucket.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from gatehouse.core import shipped
from gatehouse.core.actions import unfit
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import address
from gatehouse.vcs.git import git

from .api import call
from .oidc import NEEDS, oidc

SINCE = "2026-07-15"  # repositories made, renamed or moved since then have ids in the subject
ORIGIN = re.compile(r"(?:\S*[/@])?github\.com[:/]([^/\s]+/[^/\s]+?)(?:\.git)?/?")


def step(project: Project, what: str = "token") -> int:
    """One of the words that ``gatehouse github oidc`` takes."""
    return {"token": oidc, "trust": trust, "allow": allow}[what](project)


def trust(project: Project) -> int:
    """Print what lets the cloud of the data remote trust this repository."""
    origin = (git(project, "config", "--get", "remote.origin.url") or "").strip()
    if not (linked := ORIGIN.fullmatch(origin)):
        raise Stop("origin-elsewhere", "origin is not on github.com: `gatehouse github setup`")
    status, about = call("GET", f"repos/{linked[1]}")
    if status != 200:
        raise Stop("github-refuses", f"GitHub shows you no {linked[1]}: see `gh auth status`")
    if not (text := script(project, about)):
        say("oidc: the data remote needs no token of a cloud")
    sys.stdout.write(text)
    return GOOD


def script(project: Project, about: dict[str, Any]) -> str:
    """The commands for the cloud of the data remote, "" where that is none."""
    kind, _, rest = address(project, shared=True).partition("://")
    if kind not in NEEDS:
        return ""
    words = {"SUBJECT": subject(about), "ID": str(about["id"]), "REPOSITORY": about["full_name"]}
    text = shipped.text(project, f"oidc/{kind}.sh")
    for name, value in (words | {"BUCKET": rest.partition("/")[0]}).items():
        text = text.replace(f"@{name}@", value)
    return text


def subject(about: dict[str, Any]) -> str:
    """What the subject of each token of this repository begins with, as GitHub itself says it."""
    name = str(about["full_name"])
    status, said = call("GET", f"repos/{name}/actions/oidc/customization/sub")
    said = said if status == 200 else {}
    if prefix := said.get("sub_claim_prefix"):
        return str(prefix)
    if not said.get("use_immutable_subject", str(about.get("created_at")) >= SINCE):
        return f"repo:{name}"
    owner, _, short = name.partition("/")
    return f"repo:{owner}@{about['owner']['id']}/{short}@{about['id']}"


def allow(project: Project) -> int:
    """Let the jobs that ask for a token of the cloud have one; without a bucket, none may."""
    for path, text in unfit(project, address(project, shared=True)).items():
        path.write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"{path.relative_to(project.root)}\n")
    return GOOD
