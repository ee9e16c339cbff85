"""``gatehouse github keys COMMAND…``: one step of a release, with keys that end with it.

The environment may have DEPLOY_SSH_KEY and SSH_KNOWN_HOSTS (they go to an agent, for hosts of
ssh://), REGISTRY_PASSWORD and REGISTRY_USER (docker logs in where IMAGE_REPOSITORY is), and
KUBECONFIG and SIGNING_KEY (files, which KUBECONFIG and KEY then name). The command sees none of
these texts. Where it fails, its last words become the output ``why`` of the step.
``keys(command)`` is all of it, and needs no environment.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

from gatehouse.core.console import relayed
from gatehouse.core.errors import BROKEN, INFRASTRUCTURE, Stop

FILES = {"SIGNING_KEY": "KEY", "KUBECONFIG": "KUBECONFIG"}  # what names the file
SECRETS = ("DEPLOY_SSH_KEY", "SSH_KNOWN_HOSTS", "REGISTRY_PASSWORD", *FILES)
LINES, WIDTH = 5, 500


def keys(command: list[str]) -> int:
    """Run ``command``; its exit code. Raises ``Stop`` for a secret that cannot be used."""
    with explained(), secret() as environment:
        return run(command, environment)


@contextmanager
def explained() -> Iterator[None]:
    """What ends the step in a ``Stop`` becomes its output ``why``."""
    try:
        yield
    except Stop as stop:
        output("why", str(stop))
        raise


@contextmanager
def secret() -> Iterator[dict[str, str]]:
    """The environment of the command; what lies on the disk or in an agent ends with it."""
    given = {name: os.environ.get(name, "").strip() for name in SECRETS}
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    place = os.environ.get("RUNNER_TEMP")
    with tempfile.TemporaryDirectory(dir=place, prefix="keys-") as name, ExitStack() as stack:
        folder = Path(name)
        for secret, variable in FILES.items():
            if given[secret]:
                environment[variable] = private(folder / secret, f"{given[secret]}\n")
        if given["DEPLOY_SSH_KEY"]:
            if not given["SSH_KNOWN_HOSTS"]:
                fix = "set the variable to what `ssh-keyscan HOST` prints"
                raise Stop(
                    "ssh-hosts-unset",
                    f"SSH_KNOWN_HOSTS is empty, so any host could pose as ours: {fix}",
                )
            environment["SSH_AUTH_SOCK"] = stack.enter_context(_agent(given["DEPLOY_SSH_KEY"]))
            environment["PATH"] = f"{_ssh(folder, given['SSH_KNOWN_HOSTS'])}:{os.environ['PATH']}"
        if given["REGISTRY_PASSWORD"]:
            environment["DOCKER_CONFIG"] = _login(folder / "docker", given["REGISTRY_PASSWORD"])
        yield environment


def run(command: list[str], environment: dict[str, str]) -> int:
    """Show what the command says as it comes."""
    last: deque[str] = deque(maxlen=LINES)

    def keep(line: bytes) -> None:
        # What make says at the end is that its command failed.
        if line.strip() and not line.startswith(b"make"):
            last.append(line.decode("utf-8", "replace").rstrip()[:WIDTH])

    try:
        code = relayed(command, keep, environment)
    except OSError as error:
        raise Stop("program-failed", f"{' '.join(command[:1]) or 'no command'}: {error}") from None
    if code:
        output("why", "\n".join(last) or f"exit code {code}")
    return code


def output(name: str, value: str) -> None:
    """An output of the step, whatever it holds."""
    if path := os.environ.get("GITHUB_OUTPUT"):
        end = token_hex()  # which no value can know
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def summary(text: str) -> None:
    """Add to what the page of the run shows."""
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
        file.write(text)


def private(path: Path, text: str) -> str:
    """Write a new file that nobody else may read; its path."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    return str(path)


@contextmanager
def _agent(key: str) -> Iterator[str]:
    # In a folder of its own: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
        socket = f"{folder}/agent"
        with subprocess.Popen(
            ["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL
        ) as agent:
            try:
                for _ in range(100):
                    if Path(socket).exists():
                        break
                    time.sleep(0.05)
                environment = os.environ | {"SSH_AUTH_SOCK": socket}
                _ask(["ssh-add", "-q", "-"], key + "\n", "DEPLOY_SSH_KEY is no key", environment)
                yield socket
            finally:
                agent.terminate()


def _ssh(folder: Path, hosts: str) -> str:
    """A folder with an ssh that knows these hosts and no other; docker calls it, too."""
    known, program = folder / "known_hosts", folder / "bin/ssh"
    known.write_text(hosts + "\n", encoding="utf-8")
    program.parent.mkdir()
    options = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o BatchMode=yes"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    return str(program.parent)


def _login(folder: Path, password: str) -> str:
    """A folder for docker, which writes down there that it has logged in."""
    folder.mkdir()
    usual = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if usual.exists():
        shutil.copyfile(usual, folder / usual.name)
    registry = os.environ.get("IMAGE_REPOSITORY", "").partition("/")[0]
    words = ["docker", "login", registry, "--password-stdin"]
    words += ["--username", os.environ.get("REGISTRY_USER", "")]
    _ask(words, password, f"no login to {registry}", os.environ | {"DOCKER_CONFIG": str(folder)})
    return str(folder)


def _ask(words: list[str], given: str, what: str, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            words, input=given, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Stop(
            "program-missing", f"{words[0]} is not here: install it", INFRASTRUCTURE
        ) from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Stop("secret-wrong", f"{what} ({said}): correct the secret", BROKEN)
