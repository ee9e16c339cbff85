"""A folder that may lie anywhere: a path, or a URL that fsspec knows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .console import BROKEN, INFRASTRUCTURE, Stop


class Folder:
    """Files by name below ``url``; every fault of the place is a ``Stop``."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._fs, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise Stop(f"{_short(url)} cannot be used ({error}): install what it needs") from None
        self._path = str(path).rstrip("/")
        self._local = "file" in _protocols(self._fs)

    def names(self, pattern: str) -> list[str]:
        """The names that fit, sorted; none where the folder is not there."""
        with self._faults():
            found = self._fs.glob(f"{self._path}/{pattern}")
        return sorted(str(path).removeprefix(self._path).lstrip("/") for path in found)

    def read(self, name: str, most: int) -> bytes:
        """The file's bytes; a file of more than ``most`` bytes is refused."""
        with self._faults(), self._fs.open(f"{self._path}/{name}", "rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise Stop(f"{self._shown(name)} is larger than {most:,} bytes: is it the right file?")
        return bytes(content)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """The file, to be read where it lies."""
        with self._faults(), self._fs.open(f"{self._path}/{name}", "rb") as file:
            yield file

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under ``name``: whole, or not at all."""
        target = f"{self._path}/{name}"
        with self._faults():
            if self._local:
                draft = Path(target).with_name(f".{Path(target).name}.draft")
                draft.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(file, draft)
                    draft.replace(target)
                finally:
                    draft.unlink(missing_ok=True)
                return
            with self._fs.transaction, self._fs.open(target, "wb") as there, file.open("rb") as own:
                shutil.copyfileobj(own, there, 2**20)

    def _shown(self, name: str) -> str:
        return f"{_short(self.url)}/{name}"

    @contextmanager
    def _faults(self) -> Iterator[None]:
        with faults(self.url):
            yield


@contextmanager
def faults(url: str) -> Iterator[None]:
    """What a store raises, as one sentence without credentials."""
    try:
        yield
    except FileNotFoundError:
        raise Stop(f"{_short(url)} is not there: correct the address", BROKEN) from None
    except Stop:
        raise
    except Exception as error:  # each store has exceptions of its own
        what = f"{_short(url)} cannot be reached ({type(error).__name__})"
        raise Stop(f"{what}: see that it is up and you may use it", INFRASTRUCTURE) from None


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _short(url: str) -> str:
    """The address without what may be a secret: user, password and query."""
    head, mark, rest = url.partition("://")
    return f"{head}{mark}{rest.partition('?')[0].rpartition('@')[2]}" if mark else url
