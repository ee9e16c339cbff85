"""What ``deploy/settings.yaml`` says, and what the environment says otherwise."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..console import Stop, read_section

PATH = Path("deploy/settings.yaml")
NAMES = ("staging", "production")
TARGETS = ("swarm", "compose", "kubernetes", "bentocloud")


@dataclass(frozen=True)
class Environment:
    """One place that a release runs in."""

    name: str
    target: str
    project: str
    proxy: str
    host: str = ""
    port: int = 3000
    replicas: int = 1
    bake_seconds: float = 60
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def stack(self) -> str:
        """What its containers, networks and services are called by."""
        return f"{self.project}-{self.name}"


def project() -> str:
    """The name of this repository, of its image and of its stacks."""
    try:
        return str(tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Stop("pyproject.toml names no project: restore it with git") from None


def image_setting(name: str) -> str:
    """``repository``, ``base`` or ``proxy``; the environment's word counts first."""
    told = os.environ.get(f"IMAGE_{name.upper()}")
    if told == "" and name == "repository":
        return ""  # the image stays in the engine that built it
    said = told or read_section(PATH, "image").get(name) or ""
    if not isinstance(said, str) or (not said and name != "repository"):
        raise Stop(f"{PATH} has no image.{name}: say which image that is")
    return said.lower() if name == "repository" else said  # a registry takes no capitals


def environment(name: str) -> Environment:
    """Raises ``Stop`` for a name or a setting that cannot be followed."""
    said = read_section(PATH, "environments").get(name)
    if name not in NAMES or not isinstance(said, dict):
        raise Stop(f"{PATH} describes no environment {name}: say staging or production")
    rest = dict(said)
    rest["host"] = os.environ.get(f"{name.upper()}_HOST") or rest.get("host") or ""
    known = {
        key: rest.pop(key)
        for key in ("target", "host", "port", "replicas", "bake_seconds")
        if key in rest
    }
    made = Environment(
        **{"target": "swarm"} | known,
        name=name,
        project=project(),
        proxy=image_setting("proxy"),
        settings=rest,
    )
    if made.target not in TARGETS:
        raise Stop(f"{PATH}: {name} has target {made.target!r}: say one of {', '.join(TARGETS)}")
    kinds: dict[str, Any] = {"host": str, "port": int, "replicas": int, "bake_seconds": int | float}
    for key, kind in kinds.items():
        value: Any = getattr(made, key)
        low = kind is not str and isinstance(value, kind) and value < 0
        if not isinstance(value, kind) or isinstance(value, bool) or low:
            raise Stop(f"{PATH}: {name}.{key} is {value!r}: correct it")
    return made
