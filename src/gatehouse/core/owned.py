"""What of a project is released to everybody; all else steers or judges, and is its owner's.

One list, for ``.github/CODEOWNERS`` (a test holds the two against each other), the report of a
change and the doctor. GitHub's rules: the last pattern that matches decides, and what a folder
matches holds for all below it. Standard library alone, on any Python from 3.9 on.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, Optional

from .environments import FOLDERS, LIBRARY, LOCKS, blocks

CODEOWNERS = ".github/CODEOWNERS"
# Pattern, and whether the owner must agree: closed by default, then what is released, then what
# some tool or other reads by its mere name, in whatever folder it lies.
RULES = (
    ("*", True),
    *((released, False) for released in ("/src/", "/docs/", "*.md", "/params.yaml", "/dvc.lock")),
    ("/tests/test_*.py", False),
    ("*.dvc", True),
    ("/data/**/*.dvc", False),
    (".*", True),  # git, DVC, Python's starters, ruff, pre-commit, a shell's .env
    *((name, True) for name in ("conftest.py", "dvc.yaml", "CODEOWNERS", "*akefile", "*.mk")),
    *((name, True) for name in ("*.toml", "*.ini", "*.cfg", "*.pth", "*customize.py")),
    # What Python takes in place of the source that was read, or loads unasked.
    *((name, True) for name in ("*.so", "*.pyd", "*.pyc", "*.dist-info/", "*.egg-info/")),
)
# Of each kind one: a CODEOWNERS that leaves one of them to everybody is open.
WITNESSES = (
    *("gates.yaml", "schema.yaml", "dvc.yaml", "deploy.yaml", "monitor.yaml", "ml-canvas.yaml"),
    *(".github/workflows/ci.yml", CODEOWNERS, "requirements/train.txt", "vendor/library.whl"),
    *("gatehouse", "Makefile", "GNUmakefile", "pyproject.toml", "uv.toml", "tests/conftest.py"),
    *("conftest.py", "json.py", "sitecustomize.py", ".dvc/config", ".gitattributes"),
    *("tests/behaviour.yaml", "src/conftest.py", "docs/dvc.yaml", "docs/pointer.dvc"),
)
KINDS = {"120000": "a link", "160000": "a submodule", "100755": "a program"}
SHOWN, WIDTH = 20, 70  # names told one by one, and how much of each
READ = 20  # files of tests

Read = Callable[[str], Optional[str]]  # noqa: UP045  Python 3.9 runs this


class Change(NamedTuple):
    """A file that a change touches: its name, that before where it moved, what happened to it.

    ``status``: added, modified, removed, renamed, or what else GitHub or git say. Where git says
    it: the modes before and after, and the blob that it has then.
    """

    path: str
    old: str = ""
    status: str = "modified"
    was: str = ""
    mode: str = ""
    blob: str = ""

    @property
    def names(self) -> list[str]:
        """Both names of what moved."""
        return [name for name in (self.path, self.old) if name]


def owned(path: str) -> bool:
    """Whether the owner must agree to a change of this file."""
    return next(own for pattern, own in reversed(RULES) if matches(pattern, path))


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of CODEOWNERS is about this file."""
    return bool(_expression(pattern).fullmatch(path))


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    inner = pattern.strip("/")
    marks = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", inner)
    text = "".join(marks.get(part) or re.escape(part) for part in parts)
    anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    below = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    return re.compile(anywhere + text + below, re.DOTALL)


def rules(text: str) -> list[tuple[str, list[str]]]:
    """The patterns of a CODEOWNERS, and whom each of them names."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [(words[0], [word for word in words[1:] if "@" in word]) for words in lines if words]


def unguarded(text: str) -> list[str]:
    """The ``WITNESSES`` that a CODEOWNERS leaves to everybody; all where it names nobody."""
    said = rules(text)[::-1]
    whose = ((name, (w for p, w in said if matches(p, name))) for name in WITNESSES)
    return [name for name, owners in whose if not next(owners, None)]


def by_git(said: str) -> list[Change]:
    """The changes that ``git diff --raw -z`` and ``git diff-tree -r --raw -z`` tell."""
    words, found = iter(said.split("\0")), []
    for about in words:
        if not about:
            continue
        was, mode, _, blob, kind = about.lstrip(":").split()
        kind, first = kind[0], next(words)
        old, path = (first, next(words)) if kind in "RC" else ("", first)
        status = {"A": "added", "D": "removed", "R": "renamed", "C": "copied"}.get(kind, "modified")
        found.append(Change(path, old if kind == "R" else "", status, was, mode, blob))
    return found


def by_github(files: Iterable[dict[str, Any]]) -> list[Change]:
    """The changes that GitHub lists for a pull request."""
    return [
        Change(f["filename"], f.get("previous_filename") or "", f.get("status") or "modified")
        for f in files
    ]


def told(
    changes: Sequence[Change], before: Read, after: Read, loosened: Sequence[str] = ()
) -> list[str]:
    """A line for each kind of change of what judges; none where there is no such change.

    ``before`` and ``after`` give the text of a file on both sides, None where it is not there or
    cannot be read. ``loosened``: what ``gates.thresholds`` says. The names in a line are whatever
    somebody called her files: show them where nothing acts on them.
    """
    lines = pins(changes, before, after)
    if lines and not all(owned(name) for change in changes for name in change.names):
        lines.append("a pin is better changed alone: then two judges speak of the same model")
    lines += loosened
    if gone := _tests_gone(changes, before, after):
        lines.append(f"tests are gone or skipped: {_some(gone)}")
    # What was there before comes first: many new files hide no other.
    old = sorted(changes, key=lambda change: change.status == "added")
    if names := [name for c in old for name in c.names if owned(name)]:
        lines.append(f"of the owner: {_some(dict.fromkeys(names))}")
    moved = [c for c in changes if _left(c) and not owned(c.old or c.path)]
    if away := [f"{c.old or c.path}{f' (now {c.path})' if c.old else ''}" for c in moved]:
        lines.append(f"no longer in its place: {_some(away)}")
    odd = [f"{c.path} ({KINDS[c.mode]})" for c in changes if c.mode in KINDS and c.mode != c.was]
    if odd:
        lines.append(f"no ordinary file: {_some(odd)}")
    return lines


def _left(change: Change) -> bool:
    """Whether a file that is wanted where it was is there no longer: parameters, lock, pointer."""
    was = change.old or (change.path if change.status == "removed" else "")
    return was in ("params.yaml", "dvc.lock") or was.endswith(".dvc")


def pins(changes: Sequence[Change], before: Read, after: Read) -> list[str]:
    """What becomes of the line of the library in each lock; none where it stays."""
    touched = {name for change in changes for name in change.names}
    found: dict[str, list[str]] = {}
    for lock in (f"{LOCKS.name}/{name}.txt" for name in FOLDERS):
        if lock in touched:
            was, now = (_pin(read(lock) or "") for read in (before, after))
            if was != now:
                found.setdefault(_pinned(was, now), []).append(lock)
    return [f"the pin of {LIBRARY}, {said} in {', '.join(lk)}" for said, lk in found.items()]


def _pin(lock: str) -> tuple[str, str]:
    """Version and digests of the library in a lock."""
    line = blocks(lock).get(LIBRARY, "")
    version = re.search(r"==\s*([^\s;\\]+)", line)
    return version[1] if version else "", " ".join(sorted(re.findall(r"sha256:\w{12}", line)))


def _pinned(was: tuple[str, str], now: tuple[str, str]) -> str:
    if was[0] != now[0]:
        return f"{was[0] or 'none'}, is now {now[0] or 'gone'}"
    return f"{was[0]}, is another wheel, {was[1] or 'no digest'} is now {now[1] or 'no digest'},"


def _tests_gone(changes: Sequence[Change], before: Read, after: Read) -> list[str]:
    """Tests that no changed file holds any longer."""
    files = [c for c in changes if any(_of_tests(name) for name in c.names)]
    was: Counter[str] = Counter()
    now: Counter[str] = Counter()
    for change in files[:READ]:
        was.update(_tests(before(change.old or change.path)))
        now.update(_tests(after(change.path)))
    more = [f"{len(files) - READ:,} files more were not read"] if files[READ:] else []
    return [*sorted((was - now).elements()), *more]


def _of_tests(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".py") and (name.startswith("test") or name.endswith("_test.py"))


def _tests(text: str | None) -> list[str]:
    """The tests of a module that run; none of one that Python cannot read."""
    try:
        body: list[ast.stmt] = ast.parse(text or "").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    body += [node for kind in body if isinstance(kind, ast.ClassDef) for node in kind.body]
    marks = (n for n in body if isinstance(n, (ast.Assign, ast.Expr)))
    if any(_skips(n.value) for n in marks if "pytest" in ast.unparse(n)[:10]):
        return []  # pytestmark = …, or pytest.skip(…)
    functions = (n for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    tests = (n for n in functions if n.name.startswith("test"))
    return [n.name for n in tests if not any(map(_skips, n.decorator_list))]


def _skips(node: ast.expr) -> bool:
    names = (getattr(n, "attr", getattr(n, "id", "")) for n in ast.walk(node))
    return any(name.startswith(("skip", "xfail")) for name in names)


def _some(names: Iterable[str]) -> str:
    first = [name if len(name) <= WIDTH else f"{name[:20]}…{name[21 - WIDTH :]}" for name in names]
    more = f" and {len(first) - SHOWN:,} more" if first[SHOWN:] else ""
    return ", ".join(first[:SHOWN]) + more
