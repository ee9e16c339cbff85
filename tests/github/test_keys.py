"""Keys of a release: a command has them as files, and nothing of them stays."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatehouse.cli.run import guarded
from gatehouse.github.keys import keys as run

SECRETS = ("DEPLOY_SSH_KEY", "SSH_KNOWN_HOSTS", "REGISTRY_PASSWORD", "SIGNING_KEY", "KUBECONFIG")
Keys = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Keys:
    """Runs a command with secrets: exit code, what was said, the output ``why``."""

    def keys(*command: str, **given: str) -> tuple[int, str, str]:
        output = tmp_path / "output"
        output.unlink(missing_ok=True)
        (tmp_path / "temp").mkdir(exist_ok=True)
        about = {"GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(tmp_path / "temp")}
        with monkeypatch.context() as patch:
            for name in SECRETS:
                patch.delenv(name, raising=False)
            for name, value in (about | given).items():
                patch.setenv(name, value)
            capfd.readouterr()
            code = guarded("keys", lambda: run(list(command)))
        said = capfd.readouterr()
        assert list((tmp_path / "temp").iterdir()) == [], "nothing stays"
        why = output.read_text(encoding="utf-8") if output.exists() else ""
        return code, said.out + said.err, why

    return keys


def test_the_last_words_of_what_failed_are_kept_and_those_of_make_are_not(keys: Keys) -> None:
    script = "echo one; echo two >&2; echo 'make: *** [x] Error 1'; exit 3"
    code, said, why = keys("sh", "-c", script)
    assert (code, said.splitlines()[:2]) == (3, ["one", "two"])
    head, *lines, end = why.splitlines()
    assert (head, lines) == (f"why<<{end}", ["one", "two"])
    assert keys("sh", "-c", "echo fine") == (0, "fine\n", "")
    assert keys("no-such-program")[0] == 2


def test_a_command_has_files_and_none_of_the_secrets(keys: Keys) -> None:
    script = 'env; cat "$KEY" "$KUBECONFIG"; stat -c %a "$KEY"'
    code, said, _ = keys("sh", "-c", script, SIGNING_KEY="signs", KUBECONFIG="reaches")
    assert code == 0
    assert said.splitlines()[-3:] == ["signs", "reaches", "600"]
    assert "SIGNING_KEY=" not in said


def test_docker_is_logged_in_for_the_command_alone(keys: Keys, tmp_path: Path) -> None:
    fake = tmp_path / "bin/docker"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@" > "$DOCKER_CONFIG/said"; cat >> "$DOCKER_CONFIG/said"\n')
    fake.chmod(0o755)
    given = {"IMAGE_REPOSITORY": "ghcr.io/acme/widget", "REGISTRY_USER": "mona"}
    given |= {"REGISTRY_PASSWORD": "hunter2", "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    _, said, _ = keys("sh", "-c", 'cat "$DOCKER_CONFIG/said"', **given)
    assert said == "login ghcr.io --password-stdin --username mona\nhunter2"
    fake.write_text("#!/bin/sh\necho denied >&2; exit 1\n")
    code, said, why = keys("true", **given)
    assert code == 2
    assert "no login to ghcr.io (denied): correct the secret" in said
    assert "no login to ghcr.io" in why
    assert "hunter2" not in said + why


def test_a_key_without_known_hosts_or_that_is_none_is_refused(keys: Keys) -> None:
    code, said, _ = keys("true", DEPLOY_SSH_KEY="key")
    assert code == 2
    assert "SSH_KNOWN_HOSTS is empty" in said
    code, said, _ = keys("true", DEPLOY_SSH_KEY="key", SSH_KNOWN_HOSTS="host ssh-ed25519 AAAA")
    assert code == 2
    assert "DEPLOY_SSH_KEY is no key" in said


@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="needs sshd and its ssh")
def test_a_host_is_reached_by_ssh_if_it_is_the_one_we_know(
    keys: Keys, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with sshd(tmp_path_factory.mktemp("host")) as (address, key, known):
        given = {"DEPLOY_SSH_KEY": key, "SSH_KNOWN_HOSTS": known}
        code, said, _ = keys("ssh", address, "echo here", **given)
        assert (code, said) == (0, "here\n")
        other = {"SSH_KNOWN_HOSTS": known.rpartition(" ")[0] + " " + impostor(tmp_path)}
        code, said, _ = keys("ssh", address, "echo here", **given | other)
        assert code == 255
        assert "here" not in said
        assert "HOST KEY VERIFICATION FAILED" in said.upper()


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[str, str, str]]:
    """A server of our own: its address, a key that it takes, and its line of known_hosts."""
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    folder.chmod(0o700)
    shutil.copy(folder / "user.pub", folder / "allowed")
    Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/allowed\nStrictModes no\nUsePAM no\n"
    )
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=-3)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        host = (folder / "host.pub").read_text().rsplit(" ", 1)[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
        address = f"ssh://{user.strip()}@127.0.0.1:{port}"
        yield address, (folder / "user").read_text(), f"[127.0.0.1]:{port} {host}"
    finally:
        process.terminate()
        process.wait()


def impostor(folder: Path) -> str:
    """The public half of another host's key."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")]
    subprocess.run(words, check=True)
    return (folder / "other.pub").read_text().split()[1]
