"""Verb ``distrust``: CI believes no result that a change brings with it.

``dvc.lock`` names what the stages made, a verdict among it, and whoever may push could name others.
So CI takes the lock that was there before the change: a stage whose inputs are still the same is
passed over, any other is run. What the change says of itself is held against that afterwards.
"""

import os
from typing import NamedTuple

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import LOCK, made, outs
from gatehouse.vcs.git import base_ref, before, git


def distrust(project: Project) -> int:
    """Put the ``dvc.lock`` from before the change in place; none where there was none."""
    if git(project, "diff", "--quiet", "HEAD", "--", str(LOCK)) is None:
        raise Stop(
            "lock-uncommitted",
            f"{LOCK} has changes that would be lost: commit it, or `git checkout {LOCK}`",
        )
    commit = before(project)
    lock = git(project, "show", f"{commit}:./{LOCK}") if commit else None
    if lock:
        write_text(project / LOCK, lock)
        say(f"distrust: those of {commit[:9]}; what changed since is made again")
    else:
        (project / LOCK).unlink(missing_ok=True)
        say("distrust: there are none from before this change, all is made again")
    return GOOD


class Recorded(NamedTuple):
    """What is wrong with the model that a change records: it closes the gate, or is noted."""

    reason: str = ""
    note: str = ""


def recorded(project: Project) -> Recorded:
    """Hold the model that the committed lock records against the one made and judged here."""
    here = project / LOCK
    now = outs(here.read_text(encoding="utf-8")).get("model") if here.exists() else None
    was, base = before(project), base_ref(project) or "HEAD"
    old = made(project, was).get("model") if was else None
    merged = git(project, "merge-base", "--is-ancestor", "HEAD", base) is not None
    return held(now, made(project, "HEAD").get("model"), old, merged=merged)


def held(made: str | None, said: str | None, old: str | None, *, merged: bool) -> Recorded:
    """Compare models by their MD5: as made and judged, as the lock says, as it said before.

    Nothing else of the lock counts: its verdict depends on the day. A change that brings another
    model closes, since the lock of main says who is champion, and CD releases nothing else. One
    that brings none, and what is ``merged`` already, is noted.
    """
    if not made or said == made:
        return Recorded()
    run = os.environ.get("CANDIDATE_RUN") or os.environ.get("GITHUB_RUN_ID")
    mend = f"`gatehouse github take {run}`" if run else "`make pipeline`"
    mend += f", commit {LOCK}, `make push`"
    if said == old or merged:
        return Recorded(
            note=f"{LOCK} of this commit does not record the model that was judged here, so CD "
            f"releases nothing: {mend}"
        )
    both = f"another model ({(said or 'none')[:7]}) than the one made and judged here ({made[:7]})"
    return Recorded(
        f"{LOCK} of this change records {both}, as another kind of machine makes it or as somebody "
        f"wrote it: {mend}"
    )
