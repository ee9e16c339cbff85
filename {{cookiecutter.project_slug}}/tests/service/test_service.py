import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from {{ cookiecutter.package_name }} import model as store

BENTOML = Path(".venv-serve/bin/bentoml")


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    if not BENTOML.exists():
        pytest.skip("the serve environment is missing: `make setup` first")
    if not json.loads((built / "blessing.json").read_text(encoding="utf-8"))["blessed"]:
        pytest.skip("the model is not blessed, so it is not served: see `make gate`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [BENTOML, "serve", "src.{{ cookiecutter.package_name }}.service:Service"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "true"}
    with subprocess.Popen(command, env=environment) as server:
        try:
            wait(f"http://127.0.0.1:{port}/readyz", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1500):
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except OSError:
            assert server.poll() is None, "the service ended instead of starting"
            time.sleep(0.2)
    raise AssertionError("the service is not ready after five minutes")


def post(url: str, body: Any) -> tuple[int, Any]:
    data = json.dumps(body, default=str).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def rows(built: Path) -> list[dict[str, Any]]:
    columns = list(store.load(built / "model").columns)
    table = pq.read_table(built / "data/test.parquet", columns=columns).slice(0, 20)
    return [
        {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()}
        for row in table.to_pylist()
    ]


def test_it_answers_as_offline(address: str, rows: list[dict[str, Any]], built: Path) -> None:
    status, answers = post(f"{address}/predict_batch", {"rows": rows})
    assert status == 200
    offline = pq.read_table(built / "predictions/test.parquet").slice(0, len(rows)).to_pylist()
    model = store.load(built / "model")
    for answer, row in zip(answers, offline, strict=True):
        assert answer["model_digest"] == store.digest(built / "model")
        if model.task == "regression":
            assert answer["prediction"] == pytest.approx(row["prediction"])
        else:
            assert store.label_text(answer["prediction"]) == row["prediction"]
            expected = {store.label_text(c): row[f"p_{k}"] for k, c in enumerate(model.classes)}
            assert answer["probabilities"] == pytest.approx(expected)


def test_one_row_is_the_body(address: str, rows: list[dict[str, Any]]) -> None:
    status, answer = post(f"{address}/predict", rows[0])
    assert status == 200
    assert answer == post(f"{address}/predict_batch", {"rows": rows[:1]})[1][0]


def test_an_unknown_column_is_refused_by_name(address: str, rows: list[dict[str, Any]]) -> None:
    status, answer = post(f"{address}/predict", {**rows[0], "no such column": 1})
    assert status == 400
    assert "no such column" in json.dumps(answer)


def test_the_page_describes_every_column(address: str, rows: list[dict[str, Any]]) -> None:
    with urllib.request.urlopen(f"{address}/docs.json", timeout=120) as answer:
        page = answer.read().decode()
    described = json.dumps(json.loads(page), ensure_ascii=False)
    assert all(json.dumps(name, ensure_ascii=False) in described for name in rows[0])
