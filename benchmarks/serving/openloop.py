"""Open loop: requests at fixed times, whether or not earlier ones were answered.

``python openloop.py PORT PATH BODIES RATE SECONDS [CONNECTIONS]`` prints one line of JSON. Latency
counts from the moment a request was *due*, so that a server that stalls pays for every request
that had to wait (no coordinated omission). One thread that never sleeps, made for a core of its
own; it keeps connections alive and uses whichever is free. ``late_ms`` is how late a request left
although a connection was free: the error of this generator itself (99th percentile).
"""

import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path

GRACE = 5.0  # seconds that answers may come after the last request was due


class Connection:
    """A kept-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due, self._got = 0.0, b""

    def send(self, message: bytes, due: float) -> None:
        """Send a request that was due at this time; bodies of one row fit the socket's buffer."""
        self.due, self._got = due, b""
        if self.socket.send(message) != len(message):
            raise SystemExit("openloop: a body is too long to be sent at once")

    def receive(self) -> int:
        """The status once the answer is whole, 0 before; -1 if the server hung up."""
        try:
            part = self.socket.recv(65536)
        except BlockingIOError:
            return 0
        if not part:
            return -1
        self._got += part
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return int(head[9:12]) if len(body) >= int(value) else 0
        raise SystemExit("openloop: an answer has no Content-Length")


def open_loop(
    port: int, path: str, bodies: list[bytes], rate: float, seconds: float, connections: int = 64
) -> dict[str, float]:
    """Ask ``rate`` times a second for ``seconds``; latencies in milliseconds."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    messages = [f"{head}Content-Length: {len(b)}\r\n\r\n".encode() + b for b in bodies]
    poll, clock = select.epoll(), time.perf_counter
    free = deque(Connection(port) for _ in range(connections))
    busy = {one.socket.fileno(): one for one in free}
    for descriptor in busy:
        poll.register(descriptor, select.EPOLLIN)
    total, sent, bad, waited = round(rate * seconds), 0, 0, False
    taken: list[float] = []
    late: list[float] = []
    start = clock() + 0.05
    while len(taken) + bad < total and clock() < start + seconds + GRACE:
        due = start + sent / rate
        if sent < total and clock() >= due:
            if free:
                if not waited:
                    late.append(clock() - due)
                free.popleft().send(messages[sent % len(messages)], due)
                sent += 1
                # Those that are overdue because all connections were busy are the server's.
                waited = waited and clock() >= start + sent / rate
            else:
                waited = True
        for descriptor, _ in poll.poll(0):
            one = busy[descriptor]
            status = one.receive()
            if status == -1:
                raise SystemExit("openloop: the server closed a connection")
            if status:
                free.append(one)
                if status == 200:
                    taken.append(clock() - one.due)
                else:
                    bad += 1
    span = clock() - start
    taken.sort()
    late.sort()
    return {
        "asked": total,
        "answered": len(taken),
        "not_200": bad,
        "rate": round(len(taken) / max(span, seconds), 1),
        "p50_ms": round(at(taken, 0.5), 3),
        "p99_ms": round(at(taken, 0.99), 3),
        "late_ms": round(at(late, 0.99), 3),
    }


def at(values: list[float], share: float) -> float:
    """A quantile of sorted seconds, in milliseconds."""
    return values[min(len(values) - 1, int(share * len(values)))] * 1e3 if values else -1.0


if __name__ == "__main__":
    port, path, file, rate, seconds, *rest = sys.argv[1:]
    lines = Path(file).read_bytes().splitlines()
    print(
        json.dumps(open_loop(int(port), path, lines, float(rate), float(seconds), *map(int, rest)))
    )
