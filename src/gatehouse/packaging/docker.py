"""The Docker engine, by its own command line: here, or by ssh on another host."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple

from gatehouse.core.errors import CLOSED, INFRASTRUCTURE, Stop

PORT = 3000  # of the service, inside
ALONE, ALONE_SECONDS = "gatehouse.alone", 1800  # no command needs one for longer
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL", "--pids-limit", "512"),
    *("--security-opt", "no-new-privileges"),
)
UNREACHABLE = ("Cannot connect to", "error during connect", "permission denied while trying")


class Container(NamedTuple):
    """A container that gets no traffic but ours."""

    id: str
    address: str


def run(
    *words: str, host: str = "", given: IO[bytes] | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A docker command with these environment variables; Stop where there is no engine."""
    environment = os.environ | variables | ({"DOCKER_HOST": host} if host else {})
    try:
        done = subprocess.run(
            ["docker", *words],
            stdin=given or subprocess.DEVNULL,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise Stop(
            "docker-missing",
            "docker is not here: install Docker (https://docs.docker.com/engine/install)",
            INFRASTRUCTURE,
        ) from None
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        where = host or os.environ.get("DOCKER_HOST") or "this machine"
        raise Stop(
            "docker-unreachable",
            f"no Docker engine answers on {where}: start it, then again",
            INFRASTRUCTURE,
        )
    return done


def docker(*words: str, host: str = "", given: IO[bytes] | None = None, **variables: str) -> str:
    """Standard output of a docker command; Stop with its last words where it fails."""
    done = run(*words, host=host, given=given, **variables)
    if done.returncode:
        raise Stop("docker-failed", f"docker {words[0]} failed: {last_words(done)}", INFRASTRUCTURE)
    return done.stdout.strip()


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said at its end."""
    return (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]


def moment(text: str) -> str:
    """A time of the engine's, which has nanoseconds, to the second."""
    return text.partition(".")[0].removesuffix("Z") + "Z"


def patiently(*words: str, host: str = "", tries: int = 3) -> str:
    """As ``docker``, tried again where a registry did not answer."""
    for left in reversed(range(tries)):
        try:
            return docker(*words, host=host)
        except Stop:
            if not left:
                raise
            time.sleep(2 * (tries - left))
    raise AssertionError


@contextmanager
def alone(image: str, host: str = "", options: Sequence[str] = ()) -> Iterator[Container]:
    """One container of ``image``, as hardened as in production, that nobody else is sent to."""
    _sweep(host)
    ours = ("--publish", f"127.0.0.1::{PORT}", "--label", f"{ALONE}={time.time():.0f}")
    id_ = docker("run", "--detach", *HARDENED, *ours, *options, image, host=host)
    try:
        found = run("port", id_, f"{PORT}/tcp", host=host)
        if found.returncode:  # it has none any more
            said = last_words(run("logs", "--tail", "1", id_, host=host))
            raise Stop(
                "image-ends", f"{image} ends as soon as it starts; its last words: {said}", CLOSED
            )
        port = int(found.stdout.splitlines()[0].rpartition(":")[2])
        with reach(host, port) as address:
            yield Container(id_, address)
    finally:
        run("rm", "--force", "--volumes", id_, host=host)


def _sweep(host: str) -> None:
    """Remove what a command left that was killed: nobody else ends it."""
    form = '{{.ID}} {{.Label "' + ALONE + '"}}'
    listed = run("ps", "--all", "--filter", f"label={ALONE}", "--format", form, host=host).stdout
    for id_, started in map(str.split, listed.splitlines()):
        if time.time() - float(started) > ALONE_SECONDS:
            run("rm", "--force", "--volumes", id_, host=host)


@contextmanager
def alone_at(image: str, host: str = "") -> Iterator[str]:
    """The address alone of ``alone``."""
    with alone(image, host) as container:
        yield container.address


def present(image: str, host: str = "") -> bool:
    """Whether the engine has ``image``, or can fetch it."""
    if not run("image", "inspect", image, host=host).returncode:
        return True
    return not run("pull", "--quiet", image, host=host).returncode


@contextmanager
def reach(host: str, port: int) -> Iterator[str]:
    """The address of a port of the engine's host; by a tunnel where that is another machine."""
    if not host.startswith("ssh://"):
        yield f"http://127.0.0.1:{port}"
        return
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mine = free.getsockname()[1]
    there = f"127.0.0.1:{mine}:127.0.0.1:{port}"
    options = ("-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes")
    with subprocess.Popen(["ssh", *options, "-N", "-L", there, host]) as tunnel:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", mine)) == 0:
                        break
                if tunnel.poll() is not None:
                    raise Stop(
                        "ssh-failed", f"ssh to {host} failed: try it by hand", INFRASTRUCTURE
                    )
                time.sleep(0.1)
            yield f"http://127.0.0.1:{mine}"
        finally:
            tunnel.terminate()
