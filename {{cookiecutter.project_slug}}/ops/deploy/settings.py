"""What ``deploy/settings.yaml`` says of an environment."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Environment:
    """One place where the image runs."""

    name: str
    target: str
    host: str = ""
    port: int = 3000
    replicas: int = 1
    project: str = ""
    proxy: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
