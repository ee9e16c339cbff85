"""Verb ``distrust``: CI believes no result that a change brings with it.

``dvc.lock`` names what the stages made, a verdict among it, and whoever may push could name others.
So CI takes the lock that was there before the change: a stage whose inputs are still the same is
passed over, any other is run. What the change says of itself is held against that afterwards.
"""

from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import outs
from gatehouse.vcs.git import before, git

LOCK = Path("dvc.lock")


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


def note(project: Project) -> str:
    """Where the committed lock records another model than the one here, a sentence on it."""
    said = outs(git(project, "show", f"HEAD:./{LOCK}") or "").get("model")
    here = (
        outs((project / LOCK).read_text(encoding="utf-8")).get("model")
        if (project / LOCK).exists()
        else None
    )
    if not here or said == here:
        return ""
    what = "another model than the one judged here" if said else "no model"
    return f"the dvc.lock of this change records {what}: `make pipeline`, commit it, `make push`"
