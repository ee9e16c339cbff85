"""What git says."""

import os
import subprocess
from typing import Any

DEPTH = 50  # commits in which the champion is looked for


def run(
    *words: str, given: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A git command with these environment variables; its messages are in English."""
    # Whatever bytes a commit holds, they are no traceback.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "input": given}
    how["env"] = os.environ | {"LC_ALL": "C"} | variables
    return subprocess.run(["git", *words], capture_output=True, check=False, **how)


def git(*words: str) -> str | None:
    """Standard output of a git command; None where it fails."""
    done = run(*words)
    return done.stdout if done.returncode == 0 else None


def commit(name: str) -> str | None:
    """The commit (or tree) of this name; None where there is none."""
    return (git("rev-parse", "--verify", "--quiet", name) or "").strip() or None


def have(name: str) -> None:
    """Fetch a commit that is older than a shallow clone is deep."""
    if commit(f"{name}^0") is None:
        git("fetch", "--quiet", "--no-tags", "origin", name)


def somebody(name: str) -> tuple[str, ...]:
    """Options by which git can commit where it knows nobody, as in CI; else none."""
    unknown = ("-c", f"user.name={name}", "-c", "user.email=noreply@example.invalid")
    return () if git("var", "GIT_COMMITTER_IDENT") else unknown


def base_ref() -> str:
    """The branch that a change is held against: BASE_REF, else the main branch; "" without one.

    A shallow clone of a change, as CI has it, lacks that branch: then it is fetched.
    """
    if said := os.environ.get("BASE_REF"):
        branch = said.removeprefix("origin/")
        if branch != said and git("rev-parse", "--verify", "--quiet", said) is None:
            there = f"+refs/heads/{branch}:refs/remotes/{said}"
            git("fetch", "--quiet", "--no-tags", f"--depth={DEPTH}", "origin", there)
        return said
    usual = ("origin/HEAD", "origin/main", "main", "HEAD")
    known = (ref for ref in usual if git("rev-parse", "--verify", "--quiet", ref))
    return next(known, "")


def before() -> str:
    """The commit that this change started from; of a commit of the base branch, its parent."""
    here, base = git("rev-parse", "HEAD"), git("merge-base", "HEAD", base_ref() or "HEAD")
    if base == here:
        base = git("rev-parse", "--verify", "--quiet", "HEAD^1")
    return (base or "").strip()
