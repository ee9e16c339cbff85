"""A Docker engine, its registry, and load: what a release is tested with. scripts/engine.sh starts both."""

import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

WANTED = ("DOCKER_HOST", "REGISTRY", "BASE_IMAGE")


def require_engine() -> None:
    """Skip where no engine was started for the tests; in CI that is a failure."""
    lacking = [name for name in WANTED if not os.environ.get(name)]
    if not lacking:
        return
    said = f"no Docker engine for the tests ({', '.join(lacking)} not set): scripts/engine.sh make test"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


def docker(*words: str, code: int | None = 0, given: str | None = None) -> str:
    """Standard output of a docker command, which must end with ``code`` (None: with any)."""
    done = subprocess.run(
        ["docker", *words],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
    )
    said = f"docker {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert code is None or done.returncode == code, said
    return done.stdout.strip()


def derived(name: str, parent: str, lines: str, files: dict[str, str], folder: Path) -> str:
    """An image on top of ``parent``, pushed; its name by digest. ``lines`` are of a Dockerfile."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(f"FROM {parent}\n{lines}")
    for path, text in files.items():
        (folder / path).write_text(text)
    docker("build", "--quiet", "--tag", name, str(folder))
    docker("push", "--quiet", name)
    found = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", name))
    repository = name.rpartition(":")[0]
    return str(next(each for each in found if each.startswith(f"{repository}@")))


class Load:
    """Requests at a steady rate, half of them over connections that are kept, until it is left."""

    def __init__(self, address: str, body: Any, rate: float = 50, clients: int = 10) -> None:
        self.counts: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self._netloc, self._body = urlsplit(address).netloc, json.dumps(body)
        self._pause, self._stop = clients / rate, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, clients), daemon=True)
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    @property
    def failed(self) -> dict[str, int]:
        return {what: count for what, count in self.counts.items() if what != "200"}

    def _run(self, number: int, clients: int) -> None:
        connection: http.client.HTTPConnection | None = None
        due = time.monotonic() + number * self._pause / clients
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            connection = connection or http.client.HTTPConnection(self._netloc, timeout=30)
            try:
                connection.request(
                    "POST", "/predict", self._body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                said = answer.read()
                self.counts[str(answer.status)] += 1
                if answer.status == 200:
                    self.models[json.loads(said)["model_digest"]] += 1
                keep = number % 2 == 0 and not answer.will_close
            except (OSError, http.client.HTTPException) as error:
                self.counts[type(error).__name__] += 1
                keep = False
            if not keep:
                connection.close()
                connection = None
        if connection:
            connection.close()
