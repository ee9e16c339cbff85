"""Doors for other packages: what they offer as entry points stands beside what the library has.

``gatehouse.metrics``    a ``metrics.table.Metric``, to be named in gates.yaml
``gatehouse.checks``     a ``checks.rules.Check``, installed where the checks run
``gatehouse.targets``    a ``deploy.target.Target``, made with its ``Environment``
``gatehouse.triggers``   (Facts, Retrain) -> why to train now, empty where there is no reason
``gatehouse.sinks``      a ``scoring.sinks.Sink``, made with URL, table and run, by its scheme

The library's own names are taken first. Standard library alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from .errors import Stop

Thing = TypeVar("Thing")


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """What installed packages offer for ``gatehouse.GROUP``, by name."""
    return {point.name: point for point in entry_points(group=f"gatehouse.{group}")}


def known(group: str, *own: str) -> Callable[[str], str]:
    """A check of a name for pydantic: one of ``own``, or of those that packages offer."""

    def check(name: str) -> str:
        names = [*own, *offered(group)]
        if name not in names:
            raise ValueError(f"{name!r} is none of {', '.join(names)}")
        return name

    return check


def load(group: str, name: str) -> Any:
    """What a package offers under a name; Stop where it cannot be imported."""
    point = offered(group)[name]
    try:
        return point.load()
    except Exception as error:  # it is somebody else's code
        said = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        what = f"{name} of gatehouse.{group} is {point.value}, which cannot be loaded ({said})"
        raise Stop("plugin-broken", f"{what}: mend or remove the package that offers it") from None


class Known(dict[str, Thing]):
    """Things by name: the library's own, and what installed packages offer for a group."""

    def __init__(self, group: str, own: dict[str, Thing]) -> None:
        super().__init__(own)
        self._group = group

    def __missing__(self, name: str) -> Thing:
        if name not in offered(self._group):
            raise KeyError(name)
        self[name] = load(self._group, name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in offered(self._group)

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping."""
        return self[name] if name in self else default  # noqa: SIM401  it would ask itself
