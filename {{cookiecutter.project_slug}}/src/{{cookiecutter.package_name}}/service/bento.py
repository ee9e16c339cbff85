"""What BentoML packs and serves: ``bentoml build``, ``bentoml serve``, BentoCloud.

BentoML's own way to a method holds each request for its timeout and validates it twice, so the
application stands before it as a middleware, which is a public hook, and answers everything.
"""

from pathlib import Path
from typing import Any

import bentoml

from ..blessed import blessed
from ..stage import BAD_INPUT, InputError, say
from .server import ROOT, make_app


def _lock(root: Path) -> str:
    """The lines of the locks that this model needs; ``requirements_file`` takes no such path."""
    name = "serve" if blessed(root).format == "onnx" else "serve-skops"
    locks = (root / "requirements" / f"{each}.txt" for each in (name, "bento"))
    return "\n".join(lock.read_text(encoding="utf-8") for lock in locks)


class Front:
    """The application, in place of what BentoML would do next."""

    def __init__(self, behind: Any) -> None:
        self._app, self._behind = make_app(), behind

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request; start and end are BentoML's."""
        app = self._behind if scope["type"] == "lifespan" else self._app
        await app(scope, receive, send)


try:
    _image = bentoml.images.Image(lock_python_packages=False).python_packages(_lock(ROOT))
except InputError as refusal:
    say(f"service: {refusal}")
    raise SystemExit(BAD_INPUT) from None


@bentoml.service(
    name=__package__.split(".")[-2],
    image=_image,
    workers=1,
    traffic={"timeout": 10},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Service:
    """Predictions of the blessed model."""


Service.add_asgi_middleware(Front)  # type: ignore[attr-defined]
