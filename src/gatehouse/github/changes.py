"""What a change can touch: ``gatehouse github changes``, the first step of ci.yml.

Standard library alone. What must run is written to the output ``part``: a ``candidate``, or the
``code`` alone where every path that differs surely is prose. That is a plain file of a plain name,
before and after, which nothing that is judged names. What cannot be known counts as everything.
"""

from __future__ import annotations

import os
import re

from gatehouse.core.owned import Change
from gatehouse.core.project import Project
from gatehouse.vcs.git import commit, differing, run

from .keys import output

PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_. -]*"
DOCS = rf"docs/(?:{PLAIN}/)*"
PROSE = re.compile(rf"LICENSE|(?:{DOCS})?{PLAIN}\.md|{DOCS}{PLAIN}\.(?:gif|jpg|png|svg|webp)")
MODES = {"000000", "100644"}  # absent, or a plain file: no link, no submodule, no program
JUDGED = ("params.yaml", "dvc.yaml", "dvc.lock", "*.dvc", "src", "tests")


def changes(project: Project) -> int:
    """Say which part of CI this run wants; what is no pull request wants a candidate."""
    output("part", "code" if all_prose(project, _of_pull_request(project)) else "candidate")
    return 0


def all_prose(project: Project, paths: list[Change] | None) -> bool:
    """Whether a change of these paths surely is words alone; not where none is known."""
    return bool(paths) and all(prose(project, path) for path in paths or [])


def prose(project: Project, change: Change) -> bool:
    """Whether a path surely is words alone, and no input of what is judged."""
    if not {change.was, change.mode} <= MODES or not PROSE.fullmatch(change.path):
        return False
    words = ("grep", "--quiet", "--fixed-strings", "-e", change.path, "HEAD", "--", *JUDGED)
    return run(project, *words).returncode == 1  # another code is no answer


def _of_pull_request(project: Project) -> list[Change] | None:
    """What a pull request changes: its merge commit against the branch it goes to."""
    merged = commit(project, "HEAD^2") and not commit(project, "HEAD^3")
    if os.environ.get("GITHUB_EVENT_NAME") != "pull_request" or not merged:
        return None
    return differing(project, "HEAD^1", "HEAD")
