"""The bake time: what is read from the counts of the containers, and when it closes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import ROW, Client, bless

from gatehouse.core.project import Project

BUDGET = {"error_rate": 0.01, "p99_ms": 100}
MODEL = "sha256:" + "a" * 64


def seen(requests: float = 1000, errors: float = 0, slow: float = 0, model: str = MODEL) -> Any:
    from gatehouse.deploy.watch import Seen

    buckets = {0.05: requests - slow, 0.1: requests - slow, 0.25: requests, float("inf"): requests}
    return Seen(model, requests, errors, buckets)


@pytest.mark.gate("release", "share of failed requests while it is watched", "open")
@pytest.mark.gate("release", "99th percentile while it is watched", "open")
def test_a_good_release_is_good() -> None:
    from gatehouse.deploy.watch import judge

    assert judge({"1": seen(), "2": seen(errors=10, slow=10)}, MODEL, BUDGET) == ""


@pytest.mark.gate("release", "share of failed requests while it is watched", "closed")
def test_too_many_errors_close_it_over_all_containers() -> None:
    from gatehouse.deploy.watch import judge

    said = judge({"1": seen(), "2": seen(errors=21)}, MODEL, BUDGET)
    assert said == "1.05% of 2000 requests failed, above 1.00%"


@pytest.mark.gate("release", "99th percentile while it is watched", "closed")
def test_too_slow_closes_it() -> None:
    from gatehouse.deploy.watch import judge

    said = judge({"1": seen(slow=21), "2": seen()}, MODEL, BUDGET)
    assert said == "the slowest 1 % of requests took over 100 ms (up to 250 ms)"


def test_one_that_waited_for_a_start_does_not() -> None:
    from gatehouse.deploy.watch import judge

    assert judge({"1": seen(requests=20, slow=1)}, MODEL, BUDGET) == ""
    assert "took over" in judge({"1": seen(requests=20, slow=2)}, MODEL, BUDGET)
    assert "took over" in judge({"1": seen(requests=1, slow=1)}, MODEL, BUDGET)


@pytest.mark.parametrize(
    "replicas",
    [
        {},
        {"1": ("sha256:" + "b" * 64, 1000)},  # the version before
        {"1": (MODEL, 0)},
    ],
)
def test_what_cannot_be_measured_closes_it(replicas: dict[str, tuple[str, int]]) -> None:
    from gatehouse.deploy.watch import judge

    made = {name: seen(requests=n, model=model) for name, (model, n) in replicas.items()}
    assert "tells what it counted" in judge(made, MODEL, BUDGET)


@pytest.mark.parametrize(
    "value", ["", "release: {error_rate: 0.01}", "release: {error_rate: no, p99_ms: 1}"]
)
def test_without_a_budget_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    from gatehouse.deploy.watch import watch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "gates.yaml").write_text(value or "data: {rows_min: 1}")
    said = watch(
        Project(), "http://127.0.0.1:1", {"rows": [], "answers": []}, 1, {}, lambda _: None
    )
    assert "gates.yaml has no release." in said


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Metrics of a real application after two predictions and a refusal, and its model."""
    from gatehouse.core.digests import model_digest
    from gatehouse.serving.server import make_app

    client = Client(make_app(bless(tmp_path, "binary")))
    assert [client.post("/predict", row).status for row in (ROW, ROW, {})] == [200, 200, 422]
    client.get("/readyz")
    yield client.get("/metrics").body.decode(), model_digest(tmp_path / "model")


def test_the_counts_of_the_service_are_understood(
    metrics: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.deploy import watch

    text, model = metrics
    answers = [text, re.sub(r"(?m)^(service_started_seconds) .*$", r"\1 1.5", text), "no metrics"]
    monkeypatch.setattr(watch, "ask", lambda *_, **__: (200, answers.pop(0).encode()))
    replicas: dict[str, Any] = {}
    for _ in range(3):
        watch.look("http://here", {}, replicas)
    assert len(replicas) == 2
    for one in replicas.values():
        assert (one.model, one.requests, one.errors) == (model, 3, 0)
        assert one.buckets[float("inf")] == 3
