"""Start the application, and end it without losing a request."""

import asyncio
import atexit
import gc
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL
from gatehouse.core.errors import BROKEN, InputError

from . import predictor
from .app import App
from .protocol import Protocol
from .settings import read_settings

TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"


def make_app(root: Path) -> App:
    """The application of the blessed model in ``root``; raises ``InputError``."""
    settings = read_settings()
    model = predictor.load(root, settings.threads)
    app = App(model, settings, (root / MODEL / CARD).stat().st_mtime)
    atexit.register(app.close)  # where another server runs it
    # What is here now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    return app


class Server(uvicorn.Server):  # type: ignore[misc]
    """On SIGTERM not ready at once, but answering until whoever sends requests has noticed."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM; end at once at a second one, or at Ctrl-C."""
        wait = self._app.settings.drain_seconds
        if sig != signal.SIGTERM or self._app.draining or not wait:
            super().handle_exit(sig, frame)
            return
        self._app.draining = True
        say(f"service: SIGTERM, draining for {wait:g} s")
        loop = asyncio.get_running_loop()
        loop.call_later(wait, super().handle_exit, sig, frame)


def run(root: Path) -> None:
    """Serve the blessed model in ``root`` until told to stop; raises ``InputError`` first."""
    app = make_app(root)
    settings = app.settings
    config = uvicorn.Config(
        traced(app),
        host=settings.host,
        port=settings.port,
        http=Protocol,
        proxy_headers=False,
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.finish_seconds,
    )
    say(f"service: {app.describe()}, http://{settings.host}:{settings.port}")
    # uvicorn raises the signal again once all is answered; that end is a good one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        Server(config, app).run()
    finally:
        app.close()  # when Python itself ends, a store could no longer be reached


def traced(app: App) -> Any:
    """With OpenTelemetry around it where an address for traces is set, else as it is."""
    if not os.environ.get(TRACES):
        return app
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise InputError(
            "traces-no-exporter",
            f"{TRACES} is set, and its exporter is not here: add "
            "opentelemetry-exporter-otlp-proto-http and opentelemetry-instrumentation-asgi to "
            "requirements/serve.in, or unset it",
        ) from None

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryMiddleware(app, tracer_provider=provider, excluded_urls="livez,readyz")


def main() -> None:
    """Serve the project of this folder; exit code 2 and one sentence where something is wrong."""
    try:
        run(Path.cwd())
    except InputError as refusal:
        say(refusal.told("service"))
        raise SystemExit(BROKEN) from None
