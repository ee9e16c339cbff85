"""Verb ``replay``: the same requests to two versions, and how their answers differ.

It informs: another model is meant to answer differently. It fails only where the new version has no
answer to what the old one answered.
"""

import http.client
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.config.deploy import environment
from gatehouse.core.console import paint, say
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.layout import GOLDEN
from gatehouse.core.project import Project
from gatehouse.packaging.golden_requests import CLOSE, read_golden, wait_ready

from .rollout import keys
from .targets import target_of

ROUNDS = 200  # as many requests at least, so that latencies say something


def replay(project: Project, old: str, new: str, rows: Path | None, *, as_json: bool) -> int:
    """Compare two environments or addresses; exit 1 where ``new`` fails and ``old`` does not."""
    requests = _rows(rows) if rows else read_golden(project / GOLDEN)["rows"]
    with _address(project, old) as before, _address(project, new) as after:
        if not before or not after:
            say(f"replay: nothing runs in {new if before else old}: there is nothing to compare")
            return GOOD
        rounds = -(-ROUNDS // len(requests))
        said = [_ask(before, requests, rounds), _ask(after, requests, rounds)]
    found = compare(*(answers for answers, _ in said))
    for name, (_, seconds) in zip(("old", "new"), said, strict=True):
        found |= {f"{name}_p50_ms": _at(seconds, 0.5), f"{name}_p99_ms": _at(seconds, 0.99)}
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        sys.stdout.write(_table(old, new, found))
    sys.stdout.flush()
    return CLOSED if found["lost"] else GOOD


def compare(old: Sequence[Any], new: Sequence[Any]) -> dict[str, Any]:
    """Counts over the answers to the same requests; None is no answer."""
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    changes = [a["prediction"] != b["prediction"] and _apart(a, b) > CLOSE for a, b in pairs]
    return {
        "requests": len(old),
        "compared": len(pairs),
        "changed": sum(changes),
        "largest_difference": max((_apart(a, b) for a, b in pairs), default=None),
        "lost": sum(a is not None and b is None for a, b in zip(old, new, strict=True)),
        "won": sum(a is None and b is not None for a, b in zip(old, new, strict=True)),
    }


def _apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Of the probabilities, or of the predicted number; 1 between classes without either."""
    a, b = one.get("probabilities"), other.get("probabilities")
    if isinstance(a, dict) and isinstance(b, dict):
        return max((abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in {*a, *b}), default=0.0)
    a, b = one["prediction"], other["prediction"]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)):
        return abs(float(a) - float(b))
    return float(a != b)


def _ask(address: str, rows: list[Any], rounds: int) -> tuple[list[Any], list[float]]:
    """The answers to each row, and the seconds that each request took."""
    wait_ready(address, 30)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    answers: list[Any] = [None] * len(rows)
    seconds: list[float] = []
    for _ in range(rounds):
        for number, row in enumerate(rows):
            start = time.perf_counter()
            try:
                connection.request("POST", "/predict", json.dumps(row), keys())
                answer = connection.getresponse()
                body = answer.read()
                said = json.loads(body) if answer.status == 200 else None
            except (OSError, ValueError, http.client.HTTPException):
                connection.close()  # and the next request opens it again
                said = None
            seconds.append(time.perf_counter() - start)
            answers[number] = said if isinstance(said, dict) and "prediction" in said else None
    connection.close()
    return answers, seconds


@contextmanager
def _address(project: Project, name: str) -> Iterator[str]:
    """The front of an environment, "" where nothing runs; an address as it is."""
    if name.startswith("http://"):
        yield name
        return
    target = target_of(environment(project, name))
    if target.running() is None:
        yield ""
        return
    with target.front() as address:
        yield address


def _rows(path: Path) -> list[Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise Stop(
            "replay-unreadable",
            f"{path} cannot be read ({error}): one JSON object a line is wanted",
        ) from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Stop("replay-empty", f"{path} holds no requests: one JSON object a line is wanted")
    return rows


def _at(seconds: list[float], share: float) -> float:
    return round(sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] * 1000, 2)


def _table(old: str, new: str, found: dict[str, Any]) -> str:
    word = paint("LOST", "red") if found["lost"] else paint("ANSWERED", "green")
    share = found["changed"] / found["compared"] if found["compared"] else 0.0
    apart = found["largest_difference"]
    lines = [
        f"{word}: {found['requests']} requests to {old} and to {new}",
        f"  changed predictions  {found['changed']} of {found['compared']} ({share:.1%})",
        f"  largest difference   {'none compared' if apart is None else f'{apart:.4g}'}",
        *(
            f"  {of + ' ms':<20} {found[f'old_{of}_ms']:g} -> {found[f'new_{of}_ms']:g}"
            for of in ("p50", "p99")
        ),
        f"  not answered         {found['lost']} that {old} answers; {found['won']} the other way",
    ]
    return "\n".join(lines) + "\n"
