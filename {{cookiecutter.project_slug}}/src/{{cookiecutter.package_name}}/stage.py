"""What every stage has in common: one-sentence errors, a clock, files that appear whole."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BAD_INPUT = 2


class InputError(Exception):
    """Something a person must mend; the message is one sentence: what, where, what to do."""


def say(message: str) -> None:
    """Report progress on standard error, so that standard output stays free for results."""
    print(message, file=sys.stderr, flush=True)


def run_stage(name: str, work: Callable[[], str]) -> None:
    """Run ``work`` and end with the line it returns; an ``InputError`` ends with exit code 2."""
    start = time.perf_counter()
    try:
        done = work()
    except InputError as error:
        say(f"{name}: {error}")
        raise SystemExit(BAD_INPUT) from None
    say(f"{name}: {done} ({time.perf_counter() - start:.1f} s)")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the final name only if the block succeeds."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path} cannot be written ({reason}): make room or another path"
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
