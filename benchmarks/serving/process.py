"""A server as a process tree: started on its core, watched, measured, ended."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from common import SERVER_CORE, Trouble, environment, say
from servers import Server

PATIENCE = 120.0  # seconds until the first answer
SETTLE, WATCH, IDLE = (
    30.0,
    0.3,
    0.25,
)  # seconds at most, between looks, share of a core that is idle
MARK = "GATEHOUSE_BENCHMARK"


class Running:
    """A started server; use it in ``with``, so that nothing of it outlives the measurement.

    Its processes are found by a mark in their environment, since some servers (Ray) leave the
    process group and the session that they were started in.
    """

    def __init__(self, name: str, server: Server, port: int, log: Path) -> None:
        self.name, self.port, self._server, self._log = name, port, server, log
        self.cold_start = 0.0
        self._mark = uuid.uuid4().hex

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                ["taskset", "-c", SERVER_CORE, *self._server.command],
                cwd=self._server.cwd,
                env=environment(**self._server.env, **{MARK: self._mark}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(begun)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _wait(self, begun: float) -> None:
        url = f"http://127.0.0.1:{self.port}{self._server.ready}"
        while time.perf_counter() - begun < PATIENCE:
            self.check()
            with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    self.cold_start = time.perf_counter() - begun
                    return
            time.sleep(0.01)
        raise Trouble(f"{self.name} gave no answer in {PATIENCE:.0f} s:\n{self.last_words()}")

    def check(self) -> None:
        """Raise ``Trouble`` if the server has died."""
        code = self._process.poll()
        if code is not None:
            raise Trouble(f"{self.name} died with exit code {code}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return "\n".join(text.splitlines()[-12:])

    def processes(self) -> list[int]:
        """The ids of all its processes."""
        mark, found = f"{MARK}={self._mark}".encode(), []
        for place in Path("/proc").iterdir():
            with suppress(OSError):
                if place.name.isdigit() and mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return found

    def memory(self) -> dict[str, float]:
        """MiB of all its processes: ``pss`` counts a shared page once, ``rss`` in each."""
        total = {"pss": 0.0, "rss": 0.0}
        for process in self.processes():
            with suppress(OSError):
                for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    name, _, rest = line.partition(":")
                    if name.lower() in total:
                        total[name.lower()] += int(rest.split()[0]) / 1024
        return {name: round(value, 1) for name, value in total.items()}

    def settle(self) -> None:
        """Wait until nothing is left of the load: wrk hangs up while answers are being made."""
        until, before = time.perf_counter() + SETTLE, self.ticks()
        while time.perf_counter() < until:
            time.sleep(WATCH)
            now = self.ticks()
            if now - before <= IDLE * WATCH * os.sysconf("SC_CLK_TCK"):
                return
            before = now
        say(f"{self.name} is still busy {SETTLE:.0f} s after the load has ended")

    def ticks(self) -> int:
        """Processor time of all its processes."""
        total = 0
        for process in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total

    def _end(self) -> None:
        for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            for process in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(process, sign)
            until = time.perf_counter() + patience
            while time.perf_counter() < until:
                self._process.poll()
                if not self.processes() and self._process.returncode is not None:
                    return
                time.sleep(0.05)
        say(f"{self.name}: processes {self.processes()} could not be ended")
