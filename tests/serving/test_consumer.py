"""Predictions on demand: a real NATS, a real Redis, and for Kafka librdkafka's broker for tests."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from brokers import KINDS, PREDICTIONS, REFUSED, REQUESTS, Nats, Redis, Server, eventually
from projects import small_project
from serving import ROW, bless, write_blessing

from gatehouse.core.environments import ensure

pytestmark = pytest.mark.slow

# Each prediction says that it began, and takes a while: so a signal can hit it.
SLOWLY = """
import os, sys, time
from gatehouse.serving import consumer, predictor
at_once = predictor.OnnxPredictor.rows
def slowly(self, rows):
    print("in hand", file=sys.stderr, flush=True)
    time.sleep(float(os.environ.get("SLOW", 3)))
    return at_once(self, rows)
predictor.OnnxPredictor.rows = slowly
consumer.main()
"""

Made = Callable[[str], BakedProject]


@pytest.fixture(scope="module")
def made(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A project for a broker, with a blessed model and an environment that has every broker's."""
    known: dict[str, BakedProject] = {}
    folder = tmp_path_factory.mktemp("environment")
    for name in ("requirements", "vendor", ".python-version"):
        (folder / name).symlink_to(environments.path / name)
    with contextlib.chdir(folder):
        ensure("serve", "skops", *KINDS)

    def make(kind: str) -> BakedProject:
        if kind not in known:
            project = small_project(tmp_path_factory.mktemp(kind), "pyproject.toml")
            (project.path / ".venv-serve").symlink_to(folder / ".venv-serve")
            bless(project.path, "binary")
            known[kind] = project
        return known[kind]

    return make


@pytest.fixture(
    params=["nats", "redis", pytest.param("kafka", id="kafka_of_librdkafka_no_real_one")]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(kind: str, tmp_path: Path) -> Iterator[Server]:
    """A broker with nothing in it."""
    server = KINDS[kind](tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


class Consumer:
    """A running consumer and what it says."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self._log = process, log

    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Until it has said so."""

        def has() -> bool:
            assert self.process.poll() is None, self.said()
            return text in self.said()

        eventually(has)

    def end(self, number: int, code: int) -> None:
        """Send a signal; it must end with this code."""
        self.process.send_signal(number)
        assert self.process.wait(30) == code, self.said()


@contextlib.contextmanager
def consuming(
    project: BakedProject,
    url: str,
    *command: str,
    ready: bool = True,
    variables: dict[str, str] | None = None,
) -> Iterator[Consumer]:
    """Run a consumer for the time of the block."""
    log = project.path / "consumer.log"
    settings = {"BROKER_URL": url, "BROKER_WAIT_SECONDS": "5", **(variables or {})}
    how = command or ("-m", "gatehouse.serving.consumer")
    with log.open("w") as out:
        process = subprocess.Popen(
            [".venv-serve/bin/python", *how],
            cwd=project.path,
            env=os.environ | settings,
            stdout=out,
            stderr=out,
            text=True,
        )
    consumer = Consumer(process, log)
    try:
        if ready:
            consumer.wait_for("consume: model sha256:")
        yield consumer
    finally:
        process.kill()
        process.wait()


def body(name: Any, *rows: dict[str, Any]) -> bytes:
    return json.dumps({"id": name, "rows": rows or [ROW]}).encode()


def expected(project: BakedProject, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the same model says in this process."""
    from gatehouse.serving.direct import Direct
    from gatehouse.serving.predictor import load

    answers: list[dict[str, Any]] = Direct(load(project.path)).predict_batch(rows)
    return answers


def more_than(broker: Server, answers: int) -> bool:
    return len(broker.read(PREDICTIONS)) > answers


def test_every_request_gets_the_answer_of_the_service(
    made: Made, kind: str, broker: Server
) -> None:
    project = made(kind)
    rows = [ROW, ROW | {"size €": -1.5, "town": None}, ROW | {"built": None, "rooms": 9}]
    with consuming(project, broker.url) as consumer:
        broker.send(body("all", *rows), *(body(k, row) for k, row in enumerate(rows)))
        eventually(lambda: len(broker.read(PREDICTIONS)) == 4)
        found = {one["id"]: one for one in map(json.loads, broker.read(PREDICTIONS))}
        assert found["all"] == {"id": "all", "predictions": expected(project, rows)}
        assert [found[k]["predictions"] for k in range(3)] == [
            [answer] for answer in expected(project, rows)
        ]
        assert broker.read(REFUSED) == []
        consumer.end(signal.SIGTERM, 0)


BROKEN: dict[str, tuple[bytes, Any, str]] = {
    "no JSON": (b"{", None, "Invalid JSON"),
    "no text": (b"\xff\xfe\x00", None, "Invalid JSON"),
    "another type": (b"[1]", None, "Input should be"),
    "no id": (b'{"rows": []}', None, "id: Field required"),
    "id of another type": (b'{"id": {"secret": 1}, "rows": []}', None, "id.int: Input should be"),
    "no rows": (b'{"id": "a"}', "a", "rows: Field required"),
    "an empty batch": (b'{"id": "b", "rows": []}', "b", "rows: List should have at least 1 item"),
    "too many rows": (body("c", *[ROW] * 4), "c", "rows: List should have at most 3 items"),
    "too many bytes": (body("secret" * 400), None, "the message has more than 2,000 bytes"),
    "a key too many": (b'{"id": 1, "rows": [], "reply_to": "secret"}', 1, "rows: List should"),
    "an unknown column": (body("d", ROW | {"x": "secret"}), "d", "rows.0.x: Extra inputs"),
    "a wrong type": (body("e", ROW, ROW | {"size €": "secret"}), "e", "rows.1.size €: Input"),
    "a missing column": (body("f", {"rooms": 1}), "f", "rows.0.size €: Field required"),
    "not a number": (body("g", ROW | {"size €": float("nan")}), "g", "rows.0.size €: Input"),
    "a date that is none": (body("h", ROW | {"built": "secret"}), "h", "rows.0.built: "),
}


def test_what_is_broken_is_refused_by_name_and_the_next_is_answered(
    made: Made, kind: str, broker: Server
) -> None:
    limits = {"SERVICE_MAX_ROWS": "3", "SERVICE_MAX_BYTES": "2000"}
    with consuming(made(kind), broker.url, variables=limits) as consumer:
        broker.send(*(text for text, _, _ in BROKEN.values()))
        if isinstance(broker, Redis):  # an entry has fields of any name
            with broker.client() as client:
                client.xadd(REQUESTS, {"secret": b"\xff", b"\xfe": "secret"})
                client.xadd(REQUESTS, {"__data__": ""})
        more = 2 if isinstance(broker, Redis) else 0
        broker.send(body("good"))
        eventually(lambda: len(broker.read(REFUSED)) == len(BROKEN) + more)
        eventually(lambda: broker.ids() == ["good"])
        refused = [json.loads(text) for text in broker.read(REFUSED)]
        assert all(set(one) == {"id", "error", "fields"} for one in refused)
        for _, name, sentence in BROKEN.values():
            assert any(
                one["id"] == name and one["error"].removeprefix("the body: ").startswith(sentence)
                for one in refused
            ), (name, sentence, refused)
        [wrong] = [one for one in refused if one["id"] == "e"]
        assert [one["field"] for one in wrong["fields"]] == ["rows.1.size €"]
        assert "secret" not in json.dumps(refused) + consumer.said()
        assert consumer.said().count("\n") == 1 + (kind == "kafka"), consumer.said()


def test_one_that_was_killed_loses_no_request(made: Made, kind: str, broker: Server) -> None:
    project = made(kind)
    slow = {"SLOW": "15", "BROKER_WAIT_SECONDS": "8"}
    with consuming(project, broker.url, "-c", SLOWLY, variables=slow) as consumer:
        broker.send(body(0), body(1))
        consumer.wait_for("in hand")
        broker.send(*(body(k) for k in range(2, 40)))
        time.sleep(6)  # as long as a client that commits by itself might take to do so
        consumer.end(signal.SIGKILL, -signal.SIGKILL)
    assert broker.read(PREDICTIONS) == []
    with consuming(project, broker.url):
        eventually(lambda: set(broker.ids()) == set(range(40)))
    assert broker.ids() == list(range(40))
    assert broker.read(REFUSED) == []


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_one_that_is_killed_again_and_again_answers_all(
    made: Made, kind: str, broker: Server
) -> None:
    project = made(kind)
    total = 600
    kills = 0
    with consuming(project, broker.url):
        broker.send(*(body(k, *[ROW] * 50) for k in range(total)))
    while len(broker.read(PREDICTIONS)) < total and kills < 3:
        before = len(broker.read(PREDICTIONS))
        with consuming(project, broker.url) as consumer:
            eventually(partial(more_than, broker, before), every=0.01)
            consumer.end(signal.SIGKILL, -signal.SIGKILL)
        kills += 1
    assert kills >= 1
    with consuming(project, broker.url):
        eventually(lambda: set(broker.ids()) == set(range(total)), 120)
    # At least once: what was published and not yet acknowledged comes twice.
    assert len(broker.ids()) - total <= kills + 1


def test_sigterm_finishes_the_request_in_hand_and_no_other(
    made: Made, kind: str, broker: Server
) -> None:
    project = made(kind)
    with consuming(project, broker.url, "-c", SLOWLY) as consumer:
        broker.send(*(body(k) for k in range(3)))
        consumer.wait_for("in hand")
        consumer.end(signal.SIGTERM, 0)
        assert consumer.said().count("in hand") == 1
    assert len(broker.read(PREDICTIONS)) == 1
    with consuming(project, broker.url):
        eventually(lambda: len(broker.read(PREDICTIONS)) == 3)
    assert broker.ids() == [0, 1, 2]


def test_two_share_the_work(made: Made, kind: str, broker: Server) -> None:
    project = made(kind)
    with consuming(project, broker.url), consuming(project, broker.url):
        broker.send(*(body(k) for k in range(100)))
        eventually(lambda: set(broker.ids()) == set(range(100)))
    assert broker.ids() == list(range(100))


def test_without_a_broker_it_ends_with_one_sentence(made: Made, kind: str) -> None:
    settings = {"BROKER_START_SECONDS": "2"}
    url = f"{kind}://user:secret@127.0.0.1:9"
    with consuming(made(kind), url, ready=False, variables=settings) as consumer:
        assert consumer.process.wait(30) == 3
        assert consumer.said() == (
            "consume: the broker at 127.0.0.1:9 cannot be reached (ConnectionRefusedError): "
            "start it, or correct BROKER_URL [broker-unreachable]\n"
        )


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_broker_may_come_late_and_go_for_a_while(made: Made, kind: str, tmp_path: Path) -> None:
    broker = KINDS[kind](tmp_path)
    try:
        with consuming(made(kind), broker.url, ready=False) as consumer:
            broker.start()
            consumer.wait_for("consume: model sha256:")
            broker.send(body("early"))
            eventually(lambda: broker.ids() == ["early"])
            broker.stop()
            broker.start()
            broker.send(body("late"))
            eventually(lambda: broker.ids() == ["early", "late"])
            consumer.end(signal.SIGTERM, 0)
    finally:
        broker.stop()


def test_nats_that_keeps_nothing_is_not_used(made: Made, tmp_path: Path) -> None:
    class WithoutJetStream(Nats):
        def command(self) -> list[str]:
            return [word for word in super().command() if word != "-js"]

    broker = WithoutJetStream(tmp_path)
    settings = {"BROKER_START_SECONDS": "2"}
    try:
        url = broker.start().url
        with consuming(made("nats"), url, ready=False, variables=settings) as consumer:
            assert consumer.process.wait(30) == 3
            assert "(JetStream is off: nats-server -js)" in consumer.said()
    finally:
        broker.stop()


@pytest.mark.parametrize("words", ["me:right", "me:wrong"])
def test_a_password_opens_the_broker_and_is_not_shown(
    made: Made, tmp_path: Path, words: str
) -> None:
    class Closed(Nats):
        def command(self) -> list[str]:
            return [*super().command(), "--user", "me", "--pass", "right"]

    broker = Closed(tmp_path)
    settings = {"BROKER_START_SECONDS": "2"}
    try:
        url = broker.start().url.replace("//", f"//{words}@")
        with consuming(made("nats"), url, ready=False, variables=settings) as consumer:
            if words == "me:right":
                consumer.wait_for("consume: model sha256:")
                consumer.end(signal.SIGTERM, 0)
            else:
                assert consumer.process.wait(30) == 3
            assert words.partition(":")[2] not in consumer.said()
    finally:
        broker.stop()


@pytest.mark.parametrize("kind", ["nats"])
def test_an_answer_too_large_for_the_broker_is_refused_once(
    made: Made, kind: str, broker: Server
) -> None:
    # A row is smaller than its answer, and NATS takes a megabyte.
    with consuming(made(kind), broker.url, variables={"SERVICE_MAX_ROWS": "100000"}) as consumer:
        broker.send(body("huge", *[{"size €": 1}] * 20_000), body("small"))
        eventually(lambda: broker.ids() == ["small"])
        [refused] = [json.loads(text) for text in broker.read(REFUSED)]
        assert refused["id"] == "huge"
        assert refused["error"].startswith("the answer is larger than the broker takes")
        consumer.end(signal.SIGTERM, 0)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"BROKER_URL": ""}, "consume: BROKER_URL names no broker: set it to nats://HOST:4222"),
        ({"BROKER_URL": "amqp://me:secret@x"}, "consume: BROKER_URL names no broker"),
        ({"BROKER_URL": "nats://me:secret@x:port"}, "consume: BROKER_URL names no broker"),
        ({"BROKER_WAIT_SECONDS": "soon"}, "consume: BROKER_WAIT_SECONDS must be a number"),
        ({"BROKER_START_SECONDS": "-1"}, "consume: BROKER_START_SECONDS must be a number"),
        ({"SERVICE_MAX_ROWS": "0"}, "consume: SERVICE_MAX_ROWS: Input should be greater"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named(
    made: Made, variables: dict[str, str], sentence: str
) -> None:
    settings = {"BROKER_START_SECONDS": "1"} | variables
    url = settings.pop("BROKER_URL", "nats://127.0.0.1:9")
    with consuming(made("nats"), url, ready=False, variables=settings) as consumer:
        assert consumer.process.wait(30) == 2
        assert consumer.said().startswith(sentence)
        assert consumer.said().count("\n") == 1
        assert "secret" not in consumer.said()


def test_a_model_that_is_not_blessed_answers_nothing(made: Made) -> None:
    project = made("nats")
    try:
        write_blessing(project.path, blessed=False)
        with consuming(project, "nats://127.0.0.1:9", ready=False) as consumer:
            assert consumer.process.wait(30) == 2
            assert "the model in model/ is not blessed" in consumer.said()
    finally:
        write_blessing(project.path)


def test_a_model_that_serves_as_skops_is_served_too(
    made: Made, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = small_project(tmp_path_factory.mktemp("skops"), "pyproject.toml")
    (project.path / ".venv-serve").symlink_to(made("nats").path / ".venv-serve")
    bless(project.path, "regression", "skops")
    server = KINDS["nats"](tmp_path_factory.mktemp("broker"))
    try:
        with consuming(project, server.start().url):
            server.send(body("one"))
            [answer] = eventually(lambda: server.read(PREDICTIONS))
        assert json.loads(answer)["predictions"] == [
            pytest.approx(one) for one in expected(project, [ROW])
        ]
    finally:
        server.stop()
