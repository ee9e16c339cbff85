"""Files of the inference log, wherever they lie: which of them hold a window, and their lines."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from gatehouse.core.inference_log import day_folder, is_log_file
from gatehouse.core.places import Folder, Missing

PIECE = 16 * 2**20  # bytes read at once
MOST_LINE = 64 * 2**20  # of a longer line nothing is believed


class LogFile(NamedTuple):
    """A file: the day of its folder, its name in that, and its bytes."""

    day: date
    name: str
    size: int

    @property
    def path(self) -> str:
        """Below the log's folder."""
        return f"{day_folder(self.day)}/{self.name}"


def log_files(log: Folder, since: datetime, until: datetime) -> list[LogFile]:
    """The files that may hold records of ``since`` to ``until``, oldest first. Raises ``Stop``."""
    found: list[LogFile] = []
    day = since.date()
    # A record is written a moment after it happened, which may be the next day.
    while day <= until.date() + timedelta(days=1):
        for path, size in log.files(day_folder(day)):
            name = path.rpartition("/")[2]
            if is_log_file(name):
                found.append(LogFile(day, name, size))
        day += timedelta(days=1)
    return found


def pieces(log: Folder, path: str) -> Iterator[tuple[list[bytes], bool]]:
    """Whole lines, some MB at once, and with the last of them whether a torn line follows.

    A line that is longer than any honest one is given as an empty one; a file that is gone has
    none. Raises ``Stop``.
    """
    left, skipping = b"", False
    try:
        with log.open(path) as file:
            while piece := file.read(PIECE):
                head, found, tail = piece.rpartition(b"\n")
                if not found:
                    left += piece
                else:
                    lines = (left + head).split(b"\n")
                    if skipping:
                        lines[0], skipping = b"", False
                    yield lines, False
                    left = tail
                if len(left) > MOST_LINE:
                    left, skipping = b"", True
    except Missing:
        return  # removed since it was listed
    if left or skipping:
        yield [], True
