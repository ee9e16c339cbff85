"""Servers of a test: osv.dev's, a service's, any."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def osv(known: Mapping[str, list[str]]) -> Iterator[str]:
    """Its address; ``known`` has identifiers by the beginning of a package's purl."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            asked = [one["package"]["purl"] for one in json.loads(self.rfile.read(size))["queries"]]
            found = [
                [{"id": id_} for name, ids in known.items() if purl.startswith(name) for id_ in ids]
                for purl in asked
            ]
            body = json.dumps({"results": [{"vulns": ids} if ids else {} for ids in found]})
            self.send_response(200 if self.path == "/v1/querybatch" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with served(Handler) as address:
        yield address


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers as ``handler`` does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def service(answers: Callable[[Any], Any]) -> Iterator[str]:
    """A service; ``answers`` gives None for a row that it fails on."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body at once: else the kernel waits 40 ms between them

        def do_GET(self) -> None:
            self.reply(200, {})

        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said = answers(row)
            self.reply(200 if said else 500, said or {})

        def reply(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with served(Handler) as address:
        yield address
