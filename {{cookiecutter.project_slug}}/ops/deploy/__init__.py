"""Where the image runs."""

from typing import NamedTuple

from ..console import INFRASTRUCTURE, Stop


class Running(NamedTuple):
    """What an environment's engine really runs."""

    image: str
    healthy: int
    wanted: int
    since: str


def running(name: str) -> Running | None:
    """What runs in this environment, None where nothing does; Stop (3) where nobody can say."""
    raise Stop(f"the engine of {name} is not configured", INFRASTRUCTURE)


def present(name: str, image: str) -> bool | None:  # noqa: ARG001
    """Whether the environment can still get this image; None where nobody can say."""
    return None
