"""``gatehouse github setup``: this repository on GitHub, with the settings that its gates rely on.

Adopts the repository of ``origin`` or of this name, or creates it; pushes what is not there; brings
about what the shipped files ``github/*.json`` ask for; says what a person must do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from gatehouse.core import environments
from gatehouse.core.actions import unfit
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import address
from gatehouse.vcs.git import git

from .api import person
from .settings import Run, apply, read_wanted
from .trust import ORIGIN, script

OWNERS = Path(".github/CODEOWNERS")
SCOPES = {"repo", "workflow"}
FINE_GRAINED = (
    "this token names no scopes, being no classic one: it needs Administration, Actions, Contents, "
    "Environments, Variables and Workflows, each to read and write"
)
NEXT = """\
next    CI runs on main, and has to be green once: https://github.com/{name}/actions
next    a change: git switch -c NAME, commit, make push, gh pr create; the verdict is a comment
next    alone: nobody approves her own; once `pass` is green, `gh pr merge --squash --admin`, which
        passes a red one, too, and is written down
"""


def setup(
    project: Project,
    *,
    dry_run: bool = False,
    repository: str | None = None,
    private: bool | None = None,
) -> int:
    """Read the settings, then do one thing after the other; running again goes on.

    ``repository`` is OWNER/NAME, else origin, else your own. Raises ``Stop``: 2 where repository or
    settings cannot be used, 3 where GitHub cannot be asked.
    """
    wanted = read_wanted(project)
    committed(project)
    run = Run(dry_run, ready())
    name, new = find(project, run, repository, private)
    push(project, run, name, new)
    apply(project, run, wanted)
    owners(project, run)
    cloud = clouds(project, run)
    lines = [f"{'refused':<7} {line}\n" for line in run.refused]
    lines += [f"{'to do':<7} {line}\n" for line in run.todo]
    lines.append(NEXT.format(name=run.path.removeprefix("repos/")))
    total = f"{run.changes} changes{' to make' if run.dry else ''}" if run.changes else "no change"
    sys.stdout.write("".join([cloud, *lines, f"{total}\n"]))
    return GOOD


def committed(project: Project) -> None:
    """What the first push must hold: without it CI would judge other data, or train anew."""
    if git(project, "rev-parse", "--verify", "--quiet", "refs/remotes/origin/main"):
        return
    said = git(project, "status", "--porcelain", "--", "schema.yaml", "dvc.lock", "*.dvc") or ""
    if names := ", ".join(line[3:] for line in said.splitlines()):
        fix = 'git add . && git commit -m "First model"'
        raise Stop("not-committed", f"{names} is not committed, so CI would not have it: `{fix}`")


def ready() -> Any:
    """Who is logged in, with a token that may do all of it: asked before anything is made."""
    me, scopes = person()
    if scopes is None:
        sys.stdout.write(f"{'note':<7} {FINE_GRAINED}\n")
    elif lacks := sorted(SCOPES - scopes):
        raise Stop(
            "gh-scopes",
            f"gh's token lacks the scope {' and '.join(lacks)}, without which GitHub takes no "
            f"{'workflow' if lacks == ['workflow'] else 'repository'}: run `gh auth refresh "
            "--hostname github.com --scopes repo,workflow`, or give GH_TOKEN another token",
        )
    return me


def clouds(project: Project, run: Run) -> str:
    """What the cloud of the data remote must be told, and the workflows that may not ask it."""
    if names := ", ".join(path.name for path in unfit(project, address(project, shared=True))):
        fix = "`./gatehouse github oidc allow`, commit"
        run.todo.append(f"{names}: id-token does not fit the data remote: {fix}")
    if not (about := run.read("")[1]) or not (text := script(project, about)):
        return ""
    if (run.read("/environments/data/variables")[1] or {}).get("total_count"):
        return ""
    run.todo.append("the data remote's cloud does not trust this repository: run what is above")
    return text


def find(project: Project, run: Run, asked: str | None, private: bool | None) -> tuple[str, bool]:
    """Find or create it; its full name, and whether it is new to this clone."""
    origin = (git(project, "config", "--get", "remote.origin.url") or "").strip()
    linked = ORIGIN.fullmatch(origin)
    if origin and not linked:
        raise Stop(
            "origin-elsewhere",
            "origin is not on github.com: `git remote rename origin other`, run again",
        )
    name = asked or (linked[1] if linked else project.name)
    name = name if "/" in name else f"{run.me['login']}/{name}"
    if linked and linked[1].lower() != name.lower():
        raise Stop(
            "origin-differs",
            f"origin is {linked[1]}, not {name}: leave REPOSITORY out, or rename origin",
        )
    run.path = f"repos/{name}"
    status, found = run.read("")
    if status == 404:
        owner, _, short = name.partition("/")
        mine = owner.lower() == run.me["login"].lower()
        what = f"repository {name}, {'public' if private is False else 'private'}"
        body = {"name": short, "private": private is not False}
        if not run.write(what, "POST", "user/repos" if mine else f"orgs/{owner}/repos", body):
            raise Stop(
                "github-refuses", f"GitHub refuses {run.refused.pop()}: give REPOSITORY=OWNER/NAME"
            )
        run.exists, run.public = not run.dry, private is False
        return name, not linked
    if status != 200 or not found.get("permissions", {}).get("admin"):
        raise Stop(
            "no-administrator",
            f"you are no administrator of {name}: ask its owner, or give REPOSITORY",
        )
    name, run.public = found["full_name"], not found["private"]
    run.path = f"repos/{name}"
    if private is run.public:
        run.todo.append(f"{name} stays as visible as it is: `gh repo edit --visibility` changes it")
    return name, not linked


def push(project: Project, run: Run, name: str, new: bool) -> None:
    """Add origin; push the data, then main, so that the first run of CI finds both."""
    ours = (git(project, "rev-parse", "--verify", "--quiet", "main^{commit}") or "").strip()
    if not ours:
        raise Stop("no-commit", "branch main has no commit: `git add . && git commit`, run again")
    url = f"https://github.com/{name}.git"
    where = url if new else "origin"
    theirs = remote("ls-remote", where, "refs/heads/main").partition("\t")[0] if run.exists else ""
    if theirs and git(project, "merge-base", theirs, ours) is None:
        if new:
            raise Stop(
                "repository-taken", f"{name} holds another project: give REPOSITORY=OWNER/NAME"
            )
        run.todo.append("GitHub's main has commits that are not here: `git pull`")
    elif theirs and git(project, "merge-base", "--is-ancestor", ours, theirs) is None:
        run.todo.append("main has commits that GitHub has not: push a branch, open a pull request")
    if new:
        if not run.dry:
            remote("remote", "add", "origin", url)
        run.done(f"origin is {url}")
    if theirs:
        return
    program = environments.python("train").with_name("gatehouse")
    if not program.exists():
        run.todo.append("CI has no data to work on: `make setup`, then `gatehouse push`")
    elif run.dry or subprocess.call([program, "push"], env=environment()) == 0:
        run.done("the data are pushed")
    else:
        run.todo.append("CI has no data to work on, for the reason above: `gatehouse push`")
    if not run.dry:
        remote("push", "--quiet", "--set-upstream", "origin", "main")
    run.done("main is pushed")


def environment() -> dict[str, str]:
    """In which git logs in through gh, and asks nobody."""
    number = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    return os.environ | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(number + 1),
        f"GIT_CONFIG_KEY_{number}": "credential.https://github.com.helper",
        f"GIT_CONFIG_VALUE_{number}": "!gh auth git-credential",
    }


def remote(*words: str) -> str:
    """Output of a git command that speaks to GitHub; git itself says why it fails."""
    done = subprocess.run(
        ["git", *words], env=environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        fix = "mend what git says above, run again"
        raise Stop(
            "github-unreachable", f"`git {words[0]}` cannot reach GitHub: {fix}", INFRASTRUCTURE
        )
    return done.stdout.strip()


def owners(project: Project, run: Run) -> None:
    """Say who still has to be named in CODEOWNERS, and what GitHub cannot read there."""
    text = (project / OWNERS).read_text("utf-8") if (project / OWNERS).exists() else ""
    if not re.search(r"^[^#\s]+\s+\S*@", text, re.MULTILINE):
        run.todo.append(f"{OWNERS} names nobody, so anyone may loosen the gates: fill it in")
    for error in (run.read("/codeowners/errors?ref=main")[1] or {}).get("errors") or []:
        run.todo.append(f"{OWNERS}, line {error.get('line')}: {error.get('kind')}")
