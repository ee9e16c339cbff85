"""Predictions on demand: requests from a message broker, answers back to it.

``BROKER_URL`` names the broker: ``nats://``, ``redis://`` or ``kafka://``. A request is
acknowledged once its answer is published: one whose consumer was killed is answered by another.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, create_model
from pydantic_core import from_json, to_json

from gatehouse.core.console import say
from gatehouse.core.errors import INFRASTRUCTURE, InputError, Stop

from .brokers import TOO_LARGE, Link, Topics, address, link, topics
from .direct import Direct, Invalid
from .inputs import STRICT, problems
from .name import service_name
from .predictor import load
from .settings import Settings, read_settings

Id = int | Annotated[str, Field(max_length=200)]


class Answers:
    """From the body of a request to a topic and a body for it."""

    def __init__(self, direct: Direct, settings: Settings, of: Topics) -> None:
        row: Any = direct.row
        rows = (list[row], Field(min_length=1, max_length=settings.max_rows))
        kind = create_model("Message", __config__=STRICT, id=(Id, ...), rows=rows)
        self._read: Callable[[bytes], Any] = kind.model_validate_json
        self._direct, self._of = direct, of
        self._most = settings.max_bytes

    def of(self, body: bytes) -> tuple[str, bytes]:
        """The answer; nothing that is wrong with one request may stop the next."""
        fields: list[dict[str, str]] = []
        try:
            if len(body) > self._most:
                raise Invalid(f"the message has more than {self._most:,} bytes: send fewer rows")
            message = self._read(body)
            found = self._direct.answers(message.rows)
            return self._of.predictions, to_json({"id": message.id, "predictions": found})
        except ValidationError as error:
            text, fields = problems(error)
        except Invalid as error:
            text = str(error)
        except Exception as error:
            text = f"this is a fault of the consumer ({type(error).__name__})"
            say(f"consume: a request failed with {type(error).__name__}")
        return self.refusal(body, text, fields)

    def refusal(self, body: bytes, text: str, fields: Any = ()) -> tuple[str, bytes]:
        """Says why there are no predictions; of the request's values it holds the id alone."""
        name = None  # where there is none, or none that can be read
        if len(body) <= self._most:
            with suppress(ValueError, TypeError, KeyError):
                name = TypeAdapter(Id).validate_python(from_json(body)["id"], strict=True)
        return self._of.refused, to_json({"id": name, "error": text, "fields": fields})


async def run(root: Path) -> None:
    """Answer by the blessed model in ``root`` until SIGTERM.

    Raises ``InputError``, or ``Stop`` with code 3 where no broker answers.
    """
    settings, url = read_settings(), os.environ.get("BROKER_URL", "")
    hosts, of = address(url), topics(service_name(root))
    direct = Direct(load(root, settings.threads), refuse=settings.unusual == "refuse")
    answers = Answers(direct, settings, of)

    async def handle(body: bytes) -> None:
        topic, answer = await asyncio.to_thread(answers.of, body)
        try:
            await to.publish(answer, topic)
        except Exception as error:
            if type(error).__name__ not in TOO_LARGE:
                await asyncio.sleep(1)  # it comes again, and need not at once
                raise
            text = "the answer is larger than the broker takes: send fewer rows"
            topic, answer = answers.refusal(body, text)
            await to.publish(answer, topic)

    async def begin() -> None:
        await reach(to, hosts, seconds("BROKER_START_SECONDS", 30))
        say(f"consume: model {direct.digest[:19]} answers {of.requests} at {_shown(hosts)}")

    to = link(url, of, handle, seconds("BROKER_WAIT_SECONDS", 30), settings.finish_seconds)
    from faststream import FastStream  # late, as in brokers: ``link`` says what is missing

    app = FastStream(to.broker, logger=None, on_startup=[begin])
    await app.run()


async def reach(to: Link, hosts: list[tuple[str, int]], patience: float) -> None:
    """Make ready what is read; tries again while ``patience`` lasts, then ``Stop`` with code 3."""
    end, reason = time.monotonic() + patience, "no answer in time"
    for host in cycle(hosts):
        try:
            async with asyncio.timeout(max(1, end - time.monotonic())):
                # A client of its own would try for ever, or not notice before the first request.
                _, writer = await asyncio.open_connection(*host)
                writer.close()
                await to.prepare()
                return
        except Exception as error:  # each client has exceptions of its own
            if not isinstance(error, TimeoutError):
                reason = str(error) if isinstance(error, InputError) else type(error).__name__
        if time.monotonic() > end:
            raise Stop(
                "broker-unreachable",
                f"the broker at {_shown(hosts)} cannot be reached ({reason}): start it, or "
                "correct BROKER_URL",
                INFRASTRUCTURE,
            )
        await asyncio.sleep(1)


def seconds(name: str, default: float) -> float:
    """A setting from the environment; raises ``InputError`` where it is no number above 0."""
    with suppress(ValueError):
        if 0 < (value := float(os.environ.get(name, default))) < float("inf"):
            return value
    raise InputError("setting-value", f"{name} must be a number of seconds: correct this variable")


def _shown(hosts: list[tuple[str, int]]) -> str:
    return ",".join(f"{host}:{port}" for host, port in hosts)


def main() -> None:
    """Answer; end with one sentence and exit code 2 or 3 where something is wrong."""
    logging.basicConfig(level=logging.WARNING, format="consume: %(message)s")
    try:
        asyncio.run(run(Path.cwd()))
    except Stop as refusal:
        say(refusal.told("consume"))
        raise SystemExit(refusal.exit_code) from None


if __name__ == "__main__":
    main()
