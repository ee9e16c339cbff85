"""What BentoML packs and serves: ``bentoml build``, ``bentoml serve``, BentoCloud.

BentoML's own way to a method holds each request for its timeout and validates it twice, so the
application stands before it as a middleware, which is a public hook, and answers everything.
"""

from pathlib import Path
from typing import Any

import bentoml

from gatehouse.core.console import say
from gatehouse.core.environments import VENDOR
from gatehouse.core.errors import BROKEN, InputError

from .name import service_name
from .packed import requirements
from .server import make_app

# BentoML works in the folder of the project, or of the Bento, while it imports this; later it may
# work elsewhere.
ROOT = Path.cwd()


class Front:
    """The application, in place of what BentoML would do next."""

    def __init__(self, behind: Any) -> None:
        self._app, self._behind = make_app(ROOT), behind

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request; start and end are BentoML's."""
        app = self._behind if scope["type"] == "lifespan" else self._app
        await app(scope, receive, send)


def _image() -> Any:
    lines = requirements()
    if not lines:
        return None  # unpacked: what it needs is installed
    image = bentoml.images.Image(lock_python_packages=False).python_packages(lines)
    return image.build_include(str(VENDOR)) if VENDOR.is_dir() else image


try:
    _made = _image()
except InputError as refusal:
    say(refusal.told("service"))
    raise SystemExit(BROKEN) from None


@bentoml.service(
    name=service_name(ROOT),
    image=_made,
    workers=1,
    traffic={"timeout": 10},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Service:
    """Predictions of the blessed model."""


Service.add_asgi_middleware(Front)  # type: ignore[attr-defined]
