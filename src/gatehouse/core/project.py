"""A project: the folder in which everything has its place.

It is passed, so that nothing depends on the folder that somebody stands in. Paths of the library
are relative to it: ``project / "params.yaml"``. Standard library alone; ``gatehouse.Project`` is
the same with what can be asked of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from .errors import InputError

MARKS = ("dvc.yaml", "params.yaml")  # what every project has
Kind = TypeVar("Kind", bound="Project")


@dataclass(frozen=True)
class Project:
    """The repository in ``root``."""

    root: Path = field(default=Path())

    @classmethod
    def here(cls: type[Kind], start: str | Path = ".") -> Kind:
        """The project that ``start`` lies in. Raises ``InputError`` where it lies in none."""
        folder = Path(start)
        for parent in (folder, *folder.resolve().parents):
            if all((parent / name).is_file() for name in MARKS):
                return cls(parent)
        raise InputError(
            "no-project", f"{folder.resolve()} lies in no project: go to one, or generate it"
        )

    @property
    def name(self) -> str:
        """What it is called in pyproject.toml, and its image and its stacks are called by."""
        # Not by tomllib, which the Python that sets GitHub up may not have yet.
        try:
            table = (self / "pyproject.toml").read_text("utf-8").partition("[project]\n")[2]
        except (OSError, UnicodeDecodeError):
            table = ""
        named = re.search(r"""^name\s*=\s*["'](.+)["']""", table.partition("\n[")[0], re.MULTILINE)
        if not named:
            raise InputError(
                "project-no-name", "pyproject.toml names no project: restore it with git"
            )
        return named[1]

    def __truediv__(self, path: str | Path) -> Path:
        return self.root / path
