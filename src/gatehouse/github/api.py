"""Calls to GitHub's API through ``gh``, which keeps the login."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from gatehouse.core.errors import BROKEN, INFRASTRUCTURE, Stop

LOGIN = 4  # what gh ends with where nobody is logged in


def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and content (None without one) of one call; Stop where GitHub cannot be asked."""
    status, _, content = ask(method, path, body)
    return status, content


def person() -> tuple[Any, set[str] | None]:
    """Who is logged in, and the scopes of the token; None of one that names none."""
    status, head, me = ask("GET", "user")
    if status != 200:
        raise Stop("gh-no-person", "gh is logged in with a token of no person: run `gh auth login`")
    said = re.search(r"(?im)^x-oauth-scopes:(.*)$", head)
    return me, {word.strip() for word in said[1].split(",")} - {""} if said else None


def gh_api(*words: str, body: Any = None) -> subprocess.CompletedProcess[bytes]:
    """``gh api`` with these words, and ``body`` as JSON; Stop (3) where there is no gh."""
    command = ["gh", "api", *words, *([] if body is None else ["--input", "-"])]
    given = None if body is None else json.dumps(body).encode()
    try:
        return subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        fix = "install it from https://cli.github.com, then run `gh auth login`"
        raise Stop(
            "gh-missing", f"gh, GitHub's command line, is not here: {fix}", INFRASTRUCTURE
        ) from None


def ask(method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
    """As ``call``, with the headers of the answer between."""
    done = gh_api("--include", "--method", method, path, body=body)
    head, _, text = done.stdout.decode().replace("\r\n", "\n").partition("\n\n")
    words = head.split(maxsplit=2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if status == 401 or done.returncode == LOGIN:
        raise Stop(
            "gh-not-logged-in", "gh is not logged in to github.com: run `gh auth login`", BROKEN
        )
    if not 200 <= status < 500 or status == 429:
        said = " ".join(done.stderr.decode().split()) or f"HTTP {status}"
        raise Stop(
            "github-unreachable",
            f"GitHub cannot be reached ({said}): run the same again",
            INFRASTRUCTURE,
        )
    try:
        return status, head, json.loads(text) if text.strip() else None
    except ValueError:
        raise Stop(
            "github-unreachable",
            f"GitHub's answer to {path} is no JSON: run the same again",
            INFRASTRUCTURE,
        ) from None


def reason(content: Any) -> str:
    """What GitHub says about a refusal, on one line."""
    said = content if isinstance(content, dict) else {}
    more = [e.get("message") if isinstance(e, dict) else e for e in said.get("errors") or []]
    return " ".join("; ".join(str(word) for word in [said.get("message"), *more] if word).split())
