"""What git says."""

import os
import subprocess


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A git command with these environment variables; its messages are in English."""
    environment = os.environ | {"LC_ALL": "C"} | variables
    return subprocess.run(
        ["git", *words], capture_output=True, text=True, check=False, env=environment
    )


def git(*words: str) -> str | None:
    """Standard output of a git command; None where it fails."""
    done = run(*words)
    return done.stdout if done.returncode == 0 else None


def base_ref() -> str:
    """The branch that a change is held against: BASE_REF, else the main branch; "" without one."""
    usual = ("origin/HEAD", "origin/main", "main", "HEAD")
    known = (ref for ref in usual if git("rev-parse", "--verify", "--quiet", ref))
    return os.environ.get("BASE_REF") or next(known, "")
