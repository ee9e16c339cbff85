"""Closed files of the inference log: shipped to where they are kept, and removed here in time."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.core.console import say
from gatehouse.core.errors import InputError, Stop
from gatehouse.core.inference_log import DAYS, SUFFIX
from gatehouse.core.places import Folder

from .numbers import LogNumbers
from .settings import Settings

LOOK = 2.0  # seconds between two looks for a file that was closed
SCAN = 900.0  # seconds between two looks at all files, of dead processes, too
RETRY, LONGEST = 5.0, 300.0  # seconds; doubled until the longest
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
        self._far = _far(settings.log_url)
        self._waiting: deque[Path] = deque()
        self._failures, self._not_before, self._scanned = 0, 0.0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference-log-store", daemon=True)
        self._thread.start()

    def closed(self, path: Path) -> None:
        """Told by the writer."""
        if self._far is not None:
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
                why = str(error) if isinstance(error, Stop) else type(error).__name__
                say(f"service: the inference log cannot be shipped ({why})")

    def _round(self) -> None:
        if not self._scanned or time.monotonic() - self._scanned >= SCAN:
            self._scanned = time.monotonic()
            self._scan()
        self._ship()

    def _scan(self) -> None:
        files = sorted(self._closed(), key=lambda file: file.changed)
        if self._far is not None:
            known = set(self._waiting)
            self._waiting.extend(f.path for f in files if not f.shipped and f.path not in known)
        over = sum(file.size for file in files) - self._most
        oldest = time.time() - self._keep
        stays = self._far is not None  # what was not shipped, unless there is no room
        for file in sorted(files, key=lambda file: (stays and not file.shipped, file.changed)):
            old = file.changed < oldest and (file.shipped or not stays)
            if old or over > 0:
                _remove(file.path)
                over -= file.size
                if stays and not file.shipped:
                    self._counts.removed += 1

    def _closed(self) -> Iterator[Closed]:
        for path in self._folder.glob(f"{DAYS}/*{SUFFIX}"):
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
        assert self._far is not None
        self._far.put(path, f"{path.parent.name}/{path.name}")


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


def _far(url: str) -> Folder | None:
    """Where files are shipped to, if anywhere; raises ``InputError``."""
    try:
        return Folder(url) if url else None
    except Stop as stop:
        raise InputError("log-place", f"SERVICE_LOG_URL cannot be used: {stop}") from None
