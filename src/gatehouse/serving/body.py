"""Read a request's body: so many bytes, so many seconds, and so many bytes of all together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .access import Refused

Receive = Callable[[], Awaitable[dict[str, Any]]]
TOGETHER = 8  # bodies of the largest size; more memory than that is not given to them


class Bodies:
    """Reads bodies and knows how many bytes are held."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds, self._held = most, seconds, 0

    async def read(
        self, headers: dict[bytes, bytes], receive: Receive, pieces: list[bytes]
    ) -> bytes:
        """The body; ``pieces``, if any, must be given to ``release`` once it is of no more use.

        Raises ``Refused`` with 400 (cut off), 408, 413 or 429.
        """
        said = headers.get(b"content-length", b"")
        if said.isdigit() and int(said[:20]) > self._most:
            raise self._too_large()
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]
            if len(body) > self._most:
                raise self._too_large()
            return body
        length = 0
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    if message["type"] != "http.request":
                        raise Refused(400, "the connection was closed before the body was here")
                    piece: bytes = message["body"]
                    pieces.append(piece)
                    length += len(piece)
                    self._held += len(piece)
                    if length > self._most:
                        raise self._too_large()
                    if self._held > TOGETHER * self._most:
                        raise Refused(429, "too many large bodies at once", 1)
                    if not message.get("more_body"):
                        return b"".join(pieces)
                    message = await receive()
        except TimeoutError:
            raise Refused(408, f"the body was not here within {self._seconds:g} s") from None

    def release(self, pieces: list[bytes]) -> None:
        """Forget them."""
        self._held -= sum(map(len, pieces))

    def _too_large(self) -> Refused:
        return Refused(413, f"the body has more than {self._most:,} bytes: send fewer rows at once")
