"""The inference log of the service as production runs it: stopped, killed, without room, shipped."""

import http.client
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from projects import PROJECT, small_project
from serving import schema_of
from test_service_process import BODY, JSON, SERVE, SOURCES, Service, ended_with, project, started

from gatehouse.core.environments import blocks
from gatehouse.core.project import Project

pytestmark = pytest.mark.slow

__all__ = ["project"]  # the fixture: a project with a blessed model, and what serves it


class Asker:
    """Clients that name each request, and note when it was answered."""

    def __init__(self, service: Service, clients: int = 4) -> None:
        self.answered: dict[str, float] = {}
        self._service, self._stop = service, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(k,), daemon=True) for k in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=20)
        count = 0
        while not self._stop.is_set():
            count += 1
            name = f"c{client}-{count}"
            try:
                connection.request("POST", "/predict", BODY, JSON | {"X-Request-Id": name})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered[name] = time.monotonic()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)

    def stop(self) -> dict[str, float]:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        return self.answered


def ids(folder: Path) -> list[str]:
    """Of all whole lines; a torn one has no end."""
    found = []
    for path in sorted(folder.glob("*/*.jsonl")):
        found += [json.loads(line)["id"] for line in path.read_bytes().split(b"\n")[:-1]]
    return found


def look(folder: Path) -> Any:
    records = importlib.import_module("gatehouse.monitoring.records")
    now = datetime.now(UTC) + timedelta(minutes=1)
    return records.read(
        Project(), str(folder), now - timedelta(hours=1), now, schema_of("binary"), version=""
    )


def test_no_folder_no_log(project: BakedProject, tmp_path: Path) -> None:
    with started(project) as service:
        assert service.ask("POST", "/predict", BODY)[0] == 200
        assert b"service_log" not in service.ask("GET", "/metrics")[2]
    with started(project, log_folder=tmp_path / "log") as service:
        assert service.ask("POST", "/predict", BODY)[0] == 200
        time.sleep(1)
        assert len(ids(tmp_path / "log")) == 1
        assert (
            b'service_log_records_total{outcome="written"} 1' in service.ask("GET", "/metrics")[2]
        )


def test_sigterm_under_load_loses_no_record(project: BakedProject, tmp_path: Path) -> None:
    with started(project, log_folder=tmp_path, drain_seconds=0.5) as service:
        load = Asker(service)
        time.sleep(2)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
        answered = load.stop()
    assert len(answered) > 200
    logged = ids(tmp_path)
    assert set(answered) <= set(logged)
    assert len(logged) == len(set(logged))
    read = look(tmp_path)
    assert read.table.num_rows == len(logged)
    assert (read.counts["torn"], read.counts["damaged"]) == (0, 0)


def test_sigkill_under_load_loses_no_more_than_the_last_second(
    project: BakedProject, tmp_path: Path
) -> None:
    with started(project, log_folder=tmp_path) as service:
        load = Asker(service)
        time.sleep(3)
        killed = time.monotonic()
        service.process.kill()
        service.process.wait(10)
        answered = load.stop()
    old = {name for name, when in answered.items() if when < killed - 1}
    assert len(old) > 200
    assert old - set(ids(tmp_path)) == set()
    # Had the machine ended, and not only the process, the last line could be half there.
    [path] = tmp_path.glob("*/*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    read = look(tmp_path)
    assert read.counts["torn"] == 1
    assert read.table.num_rows == whole.count(b"\n") - 1


def test_what_a_killed_process_left_is_shipped_by_the_next(
    project: BakedProject, tmp_path: Path
) -> None:
    here, far = tmp_path / "here", tmp_path / "far"
    with started(project, log_folder=here) as service:
        for _ in range(20):
            service.ask("POST", "/predict", BODY)
        time.sleep(1)
        service.process.kill()
        service.process.wait(10)
    with started(project, log_folder=here, log_url=f"file://{far}") as service:
        for _ in range(100):
            if list(far.glob("*/*.jsonl")):
                break
            time.sleep(0.1)
        assert len(ids(far)) == 20
        service.ask("POST", "/predict", BODY)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    # Its own last file went before it did.
    assert sorted(ids(far)) == sorted(ids(here))
    assert len(ids(far)) == 21


def test_a_limit_on_the_size_of_files_loses_nothing(project: BakedProject, tmp_path: Path) -> None:
    limited = [
        "prlimit",
        "--fsize=60000",
        *SERVE,
    ]
    with started(project, *limited, log_folder=tmp_path, drain_seconds=0) as service:
        for k in range(300):
            assert service.ask("POST", "/predict", BODY)[0] == 200
            time.sleep(0.01 if k % 10 else 0.1)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
        assert service.process.stderr is not None
        assert "cannot be written (File too large); answers go on" in service.process.stderr.read()
    assert len(ids(tmp_path)) == 300
    assert len(list(tmp_path.glob("*/*.jsonl"))) > 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_no_answer_and_is_written_again(
    project: BakedProject, small: Path
) -> None:
    filler = small / "filler"
    with started(project, log_folder=small, drain_seconds=0) as service:
        filler.write_bytes(b"x" * 200_000)
        for _ in range(300):
            assert service.ask("POST", "/predict", BODY)[0] == 200
        time.sleep(1)
        full = len(ids(small))
        assert full < 300
        filler.unlink()
        for _ in range(100):
            if len(ids(small)) == 300:
                break
            time.sleep(0.1)
        assert len(ids(small)) == 300
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
        assert service.process.stderr is not None
        said = service.process.stderr.read()
    assert said.count("cannot be written (No space left on device)") == 1
    assert said.count("is written again") == 1
    assert look(small).counts["damaged"] == 0


def test_a_start_that_could_not_log_is_refused(project: BakedProject, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ended_with(project, SERVICE_LOG_FOLDER=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "SERVICE_LOG_FOLDER" in done.stderr and len(done.stderr.splitlines()) == 1
    done = ended_with(project, SERVICE_LOG_FOLDER=str(tmp_path), SERVICE_LOG_URL="s3://bucket/log")
    assert done.returncode == 2
    assert "what reaches s3:// is not here; add fsspec" in done.stderr


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket ``records``; the servers of one process share what they hold."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket("records")
    made.create()
    yield made
    server.stop()


def test_files_go_to_a_bucket_and_are_read_from_there(
    project: BakedProject, bucket: Any, tmp_path: Path
) -> None:
    # As `s3fs` in requirements/serve.in would have it; pandas and pyarrow are what reads.
    lock = (PROJECT / "requirements/serve.txt").read_text()
    version = lock.split("fsspec==")[1].split()[0]
    python = tmp_path / "venv/bin/python"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True
    )
    locked = "".join(lines for name, lines in blocks(lock).items() if name != "gatehouse-ml")
    (tmp_path / "serve.txt").write_text(locked)
    more = [f"s3fs=={version}", "pandas", "pyarrow", "pandera", "jinja2", "typer"]
    (tmp_path / "more.in").write_text("\n".join(more))
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, "--require-hashes", "-r", str(tmp_path / "serve.txt")], check=True)
    subprocess.run([*install, "-r", str(tmp_path / "more.in")], check=True)
    command = ["env", f"PYTHONPATH={SOURCES}", str(python), "-m", "gatehouse.serving"]
    settings = {"log_folder": tmp_path / "log", "log_url": "s3://records/log", "drain_seconds": 0}
    with started(project, *command, **settings) as service:
        for _ in range(10):
            assert service.ask("POST", "/predict", BODY)[0] == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
    [key] = [one.key for one in bucket.objects.filter(Prefix="log/")]
    day, name = key.removeprefix("log/").split("/")
    assert (tmp_path / "log" / day / name).read_bytes().count(b"\n") == 10
    bucket.put_object(
        Key="labels/1.csv", Body=b"id,good\n%b,true\n" % ids(tmp_path / "log")[0].encode()
    )
    environment = os.environ | {"LOG_URL": "s3://records/log", "LABELS_URL": "s3://records/labels"}
    environment["PYTHONPATH"] = SOURCES
    small_project(project.path, "monitor.yaml")
    done = subprocess.run(
        [str(python), "-m", "gatehouse.cli", "log", "--json"], cwd=project.path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert (about["records"], about["days"][0]["labelled"]) == (10, 0.1)
    environment["LOG_URL"] = "s3://no-such-bucket/log"
    environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [str(python), "-m", "gatehouse.cli", "log"], cwd=project.path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "s3://no-such-bucket/log cannot be read" in done.stderr
