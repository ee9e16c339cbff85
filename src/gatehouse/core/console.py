"""Words for people: standard error tells what goes on, standard output holds results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import IO


def say(message: str) -> None:
    """Report progress on standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def paint(text: str, colour: str) -> str:
    """``text`` in red, green or yellow where a person reads it; plain when piped or NO_COLOR."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{ {'red': 31, 'green': 32, 'yellow': 33}[colour] }m{text}\x1b[0m"


def relayed(
    words: Sequence[str], keep: Callable[[bytes], object], environment: dict[str, str] | None = None
) -> int:
    """Run a program; what it says goes on as it comes, and line by line to ``keep``. Its exit code.

    Raises ``OSError`` where it cannot be started.
    """
    import subprocess  # late: most who say something start nothing

    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment}
    with subprocess.Popen(words, **how) as process:  # type: ignore[call-overload]
        for line in process.stdout:
            keep(line)
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return int(process.returncode)


def heard(words: Sequence[str], kept: IO[bytes]) -> int:
    """As ``relayed``, into a file."""

    def keep(line: bytes) -> None:
        kept.write(line)
        kept.flush()

    return relayed(words, keep)
