"""``gates.yaml`` itself: a change must not choose the thresholds that judge it.

Where CI names the base branch in BASE_REF, that branch's file judges: verb ``thresholds`` puts it
in place before the pipeline runs, and the verdict is closed under any other.
"""

import json
import os
import re
from pathlib import Path

from ..console import GOOD, INFRASTRUCTURE, Stop, say, write_text
from ..git import base_ref, git

GATES = Path("gates.yaml")


def restore() -> int:
    """Verb ``thresholds``: write the base branch's ``gates.yaml`` into the work tree."""
    if not os.environ.get("BASE_REF"):
        raise Stop("BASE_REF names no branch: set it, for instance BASE_REF=origin/main")
    if differs():
        write_text(GATES, _of(base_ref()) or "")
        say(f"thresholds: {GATES} is now that of {base_ref()}; the one of this change waits for it")
    else:
        say(f"thresholds: {GATES} is that of {base_ref()}")
    return GOOD


def differs() -> bool:
    """Whether ``gates.yaml`` is another than on the base branch; False where that has none."""
    base = base_ref()
    there = _of(base) if base else None
    if there is None:
        return False
    return not GATES.exists() or GATES.read_text(encoding="utf-8") != there


def _of(base: str) -> str | None:
    if git("rev-parse", "--verify", "--quiet", base + "^{commit}") is None:
        raise Stop(f"git knows no {base}: run `git fetch origin`", INFRASTRUCTURE)
    return git("show", f"{base}:{GATES}")


def bootstrap(reason: str) -> int:
    """Write ``model.bootstrap``, why there is no champion yet; comments stay."""
    if not reason.strip():
        raise Stop("--bootstrap wants the reason why there is no champion: say it in words")
    line = f"  bootstrap: {json.dumps(' '.join(reason.split()), ensure_ascii=False)}\n"
    text = re.sub(r"(?m)^  bootstrap:.*\n", "", GATES.read_text(encoding="utf-8"))
    text, found = re.subn(r"(?m)^model: *(#.*)?\n", lambda head: head[0] + line, text, count=1)
    if not found:
        raise Stop(f"{GATES} has no line `model:` to write below: restore it from git")
    write_text(GATES, text)
    say(f"champion: {GATES} says why there is none; commit it, then `make pipeline`")
    return GOOD
