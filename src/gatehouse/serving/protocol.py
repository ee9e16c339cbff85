"""HTTP as uvicorn speaks it, with a bound to the head of a request: its bytes and its seconds.

Neither uvicorn nor httptools has one; a client that never ends its headers would hold a connection
and fill the memory for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0


class Protocol(HttpToolsProtocol):  # type: ignore[misc]
    """One connection. A head that comes in one piece, as nearly all do, costs no timer."""

    _reading, _bytes = True, 0  # a new connection owes us a head
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that has not ended."""
        super().data_received(data)
        if self._reading:
            self._bytes += len(data)
            if self._bytes > HEAD_BYTES:
                self.transport.close()
            elif self._timer is None:
                self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._reading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._reading, self._bytes = False, 0
        self._stop()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
