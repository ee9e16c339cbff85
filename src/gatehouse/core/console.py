"""Words for people: standard error tells what goes on, standard output holds results."""

import os
import sys


def say(message: str) -> None:
    """Report progress on standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def paint(text: str, colour: str) -> str:
    """``text`` in red, green or yellow where a person reads it; plain when piped or NO_COLOR."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{ {'red': 31, 'green': 32, 'yellow': 33}[colour] }m{text}\x1b[0m"
