"""What git says."""

import os
import subprocess
from typing import Any


def git(*words: str) -> str | None:
    """Standard output of a git command; None where it fails."""
    # Whatever bytes a commit holds, they are no traceback.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(["git", *words], capture_output=True, check=False, **how)
    return done.stdout if done.returncode == 0 else None


def base_ref() -> str:
    """The branch that a change is held against: BASE_REF, else the main branch; "" without one."""
    usual = ("origin/HEAD", "origin/main", "main", "HEAD")
    known = (ref for ref in usual if git("rev-parse", "--verify", "--quiet", ref))
    return os.environ.get("BASE_REF") or next(known, "")
