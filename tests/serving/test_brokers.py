"""What a consumer is told of its broker before it asks it; the rest needs a broker."""

import sys
from typing import Any

import pytest


def test_topics_are_called_by_the_project() -> None:
    from gatehouse.serving.brokers import topics

    assert topics("orders") == (
        *("orders", "orders.requests", "orders.predictions", "orders.refused"),
    )


@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
def test_a_client_that_is_not_installed_is_named(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.errors import InputError
    from gatehouse.serving.brokers import link, topics

    async def handle(_: bytes) -> Any:
        raise NotImplementedError

    monkeypatch.setitem(sys.modules, "faststream", None)
    with pytest.raises(InputError, match=f"^the client of {kind}:// is not installed here: "):
        link(f"{kind}://me:secret@x", topics("orders"), handle, 1, 1)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("nats://me:secret@a", [("a", 4222)]),
        ("redis://a:1", [("a", 1)]),
        ("kafka://a:1,b", [("a", 1), ("b", 9092)]),
    ],
)
def test_the_scheme_says_which_broker_it_is(url: str, hosts: list[tuple[str, int]]) -> None:
    from gatehouse.serving.brokers import address

    assert address(url) == hosts


@pytest.mark.parametrize("url", ["", "amqp://me:secret@x", "nats://me:secret@x:port"])
def test_a_url_of_no_broker_is_refused_without_its_password(url: str) -> None:
    from gatehouse.core.errors import InputError
    from gatehouse.serving.brokers import address

    with pytest.raises(
        InputError, match=r"^BROKER_URL names no broker: set it to nats:"
    ) as refusal:
        address(url)
    assert "secret" not in str(refusal.value)
