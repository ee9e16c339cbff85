"""Files of the inference log and of labels, wherever fsspec reaches: a folder or a bucket."""

import posixpath
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from ..console import INFRASTRUCTURE, Stop

PIECE = 16 * 2**20  # bytes read at once
MOST_LINE = 64 * 2**20  # of a longer line nothing is believed


class File(NamedTuple):
    """A file and the day of its folder."""

    path: str
    day: date
    size: int


def reach(url: str) -> tuple[Any, str]:
    """The file system and the folder in it; raises ``Stop``."""
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(url)
    except ImportError:
        kind = url.partition("://")[0]
        raise Stop(
            f"{public(url)} needs a part of fsspec that is not here: add the one for {kind}:// "
            "(s3fs, gcsfs, adlfs) to requirements/train.in and run `make lock setup`"
        ) from None
    except Exception as error:  # each file system has its own
        raise _unreachable(url, error) from None
    return system, root.rstrip("/")


def public(url: str) -> str:
    """``url`` without what may be a password."""
    return re.sub(r"//[^/@]*@", "//…@", url)[:200]


def listed(url: str, system: Any, folder: str) -> list[dict[str, Any]]:
    """What lies in a folder, by name; nothing where there is none. Raises ``Stop``."""
    try:
        system.invalidate_cache()
        found = system.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except Exception as error:
        raise _unreachable(url, error) from None
    return sorted((one for one in found if one["type"] == "file"), key=lambda one: one["name"])


def log_files(url: str, since: datetime, until: datetime) -> tuple[Any, list[File]]:
    """The log's files that may hold records of ``since`` to ``until``, oldest first."""
    system, root = reach(url)
    found: list[File] = []
    day = since.date()
    # A record is written a moment after it happened, which may be the next day.
    while day <= until.date() + timedelta(days=1):
        for one in listed(url, system, posixpath.join(root, day.isoformat())):
            name = posixpath.basename(one["name"])
            if name.endswith(".jsonl") and not name.startswith("."):
                found.append(File(one["name"], day, int(one["size"] or 0)))
        day += timedelta(days=1)
    return system, found


def pieces(url: str, system: Any, path: str) -> Iterator[tuple[list[bytes], bool]]:
    """Whole lines, some MB at once, and with the last of them whether a torn line follows.

    A line that is longer than any honest one is given as an empty one; a file that is gone has
    none.
    """
    left, skipping = b"", False
    try:
        with system.open(path, "rb") as file:
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
    except FileNotFoundError:
        return  # removed since it was listed
    except Exception as error:
        raise _unreachable(url, error) from None
    if left or skipping:
        yield [], True


def _unreachable(url: str, error: Exception) -> Stop:
    return Stop(
        f"{public(url)} cannot be read ({type(error).__name__}): is the address right, and is "
        "there a key for it?",
        INFRASTRUCTURE,
    )
