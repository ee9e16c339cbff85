"""The service as production runs it: one process, told to stop, killed, and treated badly."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from projects import PROJECT, TEMPLATE
from serving import ROW, bless, write_blessing

from gatehouse.core.environments import blocks

pytestmark = pytest.mark.slow

BODY = json.dumps(ROW).encode()
JSON = {"Content-Type": "application/json"}
SERVE = [sys.executable, "-m", "gatehouse.serving"]
SOURCES = str(TEMPLATE / "src")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project with a blessed model."""
    return BakedProject(bless(tmp_path_factory.mktemp("served"), "binary"))


class Service:
    """A running service and its address."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 30) -> Any:
        """(status, headers, body) over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, JSON)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def rss(self) -> int:
        """Kilobytes in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(project: BakedProject, *command: str, **settings: Any) -> Iterator[Service]:
    port = settings.pop("port", None) or free_port()
    words = list(command) or SERVE
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SERVICE")}
    if sys.executable in words:
        environment["PYTHONPATH"] = SOURCES
    environment |= {f"SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"SERVICE_PORT": str(port), "BENTOML_DO_NOT_TRACK": "true"}
    words = [word.replace("PORT", str(port)) for word in words]
    with subprocess.Popen(
        words, cwd=project.path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        service = Service(process, port)
        try:
            wait_for(service)
            yield service
        finally:
            process.kill()


def wait_for(service: Service) -> None:
    for _ in range(600):
        try:
            if service.ask("GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
        assert service.process.poll() is None, "the service ended instead of starting"
    raise AssertionError("the service is not ready")


def ended_with(project: BakedProject, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | settings
    environment |= {"SERVICE_PORT": str(free_port()), "PYTHONPATH": SOURCES}
    return subprocess.run(
        SERVE, cwd=project.path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


class Load:
    """Clients that keep their connections and count what they got until told to stop."""

    def __init__(self, service: Service, clients: int = 8) -> None:
        self.counts: Counter[Any] = Counter()
        self._service, self._stop = service, threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=20)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, JSON)
                answer = connection.getresponse()
                answer.read()
                self.counts[answer.status] += 1
            except (OSError, http.client.HTTPException) as error:
                self.counts[type(error).__name__] += 1
                connection.close()
                time.sleep(0.01)

    def stop(self) -> Counter[Any]:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"
        return self.counts


def test_where_onnx_serves_no_scikit_learn_and_no_pandas_are_installed() -> None:
    locked = blocks((PROJECT / "requirements/serve.txt").read_text())
    assert "onnxruntime" in locked
    assert not {"scikit-learn", "scipy", "pandas", "skops", "bentoml"} & set(locked)


def test_sigterm_under_load_loses_no_request_and_hangs_no_client(project: BakedProject) -> None:
    with started(project, drain_seconds=3) as service:
        load = Load(service)
        time.sleep(1)
        start = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert service.ask("GET", "/readyz")[0] == 503
        assert service.ask("GET", "/livez")[0] == 200
        status, headers, _ = service.ask("POST", "/predict", BODY)
        assert (status, headers["connection"]) == (200, "close")
        # By now whoever balances the load has seen that it is not ready, and sends no more.
        assert set(counts := load.stop()) == {200}, counts
        assert counts[200] > 100
        assert service.process.wait(20) == 0
        assert time.monotonic() - start < 10
        with pytest.raises(ConnectionRefusedError):
            service.ask("GET", "/livez")
        assert service.process.stderr is not None
        assert "SIGTERM, draining for 3 s" in service.process.stderr.read()


def test_a_request_in_flight_at_the_end_of_the_drain_is_answered(project: BakedProject) -> None:
    with (
        started(project, drain_seconds=0.3) as service,
        socket.create_connection(("127.0.0.1", service.port)) as client,
    ):
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + BODY[:10])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        client.sendall(BODY[10:])
        client.settimeout(10)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert service.process.wait(20) == 0


def test_killed_under_load_it_is_gone_at_once_and_back_in_seconds(project: BakedProject) -> None:
    with started(project) as service:
        load = Load(service)
        time.sleep(1)
        service.process.kill()
        assert service.process.wait(10) == -signal.SIGKILL
        counts = load.stop()
        assert counts[200] > 100
        with pytest.raises(ConnectionRefusedError):
            service.ask("GET", "/livez")
        start = time.monotonic()
        with started(project, port=service.port) as again:
            assert again.ask("POST", "/predict", BODY)[0] == 200
            assert time.monotonic() - start < 30


def test_a_body_of_300_mb_is_refused_and_takes_no_memory(project: BakedProject) -> None:
    with started(project) as service:
        service.ask("POST", "/predict", BODY)
        before, size = service.rss(), 300 * 2**20
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.putrequest("POST", "/predict_batch")
        for name, value in (*JSON.items(), ("Content-Length", str(size))):
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for _ in range(size // 2**20):
                connection.send(b" " * 2**20)
        except OSError:
            pass  # refused before the last byte, which is as well
        assert b" 413 " in connection.sock.recv(100)
        connection.close()
        # The same without saying how much will come.
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            client.sendall(head + b"Content-Type: application/json\r\n\r\n")
            try:
                for _ in range(size // 2**20):
                    client.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")
            except OSError:
                pass
        assert service.ask("POST", "/predict", BODY)[0] == 200
        assert service.rss() - before < 64 * 1024


def test_10_000_unknown_addresses_leave_memory_and_counts_as_they_were(
    project: BakedProject,
) -> None:
    with started(project) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)

        def strange(start: int, end: int) -> tuple[int, int]:
            for k in range(start, end):
                connection.request("GET", f"/{k}/{'x' * 200}?{k}={k}")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 404
            lines = len(service.ask("GET", "/metrics")[2].splitlines())
            return lines, service.rss()

        service.ask("GET", "/metrics")
        (lines, before), (lines_after, after) = strange(0, 1000), strange(1000, 11_000)
        assert lines_after == lines
        assert after - before < 2 * 1024


def test_a_head_that_never_ends_is_cut_by_size_and_by_time(project: BakedProject) -> None:
    with started(project) as service:
        before = service.rss()
        with socket.create_connection(("127.0.0.1", service.port)) as large:
            large.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
            with pytest.raises(OSError):
                for _ in range(1000):
                    large.sendall(b"x" * 65536)
                    time.sleep(0.001)
        slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(3)]
        slow[1].sendall(b"GET / HT")
        # A second request on a connection that was fine has to hurry as well.
        slow[2].sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        while not said.endswith(b"ok\n"):
            said += slow[2].recv(4096)
        assert said.startswith(b"HTTP/1.1 200")
        slow[2].sendall(b"GET /livez HTT")
        start = time.monotonic()
        for client in slow:
            client.settimeout(20)
            assert client.recv(4096) == b""
            client.close()
        assert 8 < time.monotonic() - start < 15
        assert service.ask("POST", "/predict", BODY)[0] == 200
        assert service.rss() - before < 32 * 1024


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\x00" * 5000, b"PRI * HTTP/2.0\r\n\r\n"]
)
def test_what_is_no_http_harms_nobody(project: BakedProject, sent: bytes) -> None:
    with started(project) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(sent)
            client.settimeout(20)
            assert b" 200 " not in client.recv(4096)
        assert service.ask("POST", "/predict", BODY)[0] == 200


def test_nothing_a_program_may_send_by_the_page_gives_a_fault(
    project: BakedProject, tmp_path: Path
) -> None:
    """Property-based, from the OpenAPI page: right and wrong requests, each answer as it says."""
    with started(project) as service:
        report = tmp_path / "report.xml"
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            f"http://127.0.0.1:{service.port}/docs.json", "--checks=not_a_server_error,"
            "status_code_conformance,content_type_conformance,response_schema_conformance,"
            "negative_data_rejection", "--mode=all", "--max-examples=100", "--seed=1",
            "--phases=examples,coverage,fuzzing", "--no-color", "--request-timeout=20",
            "--report=junit", f"--report-junit-path={report}",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert 'failures="0"' in report.read_text()
        text = service.ask("GET", "/metrics")[2].decode()
    counts = {
        status: int(float(count))
        for status, count in re.findall(
            r'service_requests_total\{route="/predict",status="(\d+)"\} (\S+)', text
        )
    }
    assert counts["200"] > 20
    assert counts["422"] > 20
    assert "500" not in counts


def test_a_bento_serves_the_same(environments: BakedProject, project: BakedProject) -> None:
    """Packed by BentoML, and unpacked in a folder where nothing else of the project lies."""
    for name in ("requirements", "vendor"):
        shutil.copytree(environments.path / name, project.path / name)
    shutil.copy(environments.path / "pyproject.toml", project.path)
    bentoml = str(environments.path / ".venv-serve/bin/bentoml")
    path = f"PATH={environments.path}/.venv/bin:{os.environ['PATH']}"  # it asks uv
    tag = (
        project.run("env", path, bentoml, "build", "--output", "tag")
        .stdout.split(":", 1)[1]
        .strip()
    )
    [packed] = (project.path.parent / "bentoml/bentos").glob("*/*/src")
    assert f"flight-delays:{packed.parent.name}" == tag.removeprefix("__tag__:")
    assert {path.name for path in packed.iterdir()} >= {"model", "vendor", "blessing.json"}
    [wheel] = packed.glob("vendor/*.whl")
    installed = (packed.parent / "env/python/requirements.txt").read_text()
    digest = sha256(wheel.read_bytes()).hexdigest()
    assert re.search(rf"^\./vendor/{wheel.name} \\\n +--hash=sha256:{digest}$", installed, re.M)
    assert not re.search(r"^gatehouse-ml\b", installed, re.M)
    command = [bentoml, "serve", str(packed.parent), "--port", "PORT", "--host", "127.0.0.1"]
    with started(project, *command) as service:
        with started(project) as plain:
            assert (
                service.ask("POST", "/predict", BODY)[2] == plain.ask("POST", "/predict", BODY)[2]
            )
        assert service.ask("POST", "/predict", b"{}")[0] == 422
        assert service.ask("GET", "/no")[0] == 404
        assert b"service_requests_total" in service.ask("GET", "/metrics")[2]
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(30)
        assert service.process.stderr is not None
        assert "Traceback" not in service.process.stderr.read()


def test_it_does_not_start_with_what_is_wrong(project: BakedProject) -> None:
    said = ended_with(project, SERVICE_RATE="fast")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("service: SERVICE_RATE: ")
    assert len(said.stderr.splitlines()) == 1
    write_blessing(project.path, model_digest="sha256:another")
    said = ended_with(project)
    write_blessing(project.path)
    assert said.returncode == 2
    assert "is not the one that was blessed" in said.stderr
    said = ended_with(project, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert said.returncode == 2
    assert "add opentelemetry-exporter-otlp-proto-http" in said.stderr
