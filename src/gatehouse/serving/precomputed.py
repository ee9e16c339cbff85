"""Predictions that a batch made before: looked up by key in an SQLite file, never reckoned anew.

A batch run puts a new file in the place of the old one; that is noticed at the next request.
"""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from gatehouse.core.config.schema import Schema
from gatehouse.core.console import say
from gatehouse.core.errors import InputError

from .access import Refused
from .requests import Reply

LONGEST = 200  # characters of a key
MOST = 10_000  # answers that are kept
PATIENCE = 0.05  # seconds, where somebody writes into the file itself
FACTS = ("run", "model_digest", "predicted_at")

State = tuple[int, int, int]


class Precomputed:
    """Answers by key, from the table that ``gatehouse batch --out sqlite:///…`` writes."""

    def __init__(self, file: Path, table: str, schema: Schema) -> None:
        """Raises ``InputError`` where the file or its table is not what it should be."""
        self._file, self._schema = file, schema
        self._known = dict(zip(schema.labels, schema.classes, strict=True))
        names = ["prediction", *(f"probability {label}" for label in schema.labels), *FACTS]
        # Behind the name of the table: SQLite takes a quoted name that it does not know for text.
        listed = ", ".join(f"made.{_quoted(name)}" for name in names)
        self._query = f"SELECT {listed} FROM {_quoted(table)} AS made WHERE made.key = ?"
        self._kept: dict[str, Reply] = {}
        self._state = self._look()
        try:
            self._open = self._opened()
        except sqlite3.Error as error:
            raise InputError(
                "precomputed-unreadable",
                f"SERVICE_PRECOMPUTED names {file}, in which no predictions of this model's kind "
                f"are to be read ({error}): make it with `gatehouse batch`",
            ) from None

    def reply(self, key: str) -> Reply:
        """The answer for ``key``; raises ``Refused`` with 404, or 503 while the file is locked."""
        self._notice()
        if key in self._kept:
            return self._kept[key]
        try:
            row = self._open.execute(self._query, (key,)).fetchone() if _fits(key) else None
        except sqlite3.Error:
            raise Refused(503, "the predictions cannot be read now", 1) from None
        if row is None:
            raise Refused(404, "there is no prediction for this key")
        reply = self._answer(key, row)
        if len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[key] = reply
        return reply

    def _answer(self, key: str, row: tuple[Any, ...]) -> Reply:
        value, *probabilities = row[: -len(FACTS)]
        run, digest, when = row[-len(FACTS) :]
        answer: dict[str, Any] = {"key": key, "prediction": value}
        if self._known:
            answer["prediction"] = self._known.get(value, value)
            answer["probabilities"] = dict(zip(self._known, probabilities, strict=True))
        moment = f"{when}Z".replace(" ", "T")
        answer |= {"model_digest": digest, "predicted_at": moment, "run": run}
        return Reply(200, to_json(answer), headers=[(b"x-model-digest", str(digest).encode())])

    def _notice(self) -> None:
        """Open the file anew where it is another one; a faulty one is passed over."""
        try:
            state = self._look()
        except InputError:
            return  # it was taken away: what is open can still be read
        if state == self._state:
            return
        self._state = state
        try:
            fresh = self._opened()
        except sqlite3.Error as error:
            say(f"service: {self._file} is new, and cannot be read ({error}): the old one answers")
            return
        self._open.close()
        self._open, self._kept = fresh, {}

    def _look(self) -> State:
        try:
            about = self._file.stat()
        except OSError:
            raise InputError(
                "precomputed-missing",
                f"SERVICE_PRECOMPUTED names {self._file}, which is not there: make it with "
                "`gatehouse batch`, or unset this variable",
            ) from None
        return about.st_ino, about.st_mtime_ns, about.st_size

    def _opened(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self._file.resolve()))}?mode=ro"
        found = sqlite3.connect(address, uri=True, timeout=PATIENCE, check_same_thread=False)
        try:
            found.execute(self._query, ("",)).fetchone()  # every column is there
        except sqlite3.Error:
            found.close()
            raise
        return found


def _fits(key: str) -> bool:
    # A lone surrogate is no text that SQLite takes.
    return 0 < len(key) <= LONGEST and not any("\ud800" <= c <= "\udfff" for c in key)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
