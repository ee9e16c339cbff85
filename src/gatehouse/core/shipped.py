"""Files that come with the package: manifests, the Dockerfile, rulesets, dashboards, locks.

Each has the name that it would have in a project. Where the project has a file of that name
(``gatehouse eject`` puts it there), that one is taken; else the package's, which has marks in place
of the names of the project and of its package. The package may lie in a zip.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import Stop
from .project import Project

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@cache
def names() -> tuple[str, ...]:
    """Every file that is shipped, sorted."""
    return tuple(sorted(_below(_shipped(), "")))


def path(project: Project, name: str) -> Path | Traversable:
    """The project's own file where there is one, else the package's; Stop where neither is."""
    if (own := project.root / name).is_file():
        return own
    if name not in names():
        raise Stop(
            "shipped-unknown",
            f"{name} is no file that is shipped: `gatehouse eject --list` names them",
        )
    return _shipped().joinpath(name)


def text(project: Project, name: str) -> str:
    """What stands in ``name``, the project's names filled in; Stop where it is not UTF-8."""
    try:
        content = path(project, name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Stop("not-utf8", f"{name} is not UTF-8 text: save it as UTF-8") from None
    if "@PROJECT@" in content:
        content = content.replace("@PROJECT@", project.name)
    if "@PACKAGE@" in content:
        content = content.replace("@PACKAGE@", package(project))
    return content


def lay_out(project: Project, prefix: str, folder: Path) -> None:
    """Write ``prefix`` as a project would have it into ``folder``, which then holds ``prefix``.

    What the project has there besides comes along: its own files may name others of its own.
    """
    root = project.root
    for own in (path for path in (root / prefix).rglob("*") if path.is_file()):
        (target := folder / own.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own, target)
    for name in (name for name in names() if name.startswith(f"{prefix}/")):
        if not (target := folder / name).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text(project, name), encoding="utf-8")


@contextmanager
def laid_out(project: Project, prefix: str) -> Iterator[Path]:
    """``prefix`` as a project would have it, in a folder that goes away afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(project, prefix, here := Path(folder).resolve())
        yield here / prefix


def package(project: Project) -> str:
    """The user's package: the one in ``src/``."""
    from .hooks import own_package  # late: what runs from the wheel runs on older Pythons, too

    if (found := own_package(project)) is None:
        raise Stop(
            "no-package", "src/ holds no package: leave one folder with an __init__.py there"
        )
    return found.name


def _shipped() -> Traversable:
    return files("gatehouse").joinpath("files")


def _below(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _below(entry, f"{name}/")
        else:
            yield name
