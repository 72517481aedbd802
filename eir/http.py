"""HTTP for Prometheus and for probes, in threads of its own.

`/metrics`; `/livez`: the process works, whatever is outside; `/readyz`: it takes
checks, with the reasons when it does not. A thread, so that a stalled event
loop is seen here instead of stalling this too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

POLL_SECONDS: Final = 0.05
"""How soon a server that is closed notices."""
TEXT: Final = "text/plain; charset=utf-8"


class Page:
    """What a path answers: a status, a type, a body."""

    def __init__(self, status: HTTPStatus, body: bytes | str, content_type: str = TEXT) -> None:
        """Take text or bytes."""
        self.status, self.content_type = status, content_type
        self.body = body.encode() if isinstance(body, str) else body


class HttpServer:
    """Serves pages by path until it is closed."""

    def __init__(
        self,
        address: tuple[str, int],
        pages: dict[str, Callable[[], Page]],
        *,
        requests_max: int,
        seconds_max: float,
    ) -> None:
        """Bind and serve. Raises OSError when the address cannot be bound."""
        self._server = _Server(address, pages, requests_max, seconds_max)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Takes a bounded number of connections at a time, one request on each."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        pages: dict[str, Callable[[], Page]],
        requests_max: int,
        seconds_max: float,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.pages, self.seconds_max = pages, seconds_max
        self._places = threading.BoundedSemaphore(requests_max)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        request.settimeout(self.seconds_max)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A timeout bounds each read, not the whole request: a slow sender is cut off here.
        cut = threading.Timer(self.seconds_max, _cut, (request,))
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client that went away go."""


def _cut(request: socket.socket) -> None:
    """End a connection that takes too long."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: _Server
    server_version = "eir"
    sys_version = ""

    def do_GET(self) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        page = make() if make else Page(HTTPStatus.NOT_FOUND, "not found\n")
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET  # noqa: N815 - the name the base class looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
        """Log nothing: a probe a second would drown the rest."""


def metrics_page(render: Callable[[], bytes]) -> Page:
    """Make the page of /metrics."""
    return Page(HTTPStatus.OK, render(), CONTENT_TYPE_LATEST)


def probe_page(holds: bool, reasons: list[str]) -> Page:
    """Make the page of a probe: 200 or 503, with the reasons a line each."""
    status = HTTPStatus.OK if holds else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(status, "\n".join(["ok" if holds else "not ok", *reasons]) + "\n")
