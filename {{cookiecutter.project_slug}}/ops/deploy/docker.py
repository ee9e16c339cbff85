"""Calls to a Docker engine through its command line."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..console import BROKEN, INFRASTRUCTURE, Stop


def docker(*words: str, host: str = "", **variables: str) -> str:
    """Standard output of a docker command on ``host``, with these environment variables."""
    environment = os.environ | variables | ({"DOCKER_HOST": host} if host else {})
    try:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, check=False, env=environment
        )
    except FileNotFoundError:
        raise Stop("docker is not here: install it", INFRASTRUCTURE) from None
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:]
        lost = "Cannot connect" in said or "error during connect" in said
        raise Stop(f"docker {words[0]} fails ({said})", INFRASTRUCTURE if lost else BROKEN)
    return done.stdout


def inspect(what: str, host: str = "") -> dict[str, Any]:
    """What the engine knows about a container or an image."""
    [found] = json.loads(docker("inspect", what, host=host))
    return dict(found)


@contextmanager
def alone(image: str, host: str = "") -> Iterator[str]:
    """The address of one container of ``image`` that gets no traffic."""
    words = ["--publish", "127.0.0.1::3000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    name = docker("run", "--detach", *words, image, host=host).strip()
    try:
        yield "http://" + docker("port", name, "3000/tcp", host=host).split()[0]
    finally:
        docker("rm", "--force", name, host=host)
