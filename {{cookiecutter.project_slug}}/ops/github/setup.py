"""``make github``: this repository on GitHub, with the settings that its gates rely on.

Adopts the repository of ``origin`` or of this name, or creates it; pushes what is not there; brings
about what .github/settings.json and .github/ruleset*.json ask for; says what a person must do.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from ..console import GOOD, INFRASTRUCTURE, Stop, stop_with
from ..git import git
from .api import call
from .settings import Run, apply, read_wanted

ORIGIN = re.compile(r"(?:\S*[/@])?github\.com[:/]([^/\s]+/[^/\s]+?)(?:\.git)?/?")
OWNERS = Path(".github/CODEOWNERS")


def main() -> int:
    """Read the settings, then do one thing after the other; running again goes on."""
    parser = argparse.ArgumentParser(prog="python3 -m ops.github.setup", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only read, say what would be done")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="else origin, else your own")
    visible = parser.add_mutually_exclusive_group()
    visible.add_argument("--public", action="store_const", dest="private", const=False)
    visible.add_argument("--private", action="store_const", dest="private", const=True)
    options = parser.parse_args()
    try:
        wanted = read_wanted()
        status, me = call("GET", "user")
        if status != 200:
            raise Stop("gh is logged in with a token of no person: run `gh auth login`")
        run = Run(options.dry_run, me)
        push(run, *repository(run, options.repository, options.private))
        apply(run, wanted)
        owners(run)
    except Stop as stop:
        stop_with(stop, "github")
    lines = [f"{'refused':<7} {line}\n" for line in run.refused]
    lines += [f"{'to do':<7} {line}\n" for line in run.todo]
    total = f"{run.changes} changes{' to make' if run.dry else ''}" if run.changes else "no change"
    sys.stdout.write("".join([*lines, f"{total}\n"]))
    return GOOD


def repository(run: Run, asked: str | None, private: bool | None) -> tuple[str, bool]:
    """Find or create it; its full name, and whether it is new to this clone."""
    origin = (git("config", "--get", "remote.origin.url") or "").strip()
    linked = ORIGIN.fullmatch(origin)
    if origin and not linked:
        raise Stop("origin is not on github.com: `git remote rename origin other`, run again")
    own = re.search(r'^name = "(.+)"', Path("pyproject.toml").read_text("utf-8"), re.MULTILINE)
    name = asked or (linked[1] if linked else own[1] if own else Path.cwd().name)
    name = name if "/" in name else f"{run.me['login']}/{name}"
    if linked and linked[1].lower() != name.lower():
        raise Stop(f"origin is {linked[1]}, not {name}: leave REPOSITORY out, or rename origin")
    run.path = f"repos/{name}"
    status, found = run.read("")
    if status == 404:
        owner, _, short = name.partition("/")
        mine = owner.lower() == run.me["login"].lower()
        what = f"repository {name}, {'public' if private is False else 'private'}"
        body = {"name": short, "private": private is not False}
        if not run.write(what, "POST", "user/repos" if mine else f"orgs/{owner}/repos", body):
            raise Stop(f"GitHub refuses {run.refused.pop()}: give REPOSITORY=OWNER/NAME")
        run.exists, run.public = not run.dry, private is False
        return name, not linked
    if status != 200 or not found.get("permissions", {}).get("admin"):
        raise Stop(f"you are no administrator of {name}: ask its owner, or give REPOSITORY")
    name, run.public = found["full_name"], not found["private"]
    run.path = f"repos/{name}"
    if private is run.public:
        run.todo.append(f"{name} stays as visible as it is: `gh repo edit --visibility` changes it")
    return name, not linked


def push(run: Run, name: str, new: bool) -> None:
    """Add origin; push the data, then main, so that the first run of CI finds both."""
    ours = (git("rev-parse", "--verify", "--quiet", "main^{commit}") or "").strip()
    if not ours:
        raise Stop("branch main has no commit: `git add . && git commit`, run again")
    url = f"https://github.com/{name}.git"
    where = url if new else "origin"
    theirs = remote("ls-remote", where, "refs/heads/main").partition("\t")[0] if run.exists else ""
    if theirs and git("merge-base", theirs, ours) is None:
        if new:
            raise Stop(f"{name} holds another project: give REPOSITORY=OWNER/NAME")
        run.todo.append("GitHub's main has commits that are not here: `git pull`")
    elif theirs and git("merge-base", "--is-ancestor", ours, theirs) is None:
        run.todo.append("main has commits that GitHub has not: push a branch, open a pull request")
    if new:
        if not run.dry:
            remote("remote", "add", "origin", url)
        run.done(f"origin is {url}")
    if theirs:
        return
    python = Path(".venv/bin/python")
    command = [str(python), "-m", "ops", "push"]
    if not python.exists():
        run.todo.append("CI has no data to work on: `make setup push`")
    elif run.dry or subprocess.run(command, env=environment(), check=False).returncode == 0:
        run.done("the data are pushed")
    else:
        run.todo.append("CI has no data to work on, for the reason above: `make push`")
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
        raise Stop(f"`git {words[0]}` cannot reach GitHub: {fix}", INFRASTRUCTURE)
    return done.stdout.strip()


def owners(run: Run) -> None:
    """Say who still has to be named in CODEOWNERS, and what GitHub cannot read there."""
    text = OWNERS.read_text("utf-8") if OWNERS.exists() else ""
    if not re.search(r"^[^#\s]+\s+\S*@", text, re.MULTILINE):
        run.todo.append(f"{OWNERS} names nobody, so anyone may loosen the gates: fill it in")
    for error in (run.read("/codeowners/errors?ref=main")[1] or {}).get("errors") or []:
        run.todo.append(f"{OWNERS}, line {error.get('line')}: {error.get('kind')}")


if __name__ == "__main__":
    raise SystemExit(main())
