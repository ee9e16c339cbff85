"""What every engine that runs the image can be asked for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol


class Running(NamedTuple):
    """What really runs: the image, healthy containers of it, how many shall be, since when."""

    image: str
    healthy: int
    wanted: int
    since: str


class Target(Protocol):
    """One environment on one engine."""

    def running(self) -> Running | None:
        """What runs there; None where nothing is deployed."""
        ...

    def apply(self, image: str, step: Callable[[str], None]) -> None:
        """Run ``image`` in place of what runs, wait until it is healthy, or go back."""
        ...

    def alone(self, image: str) -> AbstractContextManager[str]:
        """The address of one container of ``image`` that gets no traffic."""
        ...

    def address(self) -> str:
        """Where the environment answers."""
        ...
