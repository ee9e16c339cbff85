"""Gatehouse: an ML repository in which every change to code, data or model walks through gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core.version import __version__

if TYPE_CHECKING:
    from .api import Project

__all__ = ["Project", "__version__"]


def __getattr__(name: str) -> Any:
    # Late: most that import the library want one room of it, and the first of them has no packages.
    if name == "Project":
        from .api import Project

        return Project
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
