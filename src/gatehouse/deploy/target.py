"""What a place to deploy to must be able to do; one module for each kind of engine."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

Step = Callable[[str], None]


class Running(NamedTuple):
    """What an engine really runs."""

    image: str
    healthy: int
    wanted: int
    since: str


class Target(Protocol):
    """One environment on one engine."""

    def running(self) -> Running | None:
        """What runs now; None where nothing was deployed."""

    def apply(self, image: str, step: Step) -> None:
        """Run ``image`` and wait until it is healthy; idempotent.

        Raises ``Stop`` with exit code 1 after the engine went back to what ran before, with 3
        where it cannot be reached.
        """

    def alone(self, image: str) -> AbstractContextManager[str]:
        """The address of one container of ``image`` that nobody else is sent to."""

    def front(self) -> AbstractContextManager[str]:
        """The address that clients use, reachable from here."""

    def present(self, image: str) -> bool | None:
        """Whether the engine has ``image``, or can fetch it; None where nobody can say."""
