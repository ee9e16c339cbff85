"""A folder that may lie anywhere: a path, a bucket, or a URL that fsspec knows.

Every fault of a place is a ``Stop`` in one sentence without credentials: 2 where the address is
wrong or what reaches it is not installed, 3 where the place does not answer.
"""

import posixpath
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from .errors import BROKEN, INFRASTRUCTURE, Stop

BLOCK = 2**20  # bytes copied at once
# Where a file grows under its name, it is written beside it and moved. Elsewhere an object appears
# whole, and a move would be a second copy.
MOVES = {"file", "local", "memory", "sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "arrow_hdfs"}


class Missing(Stop):
    """What is not where the address says."""


class File(NamedTuple):
    """A file of a folder: its name there ("" for the address itself), and its bytes."""

    name: str
    size: int


class Folder:
    """Files by name below ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, path = _reach(url)
        self._path = path.rstrip("/")
        protocol = self._fs.protocol
        self._moves = bool(MOVES & ({protocol} if isinstance(protocol, str) else {*protocol}))

    def names(self, pattern: str) -> list[str]:
        """The names that fit, sorted; none where the folder is not there."""
        with faults(self.url):
            self._fs.invalidate_cache()
            found = self._fs.glob(self._at(pattern))
        return sorted(self._name(str(path)) for path in found)

    def files(self, below: str = "") -> list[File]:
        """What lies in the folder (in ``below`` of it), by name; nothing where it is not there."""
        with faults(self.url):
            try:
                self._fs.invalidate_cache()
                found = self._fs.ls(self._at(below), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        files = [one for one in found if one["type"] == "file"]
        return sorted(File(self._name(one["name"]), int(one["size"] or 0)) for one in files)

    def read(self, name: str, most: int) -> bytes:
        """The file's bytes; a file of more than ``most`` bytes is refused."""
        with self.open(name) as file:
            content = file.read(most + 1)
        if len(content) > most:
            where = shown(self._where(name))
            raise Stop("too-large", f"{where} is larger than {most:,} bytes: is it the right file?")
        return bytes(content)

    @contextmanager
    def open(self, name: str = "") -> Iterator[Any]:
        """The file, to be read where it lies; what its reader raises is taken for the place's."""
        with faults(self._where(name)), self._fs.open(self._at(name), "rb") as file:
            yield file

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under ``name``: whole, or not at all."""
        target = self._at(name)
        with faults(self._where(name)):
            if not self._moves:
                self._fs.put_file(str(file), target)
                return
            folder, last = posixpath.split(target)
            self._fs.makedirs(folder, exist_ok=True)
            draft = f"{folder}/.{last}.tmp"
            try:
                self._fs.put_file(str(file), draft)
                self._fs.mv(draft, target)
            except BaseException:
                with suppress(Exception):
                    self._fs.rm_file(draft)
                raise

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def _where(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def _name(self, path: str) -> str:
        # Some say a path with a slash before it, and list it without.
        return path.lstrip("/").removeprefix(self._path.lstrip("/")).lstrip("/")


def split(url: str) -> tuple[Folder, str]:
    """The folder of one file, and the file's name in it."""
    folder, slash, name = url.rpartition("/")
    return Folder((folder or slash) if slash else "."), name


def download(url: str, target: Path) -> None:
    """Copy what lies at ``url`` into the file ``target``."""
    system, path = _reach(url)
    with faults(url), system.open(path, "rb") as there, target.open("wb") as here:
        shutil.copyfileobj(there, here, BLOCK)


def shown(url: str) -> str:
    """The address without what may be a secret: user, password and query."""
    head, mark, rest = url.partition("://")
    if not mark:
        return url
    return f"{head}{mark}{re.sub('^.*@', '…@', rest.partition('?')[0])}"[:200]


@contextmanager
def faults(url: str) -> Iterator[None]:
    """What the store at ``url`` raises, as a ``Stop``."""
    try:
        yield
    except FileNotFoundError:
        raise Missing("place-missing", f"{shown(url)} is not there: correct the address") from None
    except Stop:
        raise
    except Exception as error:  # each store has exceptions of its own
        raise _refusal(url, type(error).__name__, INFRASTRUCTURE) from None


def _reach(url: str) -> tuple[Any, str]:
    """The file system, and the path in it."""
    with faults(url):
        try:
            from fsspec.core import url_to_fs

            system, path = url_to_fs(url)
        except ImportError:
            kind = url.partition("://")[0]
            raise Stop(
                "place-no-driver",
                f"{shown(url)}: what reaches {kind}:// is not here; add fsspec and its part for it "
                "(s3fs, gcsfs, adlfs) to requirements/train.in, or serve.in for the service, and "
                "run `gatehouse lock`",
            ) from None
        except ValueError as error:  # no such kind, or no such address of that kind
            raise _refusal(url, str(error).replace(url, shown(url)), BROKEN) from None
    return system, str(path)


def _refusal(url: str, why: str, exit_code: int) -> Stop:
    fix = "is the address right, and is there a key for it?"
    return Stop(
        "place-unreachable", f"{shown(url)} cannot be read or written ({why}): {fix}", exit_code
    )
