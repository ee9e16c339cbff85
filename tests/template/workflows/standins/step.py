"""A step's side of the runner: inputs, outputs, messages, and patterns of paths."""

import glob
import json
import os
import sys
from pathlib import Path
from typing import NoReturn


def inputs() -> dict[str, str]:
    """The inputs of the action, as ``${{ toJSON(inputs) }}`` put them in ``INPUTS``."""
    return {name: str(value) for name, value in json.loads(os.environ["INPUTS"]).items()}


def output(name: str, value: str) -> None:
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"{name}<<END_OF_VALUE\n{value}\nEND_OF_VALUE\n")


def warn(message: str) -> None:
    print(f"::warning::{message}")


def fail(message: str) -> NoReturn:
    print(f"::error::{message}")
    sys.exit(1)


def hub(name: str) -> Path:
    """A folder of the hub this run belongs to."""
    folder = Path(os.environ["HARNESS_HUB"]) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def absolute(pattern: str) -> str:
    """A path or pattern as the runner reads it: ``~`` and the workspace resolved."""
    return os.path.normpath(Path(os.environ["GITHUB_WORKSPACE"]) / Path(pattern).expanduser())


def lines(text: str) -> tuple[list[str], list[str]]:
    """Patterns and excluded patterns of a multi-line input, absolute."""
    words = [line.strip() for line in text.splitlines()]
    words = [word for word in words if word and not word.startswith("#")]
    wanted = [absolute(word) for word in words if not word.startswith("!")]
    return wanted, [absolute(word[1:]) for word in words if word.startswith("!")]


def matches(pattern: str) -> list[Path]:
    # Path.glob takes no absolute pattern.
    found = glob.glob(pattern, recursive=True, include_hidden=True)  # noqa: PTH207
    return [Path(name) for name in found]


def files(pattern: str) -> set[Path]:
    """Every file a pattern means; a folder means all that is in it."""
    found = set()
    for path in matches(pattern):
        below = path.rglob("*") if path.is_dir() else [path]
        found |= {one for one in below if one.is_file()}
    return found
