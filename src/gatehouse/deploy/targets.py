"""Bring an environment to what the record says, and ask what really runs there."""

from gatehouse.core import doors
from gatehouse.core.config.deploy import Environment, environment
from gatehouse.core.project import Project

from .target import Running, Target

__all__ = ["Running", "Target", "environment", "present", "running", "target_of"]


def target_of(where: Environment) -> Target:
    """The engine of an environment; only its module is imported."""
    match where.target:
        case "compose":
            from .compose import Compose

            return Compose(where)
        case "kubernetes":
            from .kubernetes import Kubernetes

            return Kubernetes(where)
        case "swarm":
            from .swarm import Swarm

            return Swarm(where)
    made: Target = doors.load("targets", where.target)(where)
    return made


def running(project: Project, name: str) -> Running | None:
    """What runs in an environment; None where nothing does; Stop (3) where it cannot be asked."""
    return target_of(environment(project, name)).running()


def present(project: Project, name: str, image: str) -> bool | None:
    """Whether the engine of an environment has ``image``, or can fetch it; None: nobody knows."""
    return target_of(environment(project, name)).present(image)
