"""What the steps of cd.yml do, one by one: keys that end, a replay, an audit, an issue."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from gate_files import put
from osv import osv, served

SECRETS = ("DEPLOY_SSH_KEY", "SSH_KNOWN_HOSTS", "REGISTRY_PASSWORD", "SIGNING_KEY", "KUBECONFIG")
Keys = Callable[..., tuple[int, str, str]]


# --- keys -----------------------------------------------------------------------------------------


@pytest.fixture
def keys(science: BakedProject, tmp_path: Path) -> Keys:
    """Runs a command with secrets: exit code, what was said, the output ``why``."""

    def keys(*command: str, **given: str) -> tuple[int, str, str]:
        output = tmp_path / "output"
        output.unlink(missing_ok=True)
        (tmp_path / "temp").mkdir(exist_ok=True)
        about = {"GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(tmp_path / "temp")}
        environment = {k: v for k, v in os.environ.items() if k not in SECRETS} | about | given
        words = [sys.executable, "-m", "ops.github.keys", *command]
        done = subprocess.run(
            words, cwd=science.path, env=environment, capture_output=True, text=True, check=False
        )
        assert list((tmp_path / "temp").iterdir()) == [], "nothing stays"
        why = output.read_text(encoding="utf-8") if output.exists() else ""
        return done.returncode, done.stdout + done.stderr, why

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


# --- replay ---------------------------------------------------------------------------------------


@contextmanager
def service(answers: Callable[[Any], Any]) -> Iterator[str]:
    """A service; ``answers`` gives None for a row that it fails on."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body at once: else the kernel waits 40 ms between them

        def do_GET(self) -> None:
            self.reply(200, {})

        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said = answers(row)
            self.reply(200 if said else 500, said or {})

        def reply(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with served(Handler) as address:
        yield address


def says(share: float) -> dict[str, Any]:
    return {"prediction": share > 0.5, "probabilities": {"true": share, "false": 1 - share}}


def replayed(
    old: Callable[[Any], Any], new: Callable[[Any], Any], rows: Path, capsys: Any
) -> tuple[int, Any]:
    from ops.deploy.replay import replay

    with service(old) as a, service(new) as b:
        code = replay(a, b, rows, as_json=True)
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def rows(here: Path) -> Path:
    path = here / "rows.jsonl"
    path.write_text("".join(f'{{"x": {n}}}\n' for n in range(10)), encoding="utf-8")
    return path


def test_a_replay_counts_what_changed(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = replayed(
        lambda row: says(row["x"] / 10), lambda row: says(row["x"] / 10 + 0.2), rows, capsys
    )
    assert code == 0
    assert (said["requests"], said["compared"], said["changed"]) == (10, 10, 2)
    assert said["largest_difference"] == pytest.approx(0.2)
    assert 0 < said["new_p50_ms"] <= said["new_p99_ms"]
    assert said["old_p50_ms"] > 0


def test_numbers_that_differ_by_a_rounding_have_not_changed(science: BakedProject) -> None:
    from ops.deploy.replay import compare

    said = compare([{"prediction": 1.0}, {"prediction": 2.0}], [{"prediction": 1.0000001}] * 2)
    assert (said["changed"], said["largest_difference"]) == (1, pytest.approx(1.0, rel=1e-5))
    assert compare([None], [None])["largest_difference"] is None


def test_an_answer_that_is_lost_fails_and_one_that_is_won_does_not(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(row: Any) -> Any:
        return says(0.1) if row["x"] < 7 else None

    def every(row: Any) -> Any:
        return says(0.1)

    code, said = replayed(every, some, rows, capsys)
    assert (code, said["lost"], said["won"], said["compared"]) == (1, 3, 0, 7)
    code, said = replayed(some, every, rows, capsys)
    assert (code, said["lost"], said["won"]) == (0, 0, 3)


def test_requests_that_are_none_are_refused(here: Path) -> None:
    from ops.console import Stop
    from ops.deploy.replay import replay

    for text in ("", "3\n", "{\n"):
        (here / "rows.jsonl").write_text(text, encoding="utf-8")
        with pytest.raises(Stop) as stop:
            replay("http://127.0.0.1:9", "http://127.0.0.1:9", here / "rows.jsonl", as_json=False)
        assert stop.value.code == 2


# --- audit ----------------------------------------------------------------------------------------


def audit(here: Path, accepted: str = "") -> int:
    from ops.image.audit import audit

    (here / "gates.yaml").write_text(f"vulnerabilities: {{accepted: {{{accepted}}}}}\n")
    purls = ("pkg:pypi/numpy@2.4.0", "pkg:pypi/uvicorn@0.40.0", "pkg:deb/debian/libc6@2.36")
    put("sbom.json", {"components": [{"purl": purl} for purl in purls]})
    return int(audit(here / "sbom.json"))


def test_a_known_vulnerability_closes_unless_it_is_accepted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with osv({"pkg:pypi/numpy@": ["GHSA-1"]}) as url:
        monkeypatch.setenv("OSV_URL", url)
        assert audit(here) == 1
        said = capsys.readouterr().out
        assert said.startswith("CLOSED: 2 Python packages, 1 known vulnerabilities\n")
        assert "numpy@2.4.0  https://osv.dev/GHSA-1" in said
        assert audit(here, "GHSA-1: no arrays of strangers are read") == 0
        assert "accepted: GHSA-1 (no arrays of strangers are read)" in capsys.readouterr().out
        assert audit(here, "GHSA-2: another") == 1
    with osv({}) as url:
        monkeypatch.setenv("OSV_URL", url)
        assert audit(here) == 0


def test_no_answer_is_no_all_clear(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.console import Stop
    from ops.image import audit as module

    monkeypatch.setenv("OSV_URL", "http://127.0.0.1:9")
    with pytest.raises(Stop) as stop:
        audit(here)
    assert stop.value.code == 3
    with service(lambda _: {"results": []}) as url:
        monkeypatch.setenv("OSV_URL", url)
        with pytest.raises(Stop, match="answered 0 of 2") as stop:
            module.ask(["pkg:pypi/a@1", "pkg:pypi/b@1"])
    assert stop.value.code == 3


# --- the issue ------------------------------------------------------------------------------------


@pytest.fixture
def failing(
    science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[tuple[str, str, Any]]]:
    """The issues that there are, and what is written."""
    from ops.github import issues as module

    issues: list[dict[str, Any]] = []
    written: list[tuple[str, str, Any]] = []

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        written.append((method, path, body))
        return 201, {"html_url": "https://github.com/acme/widget/issues/3"}

    monkeypatch.setattr(module, "call", call)
    monkeypatch.setattr(module, "pages", lambda _: issues)
    about = {"GITHUB_REPOSITORY": "acme/widget", "GITHUB_RUN_ID": "7", "COMMIT": "c" * 40}
    needs = {"image": {"result": "success", "outputs": {}}}
    needs["staging"] = {"result": "failure", "outputs": {"why": "deploy: `x` @everyone\n<b>"}}
    about |= {"GITHUB_SERVER_URL": "https://github.com", "NEEDS": json.dumps(needs)}
    for name, value in about.items():
        monkeypatch.setenv(name, value)
    return issues, written


def test_one_issue_is_opened_and_then_commented_on(failing: Any) -> None:
    from ops.github.release import failed

    marker = "<!-- gatehouse-release -->"

    issues, written = failing
    issues += [
        {"number": 1, "user": {"login": "eve"}, "body": marker},
        {"number": 2, "user": {"login": "github-actions[bot]"}, "body": None},
    ]
    failed()
    method, path, body = written.pop()
    assert (method, path) == ("POST", "repos/acme/widget/issues")
    assert body["body"].startswith(marker)
    assert (
        "**staging failed** ([run](https://github.com/acme/widget/actions/runs/7)" in body["body"]
    )
    assert "```text\ndeploy: 'x' @everyone\n<b>\n```" in body["body"]
    issues.append({"number": 3, "user": {"login": "github-actions[bot]"}, "body": body["body"]})
    failed()
    assert written.pop()[1] == "repos/acme/widget/issues/3/comments"


def test_a_refused_pull_request_is_left_to_a_person(
    failing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ops.github import release
    from ops.release import promote
    from ops.release.record import Record

    said = {"message": "GitHub Actions is not permitted to create or approve pull requests."}

    def refuse(_method: str, _path: str, body: Any = None) -> tuple[int, Any]:
        return (403, said) if body else (200, [])

    digest = "sha256:" + "a" * 64
    made = Record("promote", "x:1", digest, digest, digest, {}, "c" * 40, "Jo", "", "", None, "b")
    monkeypatch.setattr(release, "call", refuse)
    monkeypatch.setattr(promote, "put", lambda *_: (made, True))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    release.propose()
    text = (tmp_path / "summary").read_text(encoding="utf-8")
    link = "https://github.com/acme/widget/compare/environments...release-production?expand=1"
    assert link in text
    assert "not permitted to create" in text
