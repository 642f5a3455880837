"""A server on this machine that does what publishers' servers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DATA = np.random.default_rng(1).bytes(200_000)


@dataclass
class Site:
    """What the server gives, and what it was asked for."""

    body: bytes = DATA
    status: int = 200
    ranges: bool = True  # whether it heeds Range
    stop: int | None = None  # bytes of the body after which it hangs up
    location: str = ""  # of a redirect for /moved
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        wanted = self.headers["Range"]
        site.asked.append((self.path, wanted))
        status, body = site.status, site.body
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", site.location)
            self.end_headers()
            return
        if wanted and site.ranges and status == 200:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status, body = (206, body[start:]) if start < len(body) else (416, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may hang up
            self.wfile.write(body if site.stop is None else body[: site.stop])

    def log_message(self, *args: object) -> None:
        """Not on stderr."""


def serve(server: ThreadingHTTPServer) -> Iterator[tuple[Site, int]]:
    """Run it; gives what it does and its port, then ends it."""
    server.site = Site()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.site, server.server_port  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
