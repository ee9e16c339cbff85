"""Target ``compose``: one container on one engine, as deploy/compose.yaml says."""

import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from gatehouse.core import shipped
from gatehouse.core.config.deploy import Environment
from gatehouse.core.errors import CLOSED, INFRASTRUCTURE, Stop
from gatehouse.packaging import docker

from .target import Running

FILE, SERVICE = "deploy/compose.yaml", "service"
LABEL = "com.docker.compose"


class Compose:
    """One environment: one project of Compose."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.project = environment.stack
        self.seconds = int(environment.settings.get("timeout", 120))

    def running(self) -> Running | None:
        """The container, healthy or not; None where there is none."""
        found = self._container()
        if found is None:
            return None
        state = found["State"]
        since = docker.moment(state["StartedAt"])
        return Running(found["Config"]["Image"], int(healthy(state)), 1, since)

    def apply(self, image: str, step: Callable[[str], None]) -> None:
        """Replace the container; where the new one does not become healthy, start the old again.

        Raises ``Stop``: CLOSED after going back, INFRASTRUCTURE where the engine cannot be reached.
        """
        self._fetch(image, step)
        before = self._container()
        step(f"{self.project}: starting {image}")
        try:
            self._up(image)
            return
        except Stop as stop:
            now = self._container()  # stops here where the engine is gone
            ours = now and now["Config"]["Image"] == image
            why = complaint(now) if now and ours else str(stop)
        sentence = f"{image} does not become healthy: {why}"
        if before is None:
            self._compose(image, "down")
            raise Stop(
                "release-refused",
                f"{sentence}; there was none before it, and it was removed",
                CLOSED,
            )
        old = before["Config"]["Image"]
        step(f"going back to {old}")
        try:
            self._up(old if self._identity(old) == before["Image"] else before["Image"])
        except Stop as stop:
            raise Stop("release-refused", f"{sentence}; nor does {old}: {stop}", CLOSED) from None
        raise Stop("release-refused", f"{sentence}; {old} serves again", CLOSED)

    def alone(self, image: str) -> AbstractContextManager[str]:
        """The address of a container of ``image`` that has nothing to do with the project."""
        return docker.alone_at(image, self.environment.host)

    def front(self) -> AbstractContextManager[str]:
        """The port of the engine's machine."""
        return docker.reach(self.environment.host, self.environment.port)

    def present(self, image: str) -> bool:
        """As in ``Target``."""
        return docker.present(image, self.environment.host)

    def _docker(self, *words: str) -> str:
        return docker.docker(*words, host=self.environment.host)

    def _fetch(self, image: str, step: Callable[[str], None]) -> None:
        """Have the image and Compose here before anything stops."""
        self._docker("version")
        try:
            self._docker("compose", "version")
        except Stop:
            fix = "install docker-compose-plugin, or docker-compose-v2 of Ubuntu"
            raise Stop(
                "compose-missing", f"`docker compose` is not here: {fix}", INFRASTRUCTURE
            ) from None
        if not self._identity(image):
            step(f"fetching {image}")
            self._docker("pull", "--quiet", image)

    def _identity(self, image: str) -> str:
        """The id of an image; a name like ``model:latest`` may mean another one by now."""
        return self._docker("image", "ls", "--quiet", "--no-trunc", image).strip()

    def _container(self) -> dict[str, Any] | None:
        """What the engine knows of it. By label, since ``compose ps`` has two formats of JSON."""
        labels = (f"{LABEL}.project={self.project}", f"{LABEL}.service={SERVICE}")
        filters = [f"--filter=label={label}" for label in labels]
        found = self._docker("ps", "--all", "--quiet", *filters).split()
        return dict(json.loads(self._docker("inspect", found[0]))[0]) if found else None

    def _compose(self, image: str, *words: str) -> str:
        port, host = str(self.environment.port), self.environment.host
        with tempfile.TemporaryDirectory() as folder:
            home, path = self.environment.home, Path(folder, Path(FILE).name)
            path.write_text(shipped.text(home, FILE), encoding="utf-8")
            place = ["--file", str(path), "--project-name", self.project]
            if (own := (home / FILE).parent).is_dir():  # what the file names beside itself
                place += ["--project-directory", str(own)]
            words = ("compose", *place, *words)
            return docker.docker(*words, host=host, IMAGE=image, PORT=port)

    def _up(self, image: str) -> None:
        wait = ["--wait", "--wait-timeout", str(self.seconds)]
        self._compose(image, "up", "--detach", "--quiet-pull", *wait)


def healthy(state: dict[str, Any]) -> bool:
    """Whether the engine says so; the image of `make image` has a health check."""
    return (state["Status"], state.get("Health", {}).get("Status", "healthy")) == (
        "running",
        "healthy",
    )


def complaint(container: dict[str, Any]) -> str:
    """Why a container does not serve, from what the engine knows."""
    state, again = container["State"], container["RestartCount"]
    if state["OOMKilled"]:
        return "out of memory (mem_limit of deploy/compose.yaml)"
    if state["Status"] in ("restarting", "exited"):
        return f"it ends with exit code {state['ExitCode']}"
    if again:
        return f"it ended and was started again, {again} times"
    return f"it is {state.get('Health', {}).get('Status', state['Status'])}"
