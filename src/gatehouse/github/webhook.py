"""Words to a chat, and a sign of life to whoever watches the monitor from outside."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.console import say

LOCAL = ("localhost", "127.0.0.1", "::1")
SECONDS = 10.0
# What a chat would take for a link, a mention or a command.
_QUOTED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """An address that sends elsewhere could send to anybody."""


def send(name: str, url: str, text: str | None = None) -> bool:
    """POST ``{"text": text}``, or GET without text; False, with the reason said, where it fails.

    ``name`` is the variable that holds the address, which is a secret and is not printed.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise ValueError("its address is neither https nor on this machine")
        body = None if text is None else json.dumps({"text": text.translate(_QUOTED)}).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(url, body, headers)
        with urllib.request.build_opener(_Stay).open(request, timeout=SECONDS):
            return True
    except urllib.error.HTTPError as error:
        why = f"it answered {error.code}"
    except ValueError as error:
        why = str(error) if "address" in str(error) else "its address is none"
    except OSError as error:
        why = type(getattr(error, "reason", error)).__name__
    say(f"alerts: {name} was not reached ({why}): correct that secret, or see to its receiver")
    return False
