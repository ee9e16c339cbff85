"""Who may ask, and how often: API keys, tokens, and a rate for each of them."""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

from gatehouse.core.errors import InputError

from .settings import Settings

SHORTEST = 16
MOST_NAMES = 10_000


class Refused(Exception):
    """Answered with ``status``, one sentence, and perhaps the seconds to wait."""

    def __init__(self, status: int, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.status, self.wait = status, wait


class Access:
    """Asked before a body is read. Without keys and tokens everybody may ask."""

    def __init__(self, settings: Settings) -> None:
        """Raises ``InputError`` for keys that are missing, too short, or a token's key unread."""
        self._keys = _keys(settings)
        self._token = _token_reader(settings)
        self.needed = bool(self._keys or self._token)
        self._rate = settings.rate
        self._spent: dict[str, tuple[float, float]] = {}

    def check(self, authorization: str, key: str) -> str:
        """The name of who asks; raises ``Refused`` with 401 or 429."""
        name = self._name(authorization, key) if self.needed else ""
        if self._rate:
            self._spend(name)
        return name

    def _name(self, authorization: str, key: str) -> str:
        scheme, _, token = authorization.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        given = hashlib.sha256((key or token).encode()).digest()
        found = ""
        # Every key is compared, in constant time, so that the time tells nothing.
        for digest, name in self._keys:
            if hmac.compare_digest(digest, given):
                found = name
        if not found and token and self._token:
            found = self._token(token)
        if not found:
            raise Refused(401, "no valid key: send it as X-API-Key or Authorization: Bearer")
        return found

    def _spend(self, name: str) -> None:
        # A bucket that holds two seconds' worth.
        now, most = time.monotonic(), max(1.0, 2 * self._rate)
        if len(self._spent) > MOST_NAMES:
            self._spent.clear()
        left, last = self._spent.get(name, (most, now))
        left = min(most, left + (now - last) * self._rate)
        if left < 1:
            self._spent[name] = (left, now)
            raise Refused(429, "too many requests with this key", (1 - left) / self._rate)
        self._spent[name] = (left - 1, now)


def _keys(settings: Settings) -> list[tuple[bytes, str]]:
    text = settings.api_keys
    if settings.api_keys_file:
        try:
            text += "\n" + settings.api_keys_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError(
                "keys-unreadable",
                "SERVICE_API_KEYS_FILE names a file that cannot be read: correct the path",
            ) from None
    keys = []
    for entry in text.split():
        name, _, key = entry.partition(":")
        if not name or len(key) < SHORTEST:
            raise InputError(
                "keys-form",
                f"an API key must be given as name:key, with a key of {SHORTEST} characters or "
                "more: correct SERVICE_API_KEYS",
            )
        keys.append((hashlib.sha256(key.encode()).digest(), f"key {name}"))
    if not keys and settings.api_keys_file:
        raise InputError(
            "keys-empty", "SERVICE_API_KEYS_FILE holds no key, which would let everybody in"
        )
    return keys


def _token_reader(settings: Settings) -> Callable[[str], str] | None:
    if not settings.jwt_key_file:
        return None
    import jwt  # late: cryptography takes a tenth of a second

    try:
        key = settings.jwt_key_file.read_text(encoding="utf-8").strip()
        algorithm = jwt.get_algorithm_by_name(settings.jwt_algorithm)
        prepared: Any = algorithm.prepare_key(key)
    except (OSError, UnicodeDecodeError, ValueError, TypeError, jwt.PyJWTError):
        raise InputError(
            "jwt-key",
            f"SERVICE_JWT_KEY_FILE holds no key for {settings.jwt_algorithm}: correct one of them",
        ) from None
    if settings.jwt_algorithm == "HS256" and len(key) < 32:
        raise InputError(
            "jwt-key", "SERVICE_JWT_KEY_FILE holds a secret under 32 characters: take a longer"
        )

    def read(token: str) -> str:
        try:
            claims = jwt.decode(
                token,
                prepared,
                algorithms=[settings.jwt_algorithm],
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except jwt.PyJWTError:
            return ""
        return f"token {claims['sub']}"

    return read
