"""A change as data: what it would make of the base branch, file by file, by git alone.

Nothing of it is checked out. What the judge needs is on a list and written as text; whatever else
the change holds, from workflows to a ``conftest.py``, is never in the judge's folder.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any

from gatehouse.core import owned
from gatehouse.core.errors import CLOSED, INFRASTRUCTURE, Stop
from gatehouse.core.project import Project
from gatehouse.vcs.git import DEPTH, Differing, differing, git, have, run

FILES = 10 << 20  # bytes of one of them
PLAIN = ("100644", "100755")
GONE = "000000"
TAKEN = re.compile(
    r"(params|schema|gates|monitor|deploy|ml-canvas)\.yaml|tests/behaviour\.yaml"
    r"|data/[^/]+\.dvc|src/(?!(.*\.dvc|(.*/)?dvc\.(yaml|lock))$).+"
)
POINTER, OUT = {"outs", "md5", "desc", "meta"}, {"md5", "size", "hash", "path", "nfiles", "desc"}
DIGESTS = {"md5", "etag", "checksum", "size", "hash", "nfiles", "mtime"}
NAME = re.compile(r"[\w][\w .()+,-]*")


def merged(project: Project, head: str) -> str:
    """The tree that merging ``head`` into the commit checked out here would give.

    Raises ``Stop`` (3) where git has not the history for it, (1) where the two conflict.
    """
    depth = DEPTH
    while not git(project, "merge-base", "HEAD", head):
        if git(project, "rev-parse", "--is-shallow-repository") != "true\n" or depth > 10**6:
            raise Stop(
                "judge-no-base",
                f"{head[:9]} has no history in common with the base branch: rebase it",
                CLOSED,
            )
        depth *= 8
        git(project, "fetch", "--quiet", "--no-tags", f"--depth={depth}", "origin", "HEAD", head)
    done = run(project, "merge-tree", "--write-tree", "--messages", "HEAD", head)
    if done.returncode == 1:
        raise Stop("judge-conflict", "it conflicts with the base branch: merge that first", CLOSED)
    if done.returncode:
        raise Stop(
            "judge-git", "git cannot merge here (it wants 2.38 or later): update it", INFRASTRUCTURE
        )
    return done.stdout.partition("\n")[0]


def fetch(project: Project, head: str) -> None:
    """Bring the commit ``head``, from wherever the origin has it. Raises ``Stop`` (3)."""
    if not re.fullmatch(r"[0-9a-f]{40,64}", head):
        raise Stop("judge-no-commit", "the head is no commit: name it by its digits")
    if not have(project, head, f"--depth={DEPTH}"):
        raise Stop(
            "judge-no-commit", f"the origin has no commit {head[:9]}: run again", INFRASTRUCTURE
        )


def seen(project: Project, tree: str) -> Differing:
    """As ``vcs.git.changed``, between the commit checked out here and ``tree``."""
    words = ("diff-tree", "-r", "-z", "--raw", "-M", "HEAD", tree)

    def read(side: str) -> owned.Read:
        return lambda path: git(project, "show", f"{side}:{path}")

    return owned.by_git(git(project, *words) or ""), read("HEAD"), read(tree)


def take(project: Project, tree: str) -> list[str]:
    """Write what the judge reads of ``tree`` over the base's files; returns the paths left out.

    Raises ``Stop`` (1) for what is no ordinary small file, or a pointer that is more than one.
    """
    if (found := differing(project, "HEAD", tree)) is None:
        raise Stop("judge-git", "git cannot compare the change with the base", INFRASTRUCTURE)
    left = []
    for path, mode, blob in ((one.path, one.mode, one.blob) for one in found):
        if not TAKEN.fullmatch(path):
            left.append(path)
            continue
        file = project / path
        if mode == GONE:
            file.unlink(missing_ok=True)
            continue
        if mode not in PLAIN:
            raise Stop("judge-odd-file", f"{_said(path)} is a link or a repository", CLOSED)
        content = bytes_of(project, blob, FILES)
        if content is None:
            raise Stop(
                "judge-odd-file",
                f"{_said(path)} is over {FILES >> 20} MB: let DVC keep it",
                CLOSED,
            )
        if path.endswith(".dvc"):
            pointer(path, content, file.read_bytes() if file.is_file() else b"")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return left


def bytes_of(project: Project, blob: str, most: int) -> bytes | None:
    """What a blob of git holds; None for one of more than ``most`` bytes, or that is not here."""
    size = git(project, "cat-file", "-s", blob) or ""
    if not size.strip().isdigit() or int(size) > most:
        return None
    words = ["git", "cat-file", "blob", blob]
    return subprocess.run(words, capture_output=True, check=True, cwd=project.root).stdout


def pointer(path: str, content: bytes, before: bytes = b"") -> None:
    """Raises ``Stop`` (1) where a ``*.dvc`` file is more than digests of files beside it.

    DVC runs a command that stands in one, and fetches what one names anywhere. An import keeps the
    place that it had ``before``, in the base.
    """
    from gatehouse.core.strict_yaml import load  # late: what runs without an environment has none

    try:
        said = load(content.decode("utf-8"))
        outs, more = said["outs"], _beyond(said)
        good = bool(outs) and (not more or more == _beyond(load(before.decode("utf-8"))))
        good &= all(set(out) <= OUT and NAME.fullmatch(str(out["path"])) for out in outs)
    except Exception:  # what is wrong with YAML can raise anything
        good = False
    if not good:
        raise Stop(
            "judge-pointer", f"{_said(path)} is more than a pointer: make it with `dvc add`", CLOSED
        )


def _beyond(said: dict[str, Any]) -> dict[str, Any]:
    """What a pointer holds besides digests: nothing, or where an import came from."""
    more = {key: value for key, value in said.items() if key not in POINTER}
    if deps := more.pop("deps", None):
        more["deps"] = [{k: v for k, v in dep.items() if k not in DIGESTS} for dep in deps]
    return more


def _said(path: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in path[:200])
