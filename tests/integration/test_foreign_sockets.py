"""Views that take the server's socket themselves, as flask-sock's do on gevent (§10.4)."""

from __future__ import annotations

import time
from typing import Any

import gevent
import gevent.socket
import pytest
from flask import Flask

from greenrelay import GreenRelay
from greenrelay.legacy import see_off
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Lines

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
GOODBYE = b"\x88\x02\x03\xe8"


class Foreign:
    """A WSGI app that serves a WebSocket on a duplicate of the socket, and answers nothing.

    Args:
        size: bytes of the message before its goodbye.
    """

    def __init__(self, size: int = 2) -> None:
        self.frame = b"\x82\x7f" + size.to_bytes(8, "big") + bytes(size)
        self.readers: list[gevent.Greenlet] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        sock = environ["wsgi.input"].raw._sock.dup()
        sock.sendall(HEAD + self.frame + GOODBYE)
        self.readers.append(gevent.spawn(self._read, sock))
        return []

    def _read(self, sock: Any) -> None:
        while sock.recv(1024):
            pass
        sock.close()


@pytest.fixture(params=[False, True], ids=["bare", "relayed"])
def serve(request: Any, node: Any, relay_server: Any) -> Any:
    """Serve such an app, alone or as the view of an app with a relay."""

    def serve(foreign: Foreign, **options: Any) -> Any:
        app: Any = foreign
        if request.param:
            app = Flask("foreign")
            app.wsgi_app = foreign
            GreenRelay(app, node=node)
        return relay_server(app, **options)

    return serve


def read_all(client: raw.RawClient) -> bytes:
    client.send(raw.head("GET / HTTP/1.1"))
    return client.read_rest()


def test_socket_of_a_foreign_websocket_closes_when_its_view_returns(serve: Any) -> None:
    """§10.4: with its last byte, and nothing after it."""
    foreign = Foreign()
    begun = time.monotonic()
    with raw.RawClient(serve(foreign).url) as client:
        assert read_all(client) == HEAD + foreign.frame + GOODBYE
        assert time.monotonic() - begun < 5
    wait_until(lambda: all(reader.ready() for reader in foreign.readers))


def test_client_of_a_foreign_websocket_that_goes_on_sending_reads_to_the_end(serve: Any) -> None:
    """§10.4: a reset would lose what is still on its way."""
    foreign = Foreign(4 << 20)
    with raw.RawClient(serve(foreign).url, receive_buffer=4096) as client:
        client.send(raw.head("GET / HTTP/1.1"))
        gevent.sleep(0.1)
        client.send(raw.text("x" * 1000), raw.close())
        assert client.read_rest() == HEAD + foreign.frame + GOODBYE


def test_silent_client_of_a_foreign_websocket_is_cut() -> None:
    """§10.4, §3.5: it is waited for no longer than one of ours."""
    ours, client = gevent.socket.socketpair()
    duplicate = ours.dup()
    with ours, client, duplicate:
        reader = gevent.spawn(duplicate.recv, 1024)
        see_off(ours, 0.1)
        assert client.recv(1) == b""
        assert reader.get(timeout=5) == b""


def test_foreign_websocket_is_one_line_of_access_log(serve: Any) -> None:
    """§10.4"""
    log = Lines()
    with raw.RawClient(serve(Foreign(), log=log).url) as client:
        read_all(client)
    wait_until(lambda: log.lines)
    assert ['"GET / HTTP/1.1" 101 ' in line for line in log.lines] == [True]


def test_app_that_answers_nothing_costs_its_connection(relay_server: Any) -> None:
    """PEP 3333: there will be no response, so there is nothing to wait for."""
    with raw.RawClient(relay_server(lambda environ, start_response: []).url) as client:
        client.send(raw.head("GET / HTTP/1.1", upgrade=None, connection=None))
        begun = time.monotonic()
        assert client.read_rest() == b""
        assert time.monotonic() - begun < 5
