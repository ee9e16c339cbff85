"""Three message brokers by the scheme of a URL, each so that no request is lost.

NATS keeps requests in JetStream, Redis in a stream with a consumer group, Kafka in a topic.
"""

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gatehouse.core.errors import InputError

TOO_LARGE = ("MaxPayloadError", "MessageSizeTooLargeError")

Handle = Callable[[bytes], Awaitable[None]]
Options = dict[str, Any]


class Topics(NamedTuple):
    """Where requests lie and answers go, and what all of it is called by."""

    name: str
    requests: str
    predictions: str
    refused: str


def topics(name: str) -> Topics:
    """Those of the project ``name``."""
    return Topics(name, f"{name}.requests", f"{name}.predictions", f"{name}.refused")


class Link(NamedTuple):
    """A broker, what must be there before it is read, and the way of a body to a topic."""

    broker: Any
    prepare: Callable[[], Awaitable[Any]]
    publish: Callable[[bytes, str], Awaitable[Any]]


def address(url: str) -> list[tuple[str, int]]:
    """Hosts and ports of a URL; raises ``InputError``, never with a password in its sentence."""
    try:
        parts = urlsplit(url)
        hosts = [urlsplit(f"//{one}") for one in parts.netloc.rpartition("@")[2].split(",")]
        return [(str(one.hostname or ""), one.port or KINDS[parts.scheme][0]) for one in hosts]
    except (KeyError, ValueError):
        raise InputError(
            "broker-unknown",
            "BROKER_URL names no broker: set it to nats://HOST:4222, redis://HOST:6379 or "
            "kafka://HOST:9092",
        ) from None


def link(url: str, of: Topics, handle: Handle, wait: float, finish: float) -> Link:
    """Give each request to ``handle``; acknowledge it when that returns, else it comes again.

    ``wait``: seconds after which an unanswered request goes to another consumer; ``finish``:
    seconds that one in hand has at the end.
    """
    log, kind = logging.getLogger("consume"), urlsplit(url).scheme
    common = {"decoder": _as_it_is, "apply_types": False, "logger": log, "graceful_timeout": finish}
    try:
        from faststream import AckPolicy  # late: a service without a broker has none of it

        # Nobody may say by a header of a request where else an answer goes.
        asked = {"ack_policy": AckPolicy.NACK_ON_ERROR, "no_reply": True}
        return KINDS[kind][1](url, of, handle, wait, common, asked)
    except ImportError:
        raise InputError(
            "broker-no-client",
            f"the client of {kind}:// is not installed here: `gatehouse consume` installs it",
        ) from None


async def _as_it_is(message: Any) -> bytes:
    return bytes(message.body)


def _nats(
    url: str, of: Topics, handle: Handle, wait: float, common: Options, asked: Options
) -> Link:
    from faststream.nats import JStream, NatsBroker, PullSub
    from nats.js.api import ConsumerConfig
    from nats.js.errors import NotFoundError, ServiceUnavailableError

    broker = NatsBroker(url.split(","), max_reconnect_attempts=-1, **common)

    async def prepare() -> None:
        jetstream = (await broker.connect()).jetstream()
        try:  # a stream that somebody made with limits stays as it is
            await jetstream.stream_info(of.name)
        except NotFoundError:
            await jetstream.add_stream(name=of.name, subjects=list(of[1:]))
        except ServiceUnavailableError:
            raise InputError("broker-setting", "JetStream is off: nats-server -js") from None

    broker.subscriber(
        of.requests,
        stream=JStream(of.name, declare=False),
        durable=of.name,
        pull_sub=PullSub(1, timeout=1),
        config=ConsumerConfig(ack_wait=wait),
        **asked,
    )(handle)
    return Link(broker, prepare, partial(broker.publish, stream=of.name))


def _redis(
    url: str, of: Topics, handle: Handle, wait: float, common: Options, asked: Options
) -> Link:
    from faststream.redis import RedisBroker, StreamSub
    from faststream.redis.parser import MessageFormat
    from redis.exceptions import ResponseError

    class Plain(MessageFormat):  # type: ignore[misc]
        """The body as it is; FastStream's envelope is for those who read with FastStream."""

        @classmethod
        async def encode(cls, **parts: Any) -> Any:
            return (await cls.build(**parts)).data

        @classmethod
        def parse(cls, data: bytes) -> tuple[bytes, dict[str, Any]]:
            return data, {}

    broker = RedisBroker(url, message_format=Plain, **common)

    async def prepare() -> None:
        try:
            client = await broker.connect()
            await client.xgroup_create(of.requests, of.name, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def parse(entry: dict[str, Any], parser: Any) -> Any:
        # An entry of other fields is refused, as any other body that is no request.
        body = entry["data"].get(b"__data__") or b"-"
        return await parser(entry | {"data": {b"__data__": body}})

    # The second one takes over what a consumer left that is no more.
    for idle in (None, int(wait * 1000)):
        stream = StreamSub(
            of.requests,
            group=of.name,
            consumer=socket.gethostname(),
            max_records=1,
            min_idle_time=idle,
            polling_interval=500,
        )
        broker.subscriber(stream=stream, parser=parse, **asked)(handle)
    return Link(broker, prepare, lambda body, topic: broker.publish(body, stream=topic))


def _kafka(
    url: str, of: Topics, handle: Handle, wait: float, common: Options, asked: Options
) -> Link:
    from faststream.kafka import KafkaBroker

    del wait  # the session of a consumer that is no more ends after ten seconds
    broker = KafkaBroker(urlsplit(url).netloc.split(","), acks="all", **common)
    group = {"group_id": of.name, "auto_offset_reset": "earliest"}
    broker.subscriber(of.requests, **group, **asked)(handle)
    return Link(broker, broker.connect, broker.publish)


KINDS: dict[str, tuple[int, Callable[..., Link]]] = {
    "nats": (4222, _nats),
    "redis": (6379, _redis),
    "rediss": (6379, _redis),
    "kafka": (9092, _kafka),
}
