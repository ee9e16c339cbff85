"""Files on a branch of their own, which no work tree ever shows: releases, passes of the monitor.

A change is a commit made without work tree and index, and a push that the origin refuses when
somebody else was first; without an origin the branch is here, and git compares the same. So a
command that is killed leaves the old files or the new ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gatehouse.core.console import say
from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.core.project import Project

from .git import commit, failed, fetch_branch, git, has_origin, must, patiently, run, somebody

TRIES = 5


@dataclass(frozen=True)
class Draft:
    """What a change writes: file name -> its whole text, and the commit's message."""

    files: Mapping[str, str]
    message: str


@dataclass(frozen=True)
class Branch:
    """A branch of a project by its name; ``verb`` begins what is said of it."""

    project: Project
    name: str
    verb: str

    @property
    def here(self) -> str:
        """The branch in this repository, and on the origin."""
        return f"refs/heads/{self.name}"

    @property
    def there(self) -> str:
        """The origin's branch as this repository knows it."""
        return f"refs/remotes/origin/{self.name}"

    def tip(self, *, fetch: bool = True) -> str:
        """Its commit, "" without one: the origin's, and this repository's where it has none.

        Raises Stop (3) where the origin cannot be asked; ``fetch=False`` does not ask.
        """
        if fetch:
            patiently(self.verb, partial(fetch_branch, self.project, self.name))
        return (
            (has_origin(self.project) and commit(self.project, self.there))
            or commit(self.project, self.here)
            or ""
        )

    def log(self, top: str, *words: str) -> list[str]:
        """Commits up to ``top``, newest first, as ``git rev-list`` with ``words`` gives them."""
        # Not `log`, which somebody's settings make follow renames: one file may begin as a copy.
        listed = git(self.project, "rev-list", top, *words) if top else ""
        if listed is None:
            fix = f"run `git fetch origin {self.name}`"
            raise Stop("branch-unreadable", f"git cannot read branch {self.name}: {fix}")
        return listed.split()

    def text(self, made: str, file: str) -> str | None:
        """The text of a file as of commit ``made``; None where it is not there."""
        return git(self.project, "cat-file", "blob", f"{made}:{file}")

    def change(self, draft: Callable[[str], Draft | None]) -> str:
        """Commit what ``draft`` says, given the newest commit, and push it; the commit made.

        Where somebody else was first, ``draft`` is asked again. None writes nothing, which is "".
        """
        for _ in range(TRIES):
            top = self.tip()
            wanted = draft(top)
            if wanted is None:
                return ""
            made = self.commit(wanted, top)
            if patiently(self.verb, partial(self.push, made, top)):
                return made
            say(f"{self.verb}: somebody else was first, so look again")
        again = f"{self.name} changed {TRIES} times meanwhile: run the same again"
        raise Stop("branch-moved", again, INFRASTRUCTURE)

    def commit(self, draft: Draft, top: str) -> str:
        """A commit of ``draft`` on top of ``top``, which nothing points to yet."""
        do = partial(must, self.project, "written", self.name)
        lines = do("ls-tree", "--full-tree", top).splitlines(keepends=True) if top else []
        for name, content in draft.files.items():
            blob = do("hash-object", "-w", "--stdin", given=content).strip()
            lines = [line for line in lines if not line.endswith(f"\t{name}\n")]
            lines.append(f"100644 blob {blob}\t{name}\n")
        tree = do("mktree", given="".join(lines)).strip()
        words = ("commit-tree", tree, *(("-p", top) if top else ()), "-m", draft.message)
        return do(*somebody(self.project, "Gatehouse"), *words).strip()

    def push(self, made: str, top: str) -> bool:
        """Move the branch from ``top`` to ``made``; False where it is somewhere else by now."""
        if has_origin(self.project):
            done = run(
                self.project, "push", "--quiet", "--no-verify", "origin", f"{made}:{self.here}"
            )
        else:
            done = run(self.project, "update-ref", self.here, made, top or "0" * len(made))
        if done.returncode:
            fetch_branch(self.project, self.name)
            now = self.tip(fetch=False)
            if now == top:
                raise failed("pushed", done, self.name)
            # The origin may have taken it, and only its answer was lost.
            return (
                bool(now)
                and git(self.project, "merge-base", "--is-ancestor", made, now) is not None
            )
        if has_origin(self.project):
            git(self.project, "update-ref", self.there, made)
        return True
