"""The target ``compose`` on a real Docker engine, with images that are healthy or not.

The service in them is a stand-in of a few lines with the health check and the user of the real one;
everything around it is real. Asks the engine of DOCKER_HOST; the images are made of BASE_IMAGE,
which needs a python3.
"""

import json
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import eventually, free_port, program

pytestmark = pytest.mark.slow

BASE = os.environ.get("BASE_IMAGE", "base:1")
NAME = "gh-kube-service"
LABELS = ("project=gh-kube-flights-laptop", "service=service")

SERVICE = """\
import http.server, os, sys
how = os.environ["HOW"]
if how == "crash":
    sys.exit(7)
if how == "greedy":
    x = bytearray(2 << 30)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if how == "unhealthy" else 200)
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())

http.server.ThreadingHTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
"""
CHECK = "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"
DOCKERFILE = f"""\
FROM {BASE}
ARG HOW=good
ARG VERSION=1
ENV HOW=$HOW VERSION=$VERSION
COPY service.py /service.py
USER 10001
STOPSIGNAL SIGKILL
HEALTHCHECK --interval=1s --retries=3 CMD ["python3", "-c", "{CHECK}"]
ENTRYPOINT ["python3", "/service.py"]
"""


def docker(*words: str, code: int | None = 0) -> str:
    variables = os.environ | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=False, env=variables
    )
    assert code is None or done.returncode == code, done.stderr
    return done.stdout if done.returncode == 0 else ""


def need(found: str, reason: str) -> None:
    """Skip loudly, fail in CI, where something is not there."""
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Makes an image that does what is asked; all are removed in the end."""
    try:
        engine = docker("version", "--format", "{{.Server.Version}}", code=None)
    except FileNotFoundError:
        engine = ""
    need(engine, "no Docker engine is here: start one, or set DOCKER_HOST")
    need(docker("compose", "version", code=None), "docker compose is not installed")
    need(docker("image", "ls", "--quiet", BASE), f"the engine has no {BASE}: set BASE_IMAGE")
    folder = tmp_path_factory.mktemp("image")
    (folder / "service.py").write_text(SERVICE, encoding="utf-8")
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    made: list[str] = []

    def make(how: str, version: str, name: str = "") -> str:
        made.append(name or f"{NAME}:{how}{version}")
        build = ["--build-arg", f"HOW={how}", "--build-arg", f"VERSION={version}"]
        docker("build", "--quiet", "--tag", made[-1], *build, str(folder))
        return made[-1]

    yield make
    for name in made:
        docker("image", "rm", "--force", name, code=None)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real registry on this machine."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    content = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(content), encoding="utf-8")
    command = [program("docker-registry"), "serve", str(folder / "config.yml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: listens(port))
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            for image in docker("image", "ls", "--quiet", f"127.0.0.1:{port}/gh-kube").split():
                docker("image", "rm", "--force", image)


class Laptop:
    """The project of Compose under test."""

    def __init__(self, images: Callable[..., str]) -> None:
        self.images, self.port, self.steps = images, free_port(), list[str]()

    def target(self, **settings: Any) -> Any:
        from gatehouse.core.config.deploy import Environment
        from gatehouse.deploy.compose import Compose

        return Compose(
            Environment(
                name="laptop",
                target="compose",
                host=settings.pop("host", ""),
                port=self.port,
                replicas=1,
                project="gh-kube-flights",
                proxy="",
                settings={"timeout": 30} | settings,
            )
        )

    def apply(self, image: str, **settings: Any) -> tuple[int, str]:
        """Code and sentence of a deploy; 0 where it is good."""
        from gatehouse.core.errors import Stop

        try:
            self.target(**settings).apply(image, self.steps.append)
        except Stop as stop:
            return stop.exit_code, str(stop)
        return 0, ""

    def asked(self) -> str:
        """What the service answers."""
        with (
            self.target().front() as address,
            urllib.request.urlopen(address, timeout=5) as answer,
        ):
            return str(answer.read().decode())

    def containers(self) -> list[str]:
        filters = [f"--filter=label=com.docker.compose.{label}" for label in LABELS]
        return docker("ps", "--all", "--quiet", *filters).split()


@pytest.fixture
def laptop(
    images: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Laptop]:
    monkeypatch.chdir(tmp_path)
    # As `make` may hand them on; they must not decide what is deployed.
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("IMAGE", "nobody/asked:1")
    one = Laptop(images)
    yield one
    for container in one.containers():
        docker("rm", "--force", "--volumes", container)
    docker("network", "rm", "gh-kube-flights-laptop_default", code=None)


def test_one_then_the_other_then_again(laptop: Laptop) -> None:
    first, second = laptop.images("good", "1"), laptop.images("good", "2")
    assert laptop.target().running() is None
    assert laptop.apply(first) == (0, "")
    assert laptop.asked() == "1"
    image, healthy, wanted, since = laptop.target().running()
    assert (image, healthy, wanted) == (first, 1, 1)
    assert since.endswith("Z")
    assert laptop.apply(second) == (0, "")
    assert laptop.asked() == "2"
    before = laptop.containers()
    assert laptop.apply(second) == (0, "")
    assert laptop.containers() == before
    assert laptop.steps


def test_it_is_locked_in(laptop: Laptop) -> None:
    assert laptop.apply(laptop.images("good", "1")) == (0, "")
    [container] = laptop.containers()
    inside = json.loads(docker("inspect", container))[0]
    host = inside["HostConfig"]
    assert inside["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == 512 * 2**20
    assert {one["HostIp"] for ports in host["PortBindings"].values() for one in ports} == {
        "127.0.0.1"
    }
    write = "import pathlib; pathlib.Path('{}').write_text('x')"
    docker("exec", container, "python3", "-c", write.format("/tmp/x"))
    docker("exec", container, "python3", "-c", write.format("/x"), code=1)
    held = docker("exec", container, "python3", "-c", "print(open('/proc/self/status').read())")
    assert "CapEff:\t0000000000000000" in held
    assert "NoNewPrivs:\t1" in held


@pytest.mark.parametrize(
    ("how", "words"),
    [
        # Whichever of the two it is doing when the engine is asked.
        ("crash", r"(it ends with exit code 7|it ended and was started again, \d+ times)"),
        ("unhealthy", "it is unhealthy"),
    ],
)
def test_the_one_before_is_put_back(laptop: Laptop, how: str, words: str) -> None:
    good, bad = laptop.images("good", "1"), laptop.images(how, "2")
    assert laptop.apply(good) == (0, "")
    code, said = laptop.apply(bad)
    assert code == 1
    pattern = f"{bad} does not become healthy: {words}; {good} serves again"
    assert re.fullmatch(pattern, said), said
    assert laptop.asked() == "1"
    assert laptop.target().running()[:3] == (good, 1, 1)


def test_too_much_memory_is_said(laptop: Laptop) -> None:
    code, said = laptop.apply(laptop.images("greedy", "1"))
    assert code == 1
    assert "out of memory" in said or "it ended and was started again" in said
    assert "there was none before it, and it was removed" in said
    assert laptop.target().running() is None
    assert laptop.containers() == []


def test_under_the_same_name_it_goes_back_to_the_image_it_was(laptop: Laptop) -> None:
    name = laptop.images("good", "1", f"{NAME}:latest")
    assert laptop.apply(name) == (0, "")
    laptop.images("crash", "2", name)
    assert laptop.apply(name)[0] == 1
    assert laptop.asked() == "1"


def test_by_digest_from_a_registry_and_back(laptop: Laptop, registry: str) -> None:
    digests = {}
    for how, version in (("good", "1"), ("crash", "2")):
        name = laptop.images(how, version, f"{registry}/gh-kube:{version}")
        docker("push", "--quiet", name)
        said = json.loads(docker("image", "inspect", name))[0]["RepoDigests"]
        [digests[how]] = [one for one in said if one.startswith(f"{registry}/gh-kube@")]
        docker("image", "rm", name)
    assert laptop.apply(digests["good"]) == (0, "")
    assert laptop.steps[0] == f"fetching {digests['good']}"
    assert laptop.target().running()[:3] == (digests["good"], 1, 1)
    code, said = laptop.apply(digests["crash"])
    assert (code, said.endswith(f"{digests['good']} serves again")) == (1, True)
    assert laptop.target().running()[:3] == (digests["good"], 1, 1)
    assert laptop.asked() == "1"


def test_an_image_that_cannot_be_fetched_stops_nothing(laptop: Laptop) -> None:
    good = laptop.images("good", "1")
    assert laptop.apply(good) == (0, "")
    before = laptop.containers()
    code, said = laptop.apply("127.0.0.1:9/flights@sha256:" + "0" * 64)
    assert code in (2, 3)
    assert "127.0.0.1:9" in said
    assert laptop.containers() == before
    assert laptop.asked() == "1"


def test_no_engine(laptop: Laptop) -> None:
    from gatehouse.core.errors import Stop

    code, said = laptop.apply("any:1", host="tcp://127.0.0.1:9")
    assert code == 3, said
    with pytest.raises(Stop) as stop:
        laptop.target(host="tcp://127.0.0.1:9").running()
    assert stop.value.exit_code == 3


def test_no_compose(laptop: Laptop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = subprocess.run(["which", "docker"], capture_output=True, text=True, check=True).stdout
    fake = tmp_path / "docker"
    fake.write_text(f'#!/bin/sh\n[ "$1" != compose ] || exit 1\nexec {real.strip()} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    code, said = laptop.apply("any:1")
    assert (code, said.startswith("`docker compose` is not here")) == (3, True)


def test_a_port_that_is_taken_is_said(laptop: Laptop) -> None:
    good, other = laptop.images("good", "1"), laptop.images("good", "2")
    assert laptop.apply(good) == (0, "")
    old = laptop.port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        laptop.port = taken.getsockname()[1]
        code, said = laptop.apply(other)
    assert code == 1
    assert "already in use" in said
    laptop.port = old
    assert laptop.apply(good) == (0, "")
    assert laptop.asked() == "1"


def test_one_alone_is_no_part_of_it(laptop: Laptop) -> None:
    good, next_one = laptop.images("good", "1"), laptop.images("good", "2")
    assert laptop.apply(good) == (0, "")
    with laptop.target().alone(next_one) as address:

        def answers() -> str:
            try:
                return str(urllib.request.urlopen(address, timeout=2).read().decode())
            except OSError:
                return ""

        assert eventually(answers) == "2"
        assert laptop.asked() == "1"
    assert laptop.target().running().image == good
