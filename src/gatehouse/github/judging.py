"""The judge in GitHub's runs: ``gatehouse github judge``.

It stands in a checkout of the base branch. HEAD_SHA names the commit to judge; without it, the one
that is checked out is, as after a push to main. What the candidate's run handed over lies in
``handed/``. Whether there is anything to judge is decided without an environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gatehouse.core.console import heard
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.judge import change
from gatehouse.vcs.git import differing

from .changes import all_prose
from .comment import LOG, REPORT
from .keys import summary

CLAIMED = Path("handed/ci.log")
MOST = 20_000  # characters of a log that are kept
NOTHING = "## ⚠️ No verdict: nothing but prose changed\n"


def judge(project: Project, own: Callable[[list[str]], list[str]]) -> int:
    """Judge, and put the report into the summary of the run; 1 when a gate is closed."""
    head = os.environ.get("HEAD_SHA", "")
    (project / REPORT).unlink(missing_ok=True)
    _keep_log(project)
    try:
        code = _judge(project, head, own)
    except Stop as stop:
        write_text(project / REPORT, f"## ❌ Not judged: {stop}\n")
        raise
    finally:
        if (project / REPORT).exists():
            summary((project / REPORT).read_text("utf-8"))
    return code


def _judge(project: Project, head: str, own: Callable[[list[str]], list[str]]) -> int:
    if not head:
        return _call(project, own(["judge"]))
    change.fetch(project, head)
    if all_prose(project, differing(project, "HEAD", change.merged(project, head))):
        write_text(project / REPORT, NOTHING)
        return GOOD
    return _call(project, own(["judge", head]))


def _call(project: Project, words: list[str]) -> int:
    """Run it; what it says is kept after what the candidate's run said."""
    (project / LOG).parent.mkdir(parents=True, exist_ok=True)
    with (project / LOG).open("ab") as kept:
        return heard(words, kept)


def _keep_log(project: Project) -> None:
    """The end of what the candidate's run said, for whoever asks why there is no model."""
    try:
        text = (project / CLAIMED).read_text("utf-8", "replace")
    except OSError:
        return
    write_text(project / LOG, text[-MOST:])
