"""Bring an environment to what the record says, and ask what really runs there."""

from .settings import Environment, environment
from .target import Running, Target

__all__ = ["Running", "Target", "environment", "present", "running", "target_of"]


def target_of(where: Environment) -> Target:
    """The engine of an environment; only its module is imported."""
    match where.target:
        case "swarm":
            from .swarm import Swarm

            return Swarm(where)
        case "compose":
            from .compose import Compose

            return Compose(where)
        case "kubernetes":
            from .kubernetes import Kubernetes

            return Kubernetes(where)
        case _:
            from .bentocloud import BentoCloud

            return BentoCloud(where)


def running(name: str) -> Running | None:
    """What runs in an environment; None where nothing does; Stop (3) where it cannot be asked."""
    return target_of(environment(name)).running()


def present(name: str, image: str) -> bool | None:
    """Whether the engine of an environment has ``image``, or can fetch it; None: nobody knows."""
    return target_of(environment(name)).present(image)
