"""The engine of another host: docker, and requests to a container there, over a real ssh."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import free_port
from engine import docker, require_engine

pytestmark = pytest.mark.slow

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv DOCKER_HOST={engine}
"""
CONFIG = """\
Host *
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking accept-new
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ssh://… of this machine, by a server of our own; `ssh` on PATH knows its key."""
    require_engine()
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or os.geteuid() != 0:
        reason = "no sshd is here, or no right to start one: .ci/run installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    about = {"folder": folder, "port": port, "engine": os.environ["DOCKER_HOST"]}
    (folder / "sshd_config").write_text(SSHD.format(**about))
    (folder / "config").write_text(CONFIG.format(**about))
    program = shutil.which("ssh")
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(f'#!/bin/sh\nexec {program} -F {folder}/config "$@"\n')
    (folder / "bin/ssh").chmod(0o755)
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    with subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")]) as server:
        try:
            yield f"ssh://{os.environ.get('USER') or 'root'}@127.0.0.1:{port}"
        finally:
            server.terminate()
            patch.undo()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Something that answers on port 3000."""
    folder = tmp_path_factory.mktemp("answers")
    lines = f"FROM {os.environ['BASE_IMAGE']}\nWORKDIR /usr/share/doc/haproxy\n"
    lines += 'ENTRYPOINT ["python3", "-m", "http.server", "3000"]\n'
    (folder / "Dockerfile").write_text(lines)
    docker("build", "--quiet", "--tag", "answers:1", str(folder))
    return "answers:1"


def test_a_container_there_is_asked_through_a_tunnel(host: str, image: str) -> None:
    from gatehouse.packaging.docker import alone, present, run
    from gatehouse.packaging.golden_requests import ask

    for _ in range(50):
        if not run("version", host=host).returncode:
            break
        time.sleep(0.1)
    assert present(image, host)
    assert not present("no-such-image:1", host)
    with alone(image, host) as container:
        deadline = time.monotonic() + 20
        while True:
            try:
                status, body = ask(container.address, "/", wait=5)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert status == 200
        assert b"Directory listing" in body
    left = docker("ps", "--all", "--quiet", "--filter", f"id={container.id}")
    assert left == ""


def test_what_a_killed_command_left_is_removed_by_the_next(host: str, image: str) -> None:
    from gatehouse.packaging.docker import ALONE, ALONE_SECONDS, alone

    ages = {"old": ALONE_SECONDS + 60, "new": 60}
    left = {
        name: docker("run", "--detach", "--label", f"{ALONE}={time.time() - age:.0f}", image)
        for name, age in ages.items()
    }
    try:
        with alone(image, host):
            there = docker("ps", "--all", "--quiet", "--no-trunc").split()
        assert [name for name, id_ in left.items() if id_ in there] == ["new"]
    finally:
        docker("rm", "--force", *left.values(), code=None)


def test_a_host_that_does_not_answer_is_no_verdict(host: str) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.packaging.docker import docker as ask_docker
    from gatehouse.packaging.docker import reach

    nowhere = f"ssh://root@127.0.0.1:{free_port()}"
    with pytest.raises(Stop, match=r"docker|engine") as stop:
        ask_docker("version", host=nowhere)
    assert stop.value.exit_code == 3
    with pytest.raises(Stop, match=r"ssh to .* failed") as stop, reach(nowhere, 3000):
        pass
    assert stop.value.exit_code == 3


def test_the_tunnel_ends_with_its_use(host: str) -> None:
    from gatehouse.packaging.docker import reach

    with reach(host, 3000) as address:
        assert address.startswith("http://127.0.0.1:")
    said = subprocess.run(
        ["pgrep", "-f", f"ssh.*-L.*{host}"], capture_output=True, text=True, check=False
    )
    assert said.stdout == "", sys.stderr.write(said.stdout)
