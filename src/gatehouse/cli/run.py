"""Verbs and other programs, run where their words are seen."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gatehouse.core.console import heard, say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop


def guarded(name: str, work: Callable[[], int | None]) -> int:
    """Run ``work``; its exit code, or that of the ``Stop`` it ends with."""
    try:
        return work() or 0
    except Stop as error:
        say(error.told(name))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INFRASTRUCTURE


def program(*words: str, **variables: str) -> int:
    """Run a program of the environment to its end; its exit code. Raises ``Stop`` without it."""
    try:
        return subprocess.run(words, env=os.environ | variables, check=False).returncode
    except FileNotFoundError:
        raise Stop(
            "environment-missing", f"{words[0]} is not here: run `make setup`", INFRASTRUCTURE
        ) from None


def all_of(*commands: Sequence[str]) -> int:
    """One after the other; ends with the first that fails."""
    for words in commands:
        if code := program(*words):
            return code
    return GOOD


def own(*words: str) -> list[str]:
    """The words that start another verb."""
    return [sys.executable, "-P", "-m", "gatehouse.cli", *words]


def told(name: str, work: Callable[[], str]) -> int:
    """Run ``work`` and tell the line that it returns, with the time it took."""
    start = time.perf_counter()
    done = work()
    say(f"{name}: {done} ({time.perf_counter() - start:.1f} s)")
    return GOOD


def logged(log: Path, *commands: Sequence[str]) -> int:
    """As ``all_of``; what they say is kept in ``log``, too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as kept:
        for words in commands:
            if code := heard(words, kept):
                return code
    return GOOD
