"""Before a server is measured: does it answer as the pipeline's own model does?"""

import json
import math
import urllib.error
import urllib.request
from typing import Any

from common import Trouble
from projects import Project
from servers import Request, Server

TOLERANCE = 1e-5


def post(port: int, request: Request, timeout: float = 60) -> tuple[int, Any]:
    """Status and answer of one request."""
    path, body = request
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")[:300]


def check_answers(server: Server, port: int, project: Project) -> float:
    """The largest difference of a probability over all forms of request; ``Trouble`` if wrong."""
    rows, expected = project.golden["rows"], project.golden["answers"]
    forms = [(server.one([row]), [answer]) for row, answer in zip(rows, expected, strict=True)]
    forms.append((server.many(rows), expected))
    if server.columns:
        forms.append((server.columns(rows), expected))
    worst = 0.0
    for request, answers in forms:
        status, said = post(port, request)
        if status != 200:
            raise Trouble(f"{request[0]} answers {status}: {said}")
        given = server.read(said)
        if len(given) != len(answers):
            raise Trouble(f"{request[0]} gives {len(given)} answers to {len(answers)} rows")
        for got, want in zip(given, answers, strict=True):
            if got["prediction"] != want["prediction"]:
                raise Trouble(f"{request[0]} says {got['prediction']}, not {want['prediction']}")
            for label, value in want["probabilities"].items():
                worst = max(worst, abs(got["probabilities"][label] - value))
    if not worst <= TOLERANCE:
        raise Trouble(f"probabilities are off by {worst:.2g}, more than {TOLERANCE:g}")
    return worst


def refused(server: Server, port: int, project: Project) -> str:
    """How many of some wrong rows it refuses, as ``4 of 5``: what validation its speed includes."""
    row = project.golden["rows"][0]
    columns = project.card["columns"]
    number = next(n for n, c in columns.items() if c["type"] in ("integer", "number"))
    wrong: tuple[dict[str, Any], ...] = (
        {**row, "no such column": 1},
        {name: value for name, value in row.items() if name != number},
        {**row, number: str(row[number])},
        {**row, number: math.nan},
        {**row, number: True},
    )
    if columns[number].get("nullable", True):
        wrong = (wrong[0], *wrong[2:])  # this column may be left out
    count = sum(400 <= post(port, server.one([bad]))[0] < 500 for bad in wrong)
    return f"{count} of {len(wrong)}"
