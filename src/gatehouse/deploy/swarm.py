"""Docker Swarm: the engine replaces containers one by one, and goes back by itself."""

import hashlib
import json
import time
from contextlib import AbstractContextManager
from typing import Any

from gatehouse.core import shipped
from gatehouse.core.config.deploy import Environment
from gatehouse.core.errors import CLOSED, INFRASTRUCTURE, Stop
from gatehouse.packaging.docker import alone_at, docker, moment, present, reach, run

from .target import Running, Step

WAIT_SECONDS = 600
BACK = ("rollback_completed", "rollback_paused", "paused")


class Swarm:
    """One stack: the service, and a proxy before it."""

    def __init__(self, environment: Environment) -> None:
        self.environment, self.host = environment, environment.host
        self.service = f"{environment.stack}_app"

    def running(self) -> Running | None:
        """What most of the running containers are made from."""
        self._ask_for_swarm()
        service = self._inspect()
        if service is None:
            return None
        wanted = int(service["Spec"]["Mode"]["Replicated"]["Replicas"])
        images = [image for image, runs, _ in self._tasks() if runs]
        image = max(images, key=images.count) if images else _image(service)
        return Running(image, images.count(image), wanted, moment(service["UpdatedAt"]))

    def apply(self, image: str, step: Step) -> None:
        """As in ``Target``: a rolling update, watched until it ends."""
        self._ask_for_swarm()
        before, environment = self._inspect(), self.environment
        # An update that a killed command began is watched to its end: if it were asked for again,
        # the engine would forget that it may have to go back.
        if not (before and _image(before) == image and _update(before) == "updating"):
            self._deploy(image)  # and the engine forgets how the last update ended
        until, said = time.monotonic() + WAIT_SECONDS, ""
        while time.monotonic() < until:
            service = self._inspect()
            if service is None:
                raise Stop(
                    "service-gone",
                    f"service {self.service} went away: deploy again",
                    INFRASTRUCTURE,
                )
            state = _update(service)
            tasks = self._tasks()
            mine = sum(of == image and runs for of, runs, _ in tasks)
            if (now := f"{mine} of {environment.replicas} containers run it") != said:
                step(said := now)
            if state in BACK:
                raise Stop(
                    "release-not-started",
                    self._why(image, "the engine went back to what ran before"),
                    CLOSED,
                )
            if state == "completed" and mine >= environment.replicas:
                return
            if before is None and sum(of == image and bool(error) for of, _, error in tasks) >= 4:
                # Nothing ran before: there is nothing for the engine to go back to.
                docker("stack", "rm", environment.stack, host=self.host)
                raise Stop(
                    "release-not-started",
                    self._why(image, "nothing ran before, and nothing runs now"),
                    CLOSED,
                )
            time.sleep(0.3)
        raise Stop(
            "release-not-started",
            self._why(image, f"still not after {WAIT_SECONDS} s"),
            INFRASTRUCTURE,
        )

    def _deploy(self, image: str) -> None:
        environment = self.environment
        with shipped.laid_out(self.environment.home, "deploy") as folder:
            proxy = (folder / "haproxy.cfg").read_bytes()
            docker(
                *("stack", "deploy", "--compose-file", str(folder / "stack.yaml")),
                *("--with-registry-auth", "--resolve-image", "never", "--prune", environment.stack),
                host=self.host,
                IMAGE=image,
                PORT=str(environment.port),
                PROXY=environment.proxy,
                PROXY_CONFIG=hashlib.sha256(proxy).hexdigest()[:12],
                REPLICAS=str(environment.replicas),
                STACK=environment.stack,
            )
        # A stack keeps the image that somebody gave a service past it.
        if (now := self._inspect()) and _image(now) != image:
            quiet = ("--quiet", "--detach", "--with-registry-auth", "--no-resolve-image")
            docker("service", "update", *quiet, "--image", image, self.service, host=self.host)

    def alone(self, image: str) -> AbstractContextManager[str]:
        """As in ``Target``."""
        return alone_at(image, self.host)

    def front(self) -> AbstractContextManager[str]:
        """As in ``Target``: the proxy's port on the host."""
        return reach(self.host, self.environment.port)

    def present(self, image: str) -> bool:
        """As in ``Target``."""
        return present(image, self.host)

    def _ask_for_swarm(self) -> None:
        state = docker("info", "--format", "{{.Swarm.ControlAvailable}}", host=self.host)
        if state != "true":
            where = f"DOCKER_HOST={self.host} " if self.host else ""
            raise Stop(
                "swarm-off",
                f"the engine is not in swarm mode: run `{where}docker swarm init` once",
                INFRASTRUCTURE,
            )

    def _inspect(self) -> dict[str, Any] | None:
        done = run("service", "inspect", self.service, host=self.host)
        if done.returncode and "no such service" in done.stderr.lower():
            return None
        if done.returncode:
            raise Stop(
                "docker-failed",
                f"docker service inspect failed: {done.stderr.strip()}",
                INFRASTRUCTURE,
            )
        return dict(json.loads(done.stdout)[0])

    def _tasks(self) -> list[tuple[str, bool, str]]:
        """(image, whether it runs and shall, error) of the containers, newest first."""
        form = "{{.Image}}\t{{.DesiredState}} {{.CurrentState}}\t{{.Error}}"
        done = run("service", "ps", "--no-trunc", "--format", form, self.service, host=self.host)
        lines = (line.split("\t") for line in done.stdout.splitlines())
        # One that drains runs still, and shall not.
        return [(of, state.startswith("Running Running"), error) for of, state, error in lines]

    def _why(self, image: str, then: str) -> str:
        errors = [error for of, _, error in self._tasks() if of == image and error]
        return f"{image} did not become healthy ({errors[0] if errors else 'no error'}): {then}"


def _image(service: dict[str, Any]) -> str:
    return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])


def _update(service: dict[str, Any]) -> str:
    """How the last update stands; one with nothing to change has no state."""
    return str((service.get("UpdateStatus") or {}).get("State") or "completed")
