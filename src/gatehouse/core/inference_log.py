"""The form of the inference log, which the service writes and the monitor reads.

Below the log's folder a folder a day (UTC), ``2026-11-27``, in it files of lines of JSON,
``080000-<who wrote it>.jsonl``, called after the moment at which they were begun. A line is one
answered request: of one row, of rows, or of columns, and a batch may name its rows in ``ids``.
"""

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

Form = Literal["one", "rows", "columns"]

SUFFIX = ".jsonl"
DAYS = "????-??-??"  # a pattern of the folders
SECOND = "%Y-%m-%dT%H:%M:%S"  # of ``time``, which has microseconds after it and ends in Z
LONGEST = 200  # characters of an id, or of a digest
# A line as bytes; the schema's version and the model's digest are filled in before the rest.
LINE = (
    b'{"id":"%%b","time":"%%b.%%06dZ","seconds":%%.6f,"schema":"%b","model":"%b",'
    b'"request":%%b,"answer":%%b,"unusual":%%b}\n'
)
_DAY, _BEGUN = "%Y-%m-%d", "%H%M%S"


class Line(TypedDict):
    """A line as Python has it; of ``ids`` a missing one is called by the line's id and position."""

    id: str
    time: str
    seconds: float
    schema: str
    model: str
    request: Any
    answer: Any
    unusual: list[str]
    ids: NotRequired[list[str | None]]


def day_folder(moment: date) -> str:
    """The folder of a day, or of the day of a moment in UTC."""
    return moment.strftime(_DAY)


def file_name(begun: datetime, *who: object) -> str:
    """The name of a file in the folder of its day."""
    return "-".join([begun.strftime(_BEGUN), *map(str, who)]) + SUFFIX


def is_log_file(name: str) -> bool:
    """Whether a file is one of the log, and no draft of one."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def begun(day: date, name: str) -> datetime | None:
    """When a file was begun, in UTC without a zone; None where it has another name."""
    try:
        return datetime.strptime(f"{day_folder(day)} {name[:7]}", f"{_DAY} {_BEGUN}-")
    except ValueError:
        return None


def form_of_text(answer: bytes) -> Form:
    """The form of a line by the beginning of its answer; by a request it cannot be told, since a
    feature may be called rows or columns.
    """
    if answer[:1] == b"[":
        return "rows"
    return "columns" if answer[:15] == b'{"prediction":[' else "one"


def form_of(answer: Any) -> Form:
    """The same, of an answer as Python has it."""
    if isinstance(answer, list):
        return "rows"
    return "columns" if isinstance(answer["prediction"], list) else "one"


def schema_version(path: Path) -> str:
    """``schema`` of a line: the start of the digest of schema.yaml; "" where that is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.exists() else ""
