"""What a change can touch: ``gatehouse github changes``, the first job of ci.yml.

Standard library alone. The jobs that must run are written to the output ``wanted``.
"""

from __future__ import annotations

import json
import os
import re

from gatehouse.core.project import Project
from gatehouse.vcs.git import git

from .keys import output

ALL = ("code", "data", "model", "service")
PROSE = re.compile(r"docs/.*|LICENSE|[^/]*\.md")


def changes(project: Project) -> int:
    """Say which jobs this run wants; what is no pull request wants all of them."""
    output("wanted", json.dumps(wanted(_changed(project))))
    return 0


def wanted(files: list[str] | None) -> list[str]:
    """The jobs that a change of these files wants; all where they are not known."""
    if files is None or not all(PROSE.fullmatch(name) for name in files):
        return [*ALL]
    return ["code"]


def _changed(project: Project) -> list[str] | None:
    """What differs from the branch it goes to; a file that moved is both its names."""
    if os.environ.get("GITHUB_EVENT_NAME") != "pull_request":
        return None
    said = git(project, "diff", "--name-only", "--no-renames", "-z", "HEAD^1", "HEAD")
    return None if said is None else [name for name in said.split("\0") if name]
