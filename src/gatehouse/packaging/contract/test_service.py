"""The service answers as offline, and as its OpenAPI page says.

``SERVICE`` is one that runs already, as http://… (the built image), or a Bento that was built;
else the model is served as it lies here.
"""

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

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from gatehouse.core.config.results import Blessing, Golden, dump, read_result
from gatehouse.core.layout import BLESSING, GOLDEN

PROGRAMS = Path(".venv-serve/bin").absolute()
SERVICE = os.environ.get("SERVICE", "")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if SERVICE.startswith("http://"):
        yield SERVICE
        return
    if not PROGRAMS.exists():
        pytest.skip("the serve environment is missing: `make setup` first")
    if not read_result(BLESSING, Blessing).blessed:
        pytest.skip("the model is not blessed, so it is not served: see `make gate`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command: list[str | Path]
    folder = Path()
    if SERVICE:
        folder = tmp_path_factory.mktemp("elsewhere")  # the Bento has to do without what lies here
        place = ["--host", "127.0.0.1", "--port", str(port)]
        command = [PROGRAMS / "bentoml", "serve", SERVICE, *place]
    else:
        command = [PROGRAMS / "python", "-P", "-m", "gatehouse.serving"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SERVICE")}
    environment |= {"BENTOML_DO_NOT_TRACK": "true", "SERVICE_PORT": str(port)}
    with subprocess.Popen(command, env=environment, cwd=folder) as server:
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
def golden() -> dict[str, Any]:
    """Rows of the test side, and what the pipeline's own model said of them."""
    return dump(read_result(GOLDEN, Golden))


@pytest.fixture(scope="module")
def rows(golden: dict[str, Any]) -> list[dict[str, Any]]:
    return list(golden["rows"])


@pytest.fixture(scope="module")
def page(address: str) -> dict[str, Any]:
    """The OpenAPI page, references and all."""
    with urllib.request.urlopen(f"{address}/docs.json", timeout=120) as answer:
        return dict(json.load(answer))


def test_it_answers_as_offline(address: str, golden: dict[str, Any]) -> None:
    status, answers = post(f"{address}/predict_batch", {"rows": golden["rows"]})
    assert status == 200
    for answer, offline in zip(answers, golden["answers"], strict=True):
        assert answer["model_digest"] == golden["model_digest"]
        if "probabilities" in offline:
            assert answer["prediction"] == offline["prediction"]
            assert answer["probabilities"] == pytest.approx(offline["probabilities"], abs=1e-5)
        else:
            assert answer["prediction"] == pytest.approx(offline["prediction"])


@pytest.mark.parametrize("path", ["/predict", "/predict_batch"])
def test_requests_and_answers_are_as_the_page_says(
    path: str, address: str, page: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    said = page["paths"][path]["post"]
    parts = (said["requestBody"], said["responses"]["200"])
    schemas = [part["content"]["application/json"]["schema"] for part in parts]
    shared = {"components": page["components"]}  # where the references lead
    asked, told = (Draft202012Validator(schema | shared) for schema in schemas)
    body: Any = rows[0] if path == "/predict" else {"rows": rows}
    assert not list(asked.iter_errors(body))
    status, answer = post(f"{address}{path}", body)
    assert status == 200
    assert not list(told.iter_errors(answer))
    # What the page refuses, the service refuses.
    wrong: Any = {**rows[0], "no such column": 1} if path == "/predict" else {"rows": []}
    assert list(asked.iter_errors(wrong))
    assert 400 <= post(f"{address}{path}", wrong)[0] < 500


def test_one_row_is_the_body(address: str, rows: list[dict[str, Any]]) -> None:
    status, answer = post(f"{address}/predict", rows[0])
    assert status == 200
    assert answer == post(f"{address}/predict_batch", {"rows": rows[:1]})[1][0]


def test_an_unknown_column_is_refused_by_name(address: str, rows: list[dict[str, Any]]) -> None:
    status, answer = post(f"{address}/predict", {**rows[0], "no such column": 1})
    assert status == 422
    assert "no such column" in json.dumps(answer)


def test_the_page_describes_every_column(page: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    described = json.dumps(page, ensure_ascii=False)
    assert all(json.dumps(name, ensure_ascii=False) in described for name in rows[0])
