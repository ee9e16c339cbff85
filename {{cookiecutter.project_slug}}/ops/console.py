"""Words and exit codes shared by every verb."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

GOOD, CLOSED, BROKEN, INFRASTRUCTURE = 0, 1, 2, 3


class Stop(Exception):
    """Ends the command: one sentence (what, where, what to do) and an exit code."""

    def __init__(self, sentence: str, code: int = BROKEN) -> None:
        super().__init__(sentence)
        self.code = code


def say(message: str) -> None:
    """Report progress on standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def paint(text: str, colour: str) -> str:
    """``text`` in red, green or yellow where a person reads it; plain when piped or NO_COLOR."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{ {'red': 31, 'green': 32, 'yellow': 33}[colour] }m{text}\x1b[0m"


def read_json(path: Path, remedy: str = "run `make pipeline`") -> dict[str, Any]:
    """A JSON object from ``path``; missing or damaged files end the command with ``remedy``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Stop(f"{path} is not there: {remedy}") from None
    except ValueError:
        raise Stop(f"{path} is damaged: {remedy}") from None
    if not isinstance(content, dict):
        raise Stop(f"{path} is damaged: {remedy}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from ``path``, read safely."""
    from .strict_yaml import load  # late: ops.github has the standard library, and no more

    try:
        content = load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Stop(f"{path} is not there: restore it with `git checkout {path}`") from None
    except UnicodeDecodeError:
        raise Stop(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except Exception as error:  # what is wrong with YAML can raise anything
        mark, twice = getattr(error, "problem_mark", None), "a key twice" in str(error)
        line = f", line {mark.line + 1}," if mark else ""
        what = "has a key twice" if twice else "is not valid YAML"
        raise Stop(f"{path}{line} {what}: correct it") from None
    if not isinstance(content, dict):
        raise Stop(f"{path} is empty or no mapping: restore it with `git checkout {path}`")
    return content


def read_section(path: Path, name: str) -> dict[str, Any]:
    """One mapping of a YAML file; an absent one is empty."""
    section = read_yaml(path).get(name) or {}
    if not isinstance(section, dict):
        raise Stop(f"{path}: {name} is no mapping: restore it with `git checkout {path}`")
    return section


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that another program can read: no NaN, no infinity."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def stop_with(error: Stop, verb: str) -> NoReturn:
    """Print the sentence of ``error`` and leave with its code."""
    say(f"{verb}: {error}")
    raise SystemExit(error.code)
