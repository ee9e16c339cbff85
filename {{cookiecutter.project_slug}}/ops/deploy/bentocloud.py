"""Target ``bentocloud``: the Bento, not our image, given to BentoCloud by its command line.

BentoCloud builds an image of its own, so what the infra blessing measured is not what runs there.
The environment variable RELEASE_IMAGE of the deployment says which release it is.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..console import BROKEN, CLOSED, INFRASTRUCTURE, Stop, read_json
from . import docker
from .settings import Environment
from .target import Running

PROGRAM, MADE = ".venv-serve/bin/bentoml", Path("reports/image.json")
WHICH = "RELEASE_IMAGE"
FAILED = ("failed", "unhealthy", "image-build-failed", "terminated")


class BentoCloud:
    """One environment: one deployment, ``PROJECT-ENVIRONMENT``."""

    def __init__(self, environment: Environment) -> None:
        self.environment, said = environment, environment.settings
        self.name = environment.stack
        self.bento = str(said.get("bento", f"{environment.project}:latest"))
        self.seconds = float(said.get("timeout", 1800))

    def running(self) -> Running | None:
        """What BentoCloud says of the deployment; 1 of 1 is healthy where all of it is."""
        if (found := self._get()) is None:
            return None
        state = found["status"]
        return Running(release(found), int(state["status"] == "running"), 1, state["updated_at"])

    def apply(self, image: str, step: Callable[[str], None]) -> None:
        """Deploy the Bento that ``image`` was made of; back to the one before where it fails."""
        if read_json(MADE, "run `make image`").get("image") != image:
            raise Stop(f"the Bento here is not that of {image}: check out its commit, `make image`")
        before = self._get()
        step(f"{self.bento} goes to BentoCloud as {self.name}")
        if (status := self._bring(self.bento, image, step)) == "running":
            return
        if before:
            step(f"going back to {before['bento']}")
            self._bring(before["bento"], release(before), step)
        raise Stop(f"{self.name} is {status}: see its logs at BentoCloud", CLOSED)

    def alone(self, image: str) -> AbstractContextManager[str]:
        """The address of a container of the image on this machine: the same code and model."""
        return docker.alone_at(image)

    def present(self, image: str) -> None:
        """Nobody can say: BentoCloud makes its own from the Bento."""
        del image

    def front(self) -> AbstractContextManager[str]:
        """``address`` of the settings, else what BentoCloud gave the deployment."""
        urls = [
            self.environment.settings.get("address"),
            *(self._get() or {}).get("endpoint_urls", []),
        ]
        for url in filter(None, urls):
            return nullcontext(str(url))
        raise Stop(f"{self.name} has no address at BentoCloud: deploy it", BROKEN)

    def _get(self) -> dict[str, Any] | None:
        said = self._bentoml("get", self.name, "--output", "json")
        return json.loads(said) if said else None

    def _bring(self, bento: str, image: str, step: Callable[[str], None]) -> str:
        """Apply, and wait for a status that stays."""
        self._bentoml("apply", bento, "--name", self.name, "--env", f"{WHICH}={image}")
        end, status = time.monotonic() + self.seconds, ""
        while time.monotonic() < end:
            now = (self._get() or {"status": {"status": "unknown"}})["status"]["status"]
            if now != status:
                step(f"{self.name}: {now}")
            if (status := now) in ("running", *FAILED):
                break
            time.sleep(float(os.environ.get("RETRY_SECONDS", "5")))
        return status

    def _bentoml(self, verb: str, *words: str) -> str:
        """Standard output of ``bentoml deployment …``; "" where there is no such deployment."""
        command = [PROGRAM, "deployment", verb, *words]
        variables = os.environ | {"BENTOML_DO_NOT_TRACK": "true"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=variables
            )
        except FileNotFoundError:
            raise Stop(f"{PROGRAM} is not here: run `make setup`", INFRASTRUCTURE) from None
        said = " ".join((done.stdout + done.stderr).split())
        if done.returncode and ("cloud context" in said or "API token" in said):
            raise Stop(f"nobody is logged in to BentoCloud: run `{PROGRAM} cloud login`")
        if done.returncode and verb == "get" and "is not found" in said:
            return ""
        if done.returncode:
            raise Stop(f"BentoCloud fails ({said[-300:]}): run the same again", INFRASTRUCTURE)
        return done.stdout


def release(found: dict[str, Any]) -> str:
    """The image that a deployment stands for."""
    envs = (found.get("config") or {}).get("envs") or []
    return next((str(one.get("value")) for one in envs if one["name"] == WHICH), found["bento"])
