"""What git says, and the patience that whatever goes over a network needs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from gatehouse.core import owned
from gatehouse.core.console import say
from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.core.project import Project

DEPTH = 50  # commits in which the champion is looked for
MAIN = "main"  # what the ruleset protects
DEEPER = ("--deepen=200", "--deepen=2000", "--unshallow")
TRIES = 3
T = TypeVar("T")
Differing = tuple[list[owned.Change], owned.Read, owned.Read]  # what, both sides


def run(
    project: Project, *words: str, given: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A git command with these environment variables; its messages are in English."""
    # Whatever bytes a commit holds, they are no traceback.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "input": given}
    how["env"] = os.environ | {"LC_ALL": "C"} | variables
    return subprocess.run(
        ["git", *words], capture_output=True, check=False, cwd=project.root, **how
    )


def git(project: Project, *words: str) -> str | None:
    """Standard output of a git command; None where it fails."""
    done = run(project, *words)
    return done.stdout if done.returncode == 0 else None


def must(
    project: Project, deed: str, branch: str, *words: str, given: str | None = None, **index: str
) -> str:
    """Standard output of a git command; Stop (3), as ``failed`` tells it, where it fails."""
    done = run(project, *words, given=given, **index)
    if done.returncode:
        raise failed(deed, done, branch)
    return done.stdout


def push(project: Project, refs: str, branch: str) -> None:
    """Push to the origin, by nobody's hooks; Stop (3) where it is refused."""
    must(project, "pushed", branch, "push", "--quiet", "--no-verify", "origin", refs)


def commit(project: Project, name: str) -> str | None:
    """The commit (or tree) of this name; None where there is none."""
    return (git(project, "rev-parse", "--verify", "--quiet", name) or "").strip() or None


def have(project: Project, name: str, *how: str) -> bool:
    """Fetch a commit that is older than a shallow clone is deep; whether it is here then."""
    if commit(project, f"{name}^0") is None:
        git(project, "fetch", "--quiet", "--no-tags", *how, "origin", name)
    return commit(project, f"{name}^0") is not None


def somebody(project: Project, name: str) -> tuple[str, ...]:
    """Options by which git can commit where it knows nobody, as in CI; else none."""
    unknown = ("-c", f"user.name={name}", "-c", "user.email=noreply@example.invalid")
    return () if git(project, "var", "GIT_COMMITTER_IDENT") else unknown


def base_ref(project: Project) -> str:
    """The branch that a change is held against: BASE_REF, else the main branch; "" without one.

    A shallow clone of a change, as CI has it, lacks that branch: then it is fetched.
    """
    if said := os.environ.get("BASE_REF"):
        branch = said.removeprefix("origin/")
        if branch != said and commit(project, said) is None:
            there = f"+refs/heads/{branch}:refs/remotes/{said}"
            git(project, "fetch", "--quiet", "--no-tags", f"--depth={DEPTH}", "origin", there)
        return said
    usual = ("origin/HEAD", "origin/main", "main", "HEAD")
    return next((ref for ref in usual if commit(project, ref)), "")


def before(project: Project) -> str:
    """The commit that this change started from; of a commit of the base branch, its parent."""
    base = (git(project, "merge-base", "HEAD", base_ref(project) or "HEAD") or "").strip()
    if base == (commit(project, "HEAD") or ""):
        return commit(project, "HEAD^1") or ""
    return base


def on_main(project: Project, name: str) -> bool:
    """Whether a commit is one of main, the origin's where there is one.

    What is known here answers where it can; else main is fetched, and a shallow clone deepened,
    until it is decided. Raises Stop (3) where the origin cannot be asked.
    """
    far = has_origin(project)
    refs = (f"refs/remotes/origin/{MAIN}",) if far else (f"refs/heads/{MAIN}", "HEAD")

    def known() -> bool:
        ref = next((ref for ref in refs if commit(project, ref)), "")
        words = ("merge-base", "--is-ancestor", f"{name}^0", ref)
        return bool(ref) and git(project, *words) is not None

    if known() or not far:
        return known()
    first = [f"--depth={DEPTH}"] if _shallow(project) and not commit(project, refs[0]) else []
    patiently("history", partial(fetch_branch, project, MAIN, *first))
    for how in DEEPER:
        if known() or not _shallow(project):
            break
        patiently("history", partial(fetch_branch, project, MAIN, how))
    return known()


def _shallow(project: Project) -> bool:
    return (git(project, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def differing(project: Project, old: str, new: str) -> list[owned.Change] | None:
    """Every path that differs between two commits or trees, a moved one by both names.

    None where git cannot say.
    """
    # Plumbing, so that nobody's settings count: no renames, and .gitmodules cannot hide a module.
    how = ("-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none", "--end-of-options")
    said = git(project, "diff-tree", *how, old, new)
    return None if said is None else owned.by_git(said)


def changed(project: Project) -> Differing:
    """What differs here from where this change started, and the text of a file there and here."""
    # On a laptop, what main has is no change of this one.
    base = git(project, "merge-base", "HEAD", base_ref(project) or "HEAD") or ""
    start = before(project) if os.environ.get("BASE_REF") else base.strip()
    words = ("diff", "--raw", "-z", "-M", "--relative", start, "--")

    def there(path: str) -> str | None:
        return git(project, "show", f"{start}:./{path}")

    def here(path: str) -> str | None:
        try:
            return (project / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    return owned.by_git(git(project, *words) or "" if start else ""), there, here


def has_origin(project: Project) -> bool:
    """Whether git has a remote to push to."""
    return git(project, "remote", "get-url", "origin") is not None


def fetch_branch(project: Project, branch: str, *how: str) -> None:
    """Bring ``origin/BRANCH`` up to date; where the origin has none, there is none here either."""
    if not has_origin(project):
        return
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *how, "origin")
    there = f"refs/remotes/origin/{branch}"
    done = run(project, *words, f"+refs/heads/{branch}:{there}")
    if "couldn't find remote ref" in done.stderr:
        git(project, "update-ref", "-d", there)
    elif done.returncode:
        raise failed("fetched", done, branch)


def failed(deed: str, done: subprocess.CompletedProcess[str], branch: str) -> Stop:
    """Why git could not, as the error of the infrastructure that it is."""
    said = [line for line in done.stderr.splitlines() if line.strip() and line[:5] != "hint:"]
    why = next((line for line in said if "rejected]" in line), (said or ["no message"])[-1])
    return Stop(
        "push-refused", f"{branch} could not be {deed} ({' '.join(why.split())})", INFRASTRUCTURE
    )


def patiently(verb: str, step: Callable[[], T]) -> T:
    """Run ``step``; where the infrastructure fails it, try again, ``TRIES`` times in all."""
    pause = float(os.environ.get("RETRY_SECONDS", "1"))
    for left in reversed(range(TRIES)):
        try:
            return step()
        except Stop as stop:
            if stop.exit_code != INFRASTRUCTURE:
                raise
            if not left:
                text = f"{stop}, {TRIES} tries failed: see that the remote can be reached"
                raise Stop("git-failed", text, INFRASTRUCTURE) from None
            say(f"{verb}: {stop}, trying again in {pause:g} s")
        time.sleep(pause)
        pause *= 3
    raise AssertionError
