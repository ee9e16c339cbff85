"""One line of the inference log: as the request came, without what is personal."""

import json
import time
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json, to_json

from gatehouse.core.config.schema import Column
from gatehouse.core.errors import InputError
from gatehouse.core.inference_log import LINE, SECOND, form_of_text

from .predictor import Predictor
from .settings import Settings

# Outside of strings a line break is a blank, and inside of one JSON allows none.
BLANKS = bytes.maketrans(b"\n\r", b"  ")
SHORTEST = 16  # characters of a key


class Lines:
    """Makes lines; knows which columns are left out and which are hashed."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        """Raises ``InputError`` where a column is to be hashed and there is no key."""
        kept = {name: fate(column) for name, column in predictor.schema.features.items()}
        self._fates = {name: said for name, said in kept.items() if said != "keep"}
        self._types = {name: column.type for name, column in predictor.schema.features.items()}
        self._key = b""
        if "hash" in kept.values():
            self._key = blake2b(_key(settings).encode()).digest()
        self._second, self._text = -1, b""
        self._form = LINE % (predictor.schema_version.encode(), predictor.digest.encode())

    def line(
        self, name: bytes, moment: float, seconds: float, asked: Any, said: Any, unusual: list[str]
    ) -> bytes:
        """A record as a line. ``asked`` and ``said`` are JSON, or columns by name."""
        if type(said) is not bytes:
            said = to_json(said)
        if self._fates:
            asked = to_json(self._without_personal(asked, said))
        elif type(asked) is not bytes:
            asked = to_json({"columns": asked})
        if b"\n" in asked or b"\r" in asked:
            asked = asked.translate(BLANKS)
        second = int(moment)
        if second != self._second:
            self._second = second
            self._text = time.strftime(SECOND, time.gmtime(second)).encode()
        micro = int((moment - second) * 1e6)
        beyond = json.dumps(unusual).encode() if unusual else b"[]"
        return self._form % (name, self._text, micro, seconds, asked, said, beyond)

    def _without_personal(self, asked: Any, said: bytes) -> Any:
        if type(asked) is not bytes:
            request: Any = {"columns": dict(asked)}
        else:
            request = from_json(asked)
        form = form_of_text(said)
        if form == "rows":
            for row in request["rows"]:
                self._change(row, self._hashed)
        elif form == "columns":
            self._change(request["columns"], self._hashed_all)
        else:
            self._change(request, self._hashed)
        return request

    def _change(self, values: dict[str, Any], hashed: Any) -> None:
        for name, what in self._fates.items():
            if name in values:
                if what == "drop":
                    del values[name]
                else:
                    values[name] = hashed(name, values[name])

    def _hashed_all(self, name: str, values: list[Any] | None) -> list[str | None] | None:
        return None if values is None else [self._hashed(name, value) for value in values]

    def _hashed(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if self._types[name] == "number":
            value = float(value)  # 1 and 1.0 are one value
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        return blake2b(f"{name}={text}".encode(), key=self._key, digest_size=8).hexdigest()


def fate(column: Column) -> str:
    """keep, drop or hash: as ``log`` says, else what is personal is dropped."""
    return column.log or ("drop" if column.pii else "keep")


def _key(settings: Settings) -> str:
    key = settings.log_key
    if settings.log_key_file is not None:
        try:
            key = settings.log_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise InputError(
                "log-key",
                f"SERVICE_LOG_KEY_FILE: {settings.log_key_file} cannot be read: mend or unset it",
            ) from None
    if len(key) < SHORTEST:
        raise InputError(
            "log-key",
            "schema.yaml wants a column hashed in the log (log: hash): set SERVICE_LOG_KEY or "
            f"SERVICE_LOG_KEY_FILE to a secret of {SHORTEST} characters or more",
        )
    return key
