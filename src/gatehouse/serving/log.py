"""The inference log: each answered prediction request leaves one line of JSON in a file.

The side of the event loop appends a tuple to a bounded buffer, and no more. A thread takes what is
there four times a second, puts body and answer into the line as they are, which were valid JSON or
there would be no answer, and writes. What does not fit into the buffer is dropped and counted: an
answer never waits for its record.
"""

import errno
import os
import re
import socket
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

from gatehouse.core.console import say
from gatehouse.core.errors import InputError
from gatehouse.core.inference_log import day_folder, file_name

from .log_lines import Lines
from .log_store import Store, lock
from .numbers import LogNumbers, Numbers
from .predictor import Predictor
from .settings import Settings

PAUSE = 0.25  # seconds between two looks into the buffer
MOST_BYTES, MOST_RECORDS = 32 * 2**20, 65_536  # of the buffer
CHUNK = 128  # records formatted at once: so long a request may have to wait for the interpreter
FILE_BYTES, FILE_SECONDS = 16 * 2**20, 300.0  # a file that is larger or older is closed
RETRY = 1.0  # seconds until a disk that refused is asked again
CLOSING = 4.0  # seconds that the end may take
HOST = re.sub(r"[^A-Za-z0-9]", "-", socket.gethostname())[:40]


class Log:
    """Takes records from the event loop and writes them in a thread of its own."""

    def __init__(self, predictor: Predictor, settings: Settings, counts: LogNumbers) -> None:
        """Raises ``InputError`` for settings that cannot be followed."""
        assert settings.log_folder is not None
        folder = _writable(settings.log_folder)
        self._lines, self._counts = Lines(predictor, settings), counts
        # Where all are kept no hash need be made.
        self._below = round(settings.log_sample * 2**32) if settings.log_sample < 1 else None
        self._buffer: deque[tuple[Any, ...]] = deque()
        self._added = self._taken = 0  # bytes; each is written by one thread
        self._store = Store(folder, settings, counts)
        self._file = File(folder)
        self._unwritten, self._records, self._retry_at = b"", 0, 0.0
        self._refused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    def add(self, name: bytes, start: float, seconds: float, reply: Any) -> None:
        """Take one answered request; ``start`` is of ``time.perf_counter``."""
        if self._below is not None and crc32(name) >= self._below:
            self._counts.sampled_out += 1
            return
        asked, said = reply.asked, reply.said or reply.body
        size = len(reply.body) + (len(asked) if type(asked) is bytes else _size(asked))
        if self._added - self._taken + size > MOST_BYTES or len(self._buffer) >= MOST_RECORDS:
            self._counts.dropped += 1
            return
        self._added += size
        self._buffer.append((name, start, seconds, asked, said, reply.found.unusual, size))

    def close(self) -> None:
        """Write and ship what is left, within seconds; a second call does nothing."""
        if self._stop.is_set():
            return
        until = time.monotonic() + CLOSING
        self._stop.set()
        self._thread.join(CLOSING)
        self._store.close(max(0.1, until - time.monotonic()))

    def _run(self) -> None:
        """Until told to stop; nothing that goes wrong here may end it."""
        while not self._stop.wait(PAUSE):
            self._round()
        self._retry_at = 0.0  # one last try
        self._round()
        self._guard(self._end)

    def _round(self) -> None:
        while (self._buffer or self._unwritten) and time.monotonic() >= self._retry_at:
            self._guard(self._step)
        self._guard(self._rotate)

    def _guard(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self._retry_at = time.monotonic() + RETRY
            if not self._refused:
                reason = getattr(error, "strerror", None) or type(error).__name__
                say(f"service: the inference log cannot be written ({reason}); answers go on")
            self._refused = True

    def _step(self) -> None:
        """Format and write one chunk; a chunk that could not be written is kept for the next."""
        if not self._unwritten:
            self._format()
        if self._unwritten:
            self._file.write(self._unwritten)
            self._counts.written += self._records
            self._counts.wrote_at = time.time()
        self._unwritten, self._records = b"", 0
        if self._refused:
            self._refused = False
            say("service: the inference log is written again")

    def _format(self) -> None:
        epoch = time.time() - time.perf_counter()  # the clock may have been set
        lines, taken = [], 0
        for _ in range(min(CHUNK, len(self._buffer))):
            name, start, seconds, asked, said, unusual, size = self._buffer.popleft()
            taken += size
            try:
                lines.append(self._lines.line(name, epoch + start, seconds, asked, said, unusual))
            except Exception:  # one record that cannot be written must not take others with it
                self._counts.lost += 1
        self._unwritten, self._records = b"".join(lines), len(lines)
        self._taken += taken

    def _rotate(self) -> None:
        if closed := self._file.close_if_due():
            self._store.closed(closed)

    def _end(self) -> None:
        if closed := self._file.close():
            self._store.closed(closed)
        # What the disk did not take and what came after it.
        self._counts.lost += self._records + len(self._buffer)


class File:
    """The file that is written now: ``<folder>/<day>/<HHMMSS>-<host>-<pid>-<n>.jsonl``.

    It is locked for as long as it is open, so that another process knows whose file is dead.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._handle, self._path, self._size, self._opened, self._day = -1, Path(), 0, 0.0, ""

    def write(self, data: bytes) -> None:
        """All of it, or an ``OSError`` and nothing of it."""
        if self._handle < 0:
            self._open()
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            # Half a line would spoil the one after it.
            os.ftruncate(self._handle, self._size)
            if not self._size:
                self._path.unlink(missing_ok=True)
                self.close()
            elif error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._opened = -inf  # perhaps another file can be written
            raise
        self._size += len(data)

    def close_if_due(self) -> Path | None:
        """Close the file that is full, old or of yesterday, and say which it was."""
        due = self._size >= FILE_BYTES or time.monotonic() - self._opened >= FILE_SECONDS
        return self.close() if due or self._day != _today() else None

    def close(self) -> Path | None:
        """Close the file, if there is one."""
        if self._handle < 0:
            return None
        os.close(self._handle)
        self._handle = -1
        return self._path

    def _open(self) -> None:
        self._day = _today()
        folder = self._folder / self._day
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._number += 1
            path = folder / file_name(datetime.now(UTC), HOST, os.getpid(), self._number)
            if not path.exists():
                break
        draft = path.with_name(f".{path.name}.tmp")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            lock(handle)  # before it has its name: unlocked it would pass for dead
            draft.rename(path)
        except OSError:
            os.close(handle)
            draft.unlink(missing_ok=True)
            raise
        self._handle, self._path, self._size = handle, path, 0
        self._opened = time.monotonic()


def start(predictor: Predictor, settings: Settings, numbers: Numbers) -> Log | None:
    """The log, if the settings name a folder for it."""
    if settings.log_folder is None:
        return None
    if sys.platform == "win32":
        raise InputError(
            "log-no-locks",
            "SERVICE_LOG_FOLDER: Windows locks no files as the log needs it; unset it",
        )
    numbers.log = LogNumbers()
    return Log(predictor, settings, numbers.log)


def _today() -> str:
    return day_folder(datetime.now(UTC))


def _size(columns: dict[str, Any]) -> int:
    return 32 * sum(len(values) for values in columns.values())


def _writable(folder: Path) -> Path:
    """``folder``, made if need be; a full disk is no reason to refuse, for it may be emptied."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise _refusal(folder, error.strerror) from None
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise _refusal(folder, "no permission")
    return folder


def _refusal(folder: Path, reason: str | None) -> InputError:
    return InputError(
        "log-not-writable", f"SERVICE_LOG_FOLDER: {folder} cannot be written ({reason}): mend it"
    )
