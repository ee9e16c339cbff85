"""The application (ASGI): limits, keys, routes, errors; no framework stands before a prediction.

``/predict`` takes one row, ``/predict_batch`` rows, columns or an Arrow stream. An error is one
sentence and the fields it is about, never their values: neither in the answer nor in the log.
"""

import asyncio
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from gatehouse.core.console import say

from . import log, pages
from .access import Access, Refused
from .body import Bodies, Receive
from .inputs import problems
from .numbers import Numbers
from .precomputed import Precomputed
from .predictor import Predictor
from .requests import ARROW, Hooks, Reply, Requests
from .settings import Settings

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON, TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
POST = frozenset(("/predict", "/predict_batch"))
GET = frozenset(("/", "/docs.json", "/livez", "/readyz", "/metrics"))
PRECOMPUTED = "/predictions/"  # and a key: in every count it is one route
OPEN = frozenset(("/livez", "/readyz"))  # asked by engines that hold no key
LINGER_SECONDS = 2.0
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
NOTHING = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class App:
    """Answers every request; holds the model, the counts and whether it is ready."""

    def __init__(self, predictor: Predictor, settings: Settings, written: float) -> None:
        """Raises ``InputError`` for settings that cannot be followed."""
        self.settings = settings
        self.access = Access(settings)
        self.numbers = Numbers(predictor.schema, predictor.digest, written)
        hooks = Hooks.of(settings)
        self._requests = Requests(predictor, settings, self.numbers, hooks)
        self._precomputed: Precomputed | None = None
        if settings.precomputed is not None:
            where = settings.precomputed, settings.precomputed_table
            self._precomputed = Precomputed(*where, predictor.schema)
        pages_on = settings.pages == "on" or (settings.pages == "auto" and not self.access.needed)
        about = {"keys": self.access.needed, "precomputed": self._precomputed is not None}
        self._pages = pages.make(self._requests, **about) if pages_on else {}
        self._prefix, self._next = token_hex(6).encode(), count(1)
        self.draining = False
        self._bodies = Bodies(settings.max_bytes, settings.body_seconds)
        self._log = log.start(predictor, settings, self.numbers)
        self._requests.warm_up()  # refuses to start where not even this can be predicted

    def describe(self) -> str:
        """One line for the log of a start."""
        model = self._requests.predictor
        pages_are = "pages on" if self._pages else "pages off"
        keys = "keys asked for" if self.access.needed else "no keys asked for"
        logged = f", log in {self.settings.log_folder}" if self._log is not None else ""
        return f"model {model.digest[:19]} as {model.format}, {keys}, {pages_are}{logged}"

    def close(self) -> None:
        """Write what is left of the inference log; a second call does nothing."""
        if self._log is not None:
            self._log.close()

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: the model answers, and it is not being stopped."""
        return not self.draining and self.numbers.waiting < self.settings.max_waiting

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request, or the start and end of the server."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        start, path = time.perf_counter(), scope["path"]
        route = self._route(path)
        headers = dict(scope["headers"])  # of one that is sent twice the last one counts
        given = headers.get(b"x-request-id", b"")
        sent = REQUEST_ID.fullmatch(given)
        name = given if sent else b"%b-%x" % (self._prefix, next(self._next))
        self.numbers.waiting += 1
        linger = False
        try:
            reply = await self._reply(scope, path, headers, receive)
        except Refused as error:
            reply = _refusal(error)
            linger = error.status == 413
        except ValidationError as error:
            reply = _invalid(error)
        except Exception as error:
            # Not the message, nor the locals: they may hold a value.
            where = traceback.extract_tb(error.__traceback__)[-1]
            say(
                f"service: request {name.decode()} failed with {type(error).__name__} at "
                f"{Path(where.filename).name}:{where.lineno}"
            )
            reply = Reply(500, to_json({"error": "this is a fault of the service"}))
        finally:
            self.numbers.waiting -= 1
        head: Headers = [
            (b"content-type", reply.type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", name),
            *reply.headers,
            *SAFE,
        ]
        if not any(key == NOTHING[0] for key, _ in reply.headers):
            head.append(NOTHING)
        if self.draining or linger:
            head.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        body = b"" if scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body, "more_body": linger})
        if linger:
            await _discard(receive)
            await send({"type": "http.response.body", "body": b""})
        seconds = time.perf_counter() - start
        self.numbers.request(route, reply.status, seconds)
        if self._log is not None and reply.asked is not None:
            self._log.add(name, start, seconds, reply)
        if reply.after is not None:
            reply.after(name.decode(), time.perf_counter() - start)

    async def _reply(
        self, scope: dict[str, Any], path: str, headers: dict[bytes, bytes], receive: Receive
    ) -> Reply:
        method = scope["method"]
        if path in POST:
            if method != "POST":
                return _not_allowed(b"POST")
            if self.numbers.waiting > self.settings.max_waiting:
                raise Refused(429, "too many requests at once", 1)
            self._ask(headers)
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != JSON and not (kind == ARROW and path == "/predict_batch"):
                raise Refused(415, "send Content-Type: application/json")
            pieces: list[bytes] = []
            try:
                body = await self._bodies.read(headers, receive, pieces)
                if path == "/predict":
                    explain = scope["query_string"] == b"explain=1"
                    return await self._requests.one(body, explain=explain)
                return await self._requests.batch(body, arrow=kind == ARROW)
            finally:
                if pieces:
                    self._bodies.release(pieces)
        route = self._route(path)
        if route != "other" and method not in ("GET", "HEAD"):
            return _not_allowed(b"GET, HEAD")
        if path in OPEN:
            ready = path == "/livez" or self.ready
            return Reply(200 if ready else 503, b"ok\n" if ready else b"not ready\n", TEXT)
        if path in self._pages:
            return self._pages[path]
        if path == "/metrics":
            self._ask(headers)
            return Reply(200, self.numbers.text(), TEXT)
        if route == PRECOMPUTED and self._precomputed is not None:
            self._ask(headers)
            return self._precomputed.reply(path.removeprefix(PRECOMPUTED))
        return Reply(404, to_json({"error": "there is no such page"}))

    def _route(self, path: str) -> str:
        """The path as counts call it."""
        if path in POST or path in GET:
            return path
        here = self._precomputed is not None and path.startswith(PRECOMPUTED)
        return PRECOMPUTED if here else "other"

    def _ask(self, headers: dict[bytes, bytes]) -> None:
        if self.access.needed or self.settings.rate:
            bearer = headers.get(b"authorization", b"").decode("latin-1")
            self.access.check(bearer, headers.get(b"x-api-key", b"").decode("latin-1"))


def _not_allowed(allowed: bytes) -> Reply:
    body = to_json({"error": f"only {allowed.decode()} is answered here"})
    return Reply(405, body, JSON, [(b"allow", allowed)])


def _refusal(error: Refused) -> Reply:
    headers: Headers = []
    if error.wait:
        headers.append((b"retry-after", b"%d" % max(1, round(error.wait + 0.5))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(error.status, to_json({"error": str(error)}), JSON, headers)


def _invalid(error: ValidationError) -> Reply:
    """400 for what is no JSON, else 422; the fields by name, without what they held."""
    # What is no JSON is one fault; of many, a list just to look at the first would cost.
    if error.error_count() == 1 and error.errors(include_input=False)[0]["type"] == "json_invalid":
        return Reply(400, to_json({"error": "the body is not valid JSON"}))
    text, fields = problems(error)
    # A surrogate in a column's name cannot be written as UTF-8.
    return Reply(422, to_json({"error": text, "fields": fields}))


async def _discard(receive: Receive) -> None:
    # Who sends too much reads the answer only after the last byte, or never if we hang up before.
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
