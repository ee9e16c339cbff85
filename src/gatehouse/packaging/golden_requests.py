"""Golden requests: a service must answer them exactly as the model did offline."""

import http.client
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.config.results import Golden, dump, read_result
from gatehouse.core.errors import CLOSED, Stop

CLOSE = 1e-5  # float32 sums, in another order
HEADERS = {"Content-Type": "application/json"}


def read_golden(path: Path, *, old: bool = False) -> dict[str, Any]:
    """Rows and answers of a model; Stop where they are damaged or empty.

    ``old``: of a release, which an older library may have made.
    """
    golden = read_result(path, Golden, old=old)
    if not golden.rows or len(golden.rows) != len(golden.answers):
        raise Stop("golden-missing", f"{path} holds no golden requests: run `make pipeline`")
    return dump(golden)


def ask(
    address: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] = HEADERS,
    wait: float = 30,
) -> tuple[int, bytes]:
    """Status and body of one request over a connection of its own; OSError where none is had."""
    place = urlsplit(address)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.netloc, timeout=wait)
    try:
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, place.path.rstrip("/") + path, data, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(type(error).__name__) from None
    finally:
        connection.close()


def wait_ready(address: str, seconds: float) -> float:
    """Seconds until ``/readyz`` says yes; Stop (1) where it does not within ``seconds``."""
    start, said = time.monotonic(), "nothing"
    while (taken := time.monotonic() - start) < seconds:
        try:
            status, _ = ask(address, "/readyz", wait=5)
            if status == 200:
                return taken
            said = f"status {status}"
        except OSError as error:
            said = str(error) or type(error).__name__
        time.sleep(0.05)
    raise Stop(
        "service-not-ready", f"the service is not ready after {seconds:g} s ({said})", CLOSED
    )


def wrong(address: str, golden: Mapping[str, Any], headers: Mapping[str, str] = HEADERS) -> str:
    """Where the answers are not those of offline, a sentence; else nothing."""
    try:
        status, body = ask(address, "/predict_batch", {"rows": golden["rows"]}, headers)
        answers = json.loads(body) if status == 200 else None
    except (OSError, ValueError) as error:
        return f"golden requests got no answer ({error})"
    if not isinstance(answers, list) or len(answers) != len(golden["answers"]):
        return f"golden requests were answered with status {status}"
    for number, (answer, offline) in enumerate(zip(answers, golden["answers"], strict=True)):
        if not isinstance(answer, dict) or answer.get("model_digest") != golden["model_digest"]:
            return "golden requests were answered by another model"
        if not same(answer, offline):
            said = {key: answer.get(key) for key in offline}
            return f"golden request {number} was answered with {said}, offline it is {offline}"
    return ""


def same(answer: Any, offline: Any) -> bool:
    """Whether all of ``offline`` stands in ``answer``, numbers as near as float32 has them."""
    if isinstance(offline, dict):
        return isinstance(answer, dict) and all(same(answer.get(k), v) for k, v in offline.items())
    if isinstance(offline, float) and isinstance(answer, int | float):
        return math.isclose(answer, offline, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(answer == offline)
