"""Message brokers on this machine: NATS and Redis for real, and for Kafka what stands in for one.

No Kafka can be had from a package here. librdkafka, the library most Kafka clients are made of,
carries a broker for tests: it speaks Kafka's protocol over TCP, with groups and offsets, and keeps
everything in memory. What it cannot show is a Kafka that loses a node, replicates or checks who asks.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "flight_delays"
REQUESTS, PREDICTIONS, REFUSED = (
    f"{PACKAGE}.{topic}" for topic in ("requests", "predictions", "refused")
)


def program(name: str) -> str:
    """The path of a program; without one the test is skipped, and fails in CI on Linux."""
    found = shutil.which(name)
    if not found:
        reason = f"{name} is not installed: apt-get install {name}"
        # What a test of ours installs by apt-get is not to be had elsewhere.
        if os.environ.get("CI") == "true" and sys.platform == "linux":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(ready: Callable[[], Any], seconds: float = 60, every: float = 0.1) -> Any:
    """What ``ready`` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(every)
    return found


class Server:
    """A broker that is a process of its own, on a folder that outlives it."""

    scheme = ""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def start(self) -> "Server":
        """Begin, and wait until it listens."""
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._listens, 20)
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.scheme} ended at its start"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End, as at a restart."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def send(self, *bodies: bytes) -> None:
        """Put requests into the broker."""
        raise NotImplementedError

    def read(self, topic: str) -> list[bytes]:
        """All bodies that were ever published to a topic."""
        raise NotImplementedError

    def ids(self, topic: str = PREDICTIONS) -> list[Any]:
        """The ids of all answers so far, in order of their size."""
        return sorted(json.loads(body)["id"] for body in self.read(topic))


class Nats(Server):
    """NATS with JetStream, which keeps messages in files."""

    scheme = "nats"

    def command(self) -> list[str]:
        port = str(self.port)
        store = str(self.folder / "nats")
        return [program("nats-server"), "-js", "-sd", store, "-a", "127.0.0.1", "-p", port]

    def send(self, *bodies: bytes) -> None:
        async def work(jetstream: Any) -> None:
            for body in bodies:
                await jetstream.publish(REQUESTS, body)

        self._ask(work)

    def read(self, topic: str) -> list[bytes]:
        from nats.js.errors import NotFoundError

        async def work(jetstream: Any) -> list[bytes]:
            try:
                last = await jetstream.get_last_msg(PACKAGE, topic)
            except NotFoundError:
                return []
            found: list[bytes] = []
            reader = await jetstream.subscribe(topic, ordered_consumer=True)
            while True:
                message = await reader.next_msg(5)
                found.append(message.data)
                if message.metadata.sequence.stream >= last.seq:
                    return found

        found: list[bytes] = self._ask(work)
        return found

    def _ask(self, work: Callable[[Any], Any]) -> Any:
        import nats

        async def run() -> Any:
            client = await nats.connect(self.url)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())


class Redis(Server):
    """Redis that writes every change to a file."""

    scheme = "redis"

    def command(self) -> list[str]:
        folder = ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [program("redis-server"), *address, *folder, "--save", ""]

    def client(self) -> Any:
        """A client of its own."""
        import redis

        return redis.Redis(port=self.port)

    def send(self, *bodies: bytes) -> None:
        with self.client() as client:
            for body in bodies:
                client.xadd(REQUESTS, {"__data__": body})

    def read(self, topic: str) -> list[bytes]:
        with self.client() as client:
            entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(topic)
            return [fields[b"__data__"] for _, fields in entries]


class KafkaOfLibrdkafka(Server):
    """The broker that librdkafka has for tests: no real Kafka."""

    scheme = "kafka"
    partitions = 4  # of each topic, which is made when it is first asked for

    def start(self) -> "Server":
        from confluent_kafka import Producer

        self._home = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
        brokers = self._home.list_topics(timeout=20).brokers.values()
        self.url = "kafka://" + ",".join(f"{one.host}:{one.port}" for one in brokers)
        for topic in (REQUESTS, PREDICTIONS, REFUSED):
            self._home.list_topics(topic, timeout=20)
        return self

    def stop(self) -> None:
        del self._home

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self._home.produce(REQUESTS, body)
        assert self._home.flush(20) == 0

    def read(self, topic: str) -> list[bytes]:
        from confluent_kafka import Consumer, TopicPartition

        address = self.url.removeprefix("kafka://")
        reader = Consumer({"bootstrap.servers": address, "group.id": "who reads the answers"})
        try:
            places = [TopicPartition(topic, number, 0) for number in range(self.partitions)]
            highs = [reader.get_watermark_offsets(place, timeout=20)[1] for place in places]
            reader.assign(places)
            found: list[bytes] = []
            while len(found) < sum(highs):
                message = reader.poll(20)
                assert message is not None, "no answer of the broker"
                assert not message.error(), message.error()
                found.append(message.value() or b"")
            return found
        finally:
            reader.close()


KINDS: dict[str, type[Server]] = {"nats": Nats, "redis": Redis, "kafka": KafkaOfLibrdkafka}
