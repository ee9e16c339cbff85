"""Closed files of the inference log: shipped to where they are kept, and removed here in time."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..stage import InputError, say
from .numbers import LogNumbers
from .settings import Settings

LOOK = 2.0  # seconds between two looks for a file that was closed
SCAN = 900.0  # seconds between two looks at all files, of dead processes, too
RETRY, LONGEST = 5.0, 300.0  # seconds; doubled until the longest
# Elsewhere an object appears whole, and a move would be a second copy.
MOVES = {"file", "local", "memory", "sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "arrow_hdfs"}
DAY = 86_400.0


class Closed(NamedTuple):
    """A file that nobody writes."""

    path: Path
    size: int
    changed: float
    shipped: bool


class Store:
    """Ships and removes, in a thread of its own."""

    def __init__(self, folder: Path, settings: Settings, counts: LogNumbers) -> None:
        """Raises ``InputError`` for an address that cannot be used."""
        self._folder, self._counts = folder, counts
        self._keep, self._most = settings.log_keep_days * DAY, settings.log_max_bytes
        self._system, self._root = _file_system(settings.log_url)
        self._waiting: deque[Path] = deque()
        self._failures, self._not_before, self._scanned = 0, 0.0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference-log-store", daemon=True)
        self._thread.start()

    def closed(self, path: Path) -> None:
        """Told by the writer."""
        if self._system is not None:
            self._waiting.append(path)

    def close(self, seconds: float) -> None:
        """Ship what was closed last, for so long at most."""
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            self._guard(self._round)
        self._not_before = 0.0
        self._guard(self._ship)

    def _guard(self, work: Any) -> None:
        try:
            work()
        except Exception as error:  # a store has as many errors as there are libraries
            self._counts.failed += 1
            wait = min(LONGEST, RETRY * 2**self._failures)
            self._not_before = time.monotonic() + wait
            self._failures += 1
            if self._failures == 1:
                say(f"service: the inference log cannot be shipped ({type(error).__name__})")

    def _round(self) -> None:
        if not self._scanned or time.monotonic() - self._scanned >= SCAN:
            self._scanned = time.monotonic()
            self._scan()
        self._ship()

    def _scan(self) -> None:
        files = sorted(self._closed(), key=lambda file: file.changed)
        if self._system is not None:
            known = set(self._waiting)
            self._waiting.extend(f.path for f in files if not f.shipped and f.path not in known)
        over = sum(file.size for file in files) - self._most
        oldest = time.time() - self._keep
        stays = self._system is not None  # what was not shipped, unless there is no room
        for file in sorted(files, key=lambda file: (stays and not file.shipped, file.changed)):
            old = file.changed < oldest and (file.shipped or not stays)
            if old or over > 0:
                _remove(file.path)
                over -= file.size
                if stays and not file.shipped:
                    self._counts.removed += 1

    def _closed(self) -> Iterator[Closed]:
        for path in self._folder.glob("????-??-??/*.jsonl"):
            with locked(path) as free:
                if free:
                    about = path.stat()
                    yield Closed(path, about.st_size, about.st_mtime, _mark(path).exists())

    def _ship(self) -> None:
        while self._waiting and time.monotonic() >= self._not_before:
            path = self._waiting[0]
            with locked(path) as free:
                if free and not _mark(path).exists():
                    self._upload(path)
                    _mark(path).touch()
                    self._counts.shipped += 1
                    self._counts.shipped_at = time.time()
            self._waiting.popleft()
            if self._failures:
                self._failures = 0
                say("service: the inference log is shipped again")

    def _upload(self, path: Path) -> None:
        folder = f"{self._root}/{path.parent.name}"
        target = f"{folder}/{path.name}"
        protocol = self._system.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        if not names & MOVES:
            self._system.put_file(str(path), target)
            return
        self._system.makedirs(folder, exist_ok=True)
        draft = f"{folder}/.{path.name}.tmp"
        self._system.put_file(str(path), draft)
        self._system.mv(draft, target)


def lock(handle: int) -> None:
    """Hold a file; raises ``BlockingIOError`` where another process does."""
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether the file is there and nobody writes it; it is held meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            lock(handle)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(handle)


def _mark(path: Path) -> Path:
    """Beside a file that was shipped."""
    return path.with_name(f".{path.name}.shipped")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _mark(path).unlink(missing_ok=True)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def _file_system(url: str) -> tuple[Any, str]:
    """A file system of fsspec and the folder in it; raises ``InputError``."""
    if not url:
        return None, ""
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url)
    except ImportError:
        name = url.partition("://")[0]
        raise InputError(
            f"SERVICE_LOG_URL: what reaches {name}:// is not here; add fsspec and its part for it "
            "(s3fs, gcsfs, adlfs) to requirements/serve.in and run `make lock`"
        ) from None
    except Exception as error:  # each file system has its own
        raise InputError(
            f"SERVICE_LOG_URL cannot be used ({type(error).__name__}): give an address like "
            "s3://bucket/log"
        ) from None
    return system, root.rstrip("/")
