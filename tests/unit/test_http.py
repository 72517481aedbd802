"""The HTTP listener answers its pages, and is bounded."""

import http.client
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from eir.http import HttpServer, Page, metrics_page, probe_page
from tests.running import wait_for


@pytest.fixture
def server() -> Iterator[HttpServer]:
    pages = {
        "/metrics": lambda: metrics_page(lambda: b"eir_ready 1\n"),
        "/readyz": lambda: probe_page(holds=False, reasons=["tables: tables loading"]),
        "/livez": lambda: probe_page(holds=True, reasons=[]),
    }
    server = HttpServer(("127.0.0.1", 0), pages, requests_max=2, seconds_max=0.5)
    yield server
    server.close()


def ask(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type") or "", body


def test_pages_are_answered(server: HttpServer) -> None:
    status, kind, body = ask(server, "/metrics")
    assert (status, body) == (200, "eir_ready 1\n")
    assert kind.startswith("text/plain; version=")
    assert ask(server, "/livez?verbose")[::2] == (200, "ok\n")
    assert ask(server, "/none")[0] == HTTPStatus.NOT_FOUND


def test_a_probe_that_fails_says_why(server: HttpServer) -> None:
    assert ask(server, "/readyz")[::2] == (503, "not ok\ntables: tables loading\n")


def test_head_has_no_body_and_other_methods_are_refused(server: HttpServer) -> None:
    assert ask(server, "/livez", "HEAD")[::2] == (200, "")
    assert ask(server, "/livez", "POST")[0] == HTTPStatus.NOT_IMPLEMENTED


def test_more_connections_than_places_are_closed(server: HttpServer) -> None:
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(2)]
    # Each has its place only once it was accepted; they are accepted in order.
    extra = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    assert extra.recv(1) == b""
    for connection in (*held, extra):
        connection.close()


def test_a_slow_request_is_cut_off_and_its_place_is_free_again(server: HttpServer) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(2)]
    for connection in slow:
        connection.sendall(b"GET /livez HTTP/1.1\r\nX:")
    for connection in slow:
        assert connection.recv(1) == b""
        connection.close()

    def is_answered() -> bool:
        try:
            return ask(server, "/livez")[0] == HTTPStatus.OK
        except ConnectionError:
            return False

    # A place is free some time after its connection was cut off.
    wait_for(is_answered, "no place is free again")


def test_a_port_in_use_is_an_error(server: HttpServer) -> None:
    with pytest.raises(OSError, match="in use"):
        HttpServer(("127.0.0.1", server.port), {}, requests_max=1, seconds_max=1)


def test_a_page_takes_text_or_bytes() -> None:
    assert Page(HTTPStatus.OK, "é").body == Page(HTTPStatus.OK, "é".encode()).body
