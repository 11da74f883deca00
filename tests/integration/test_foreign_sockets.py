"""Views that take the server's socket themselves, as flask-sock's do on gevent (§10.4)."""

from __future__ import annotations

import time
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest
from flask import Flask

from greenrelay import GreenRelay
from greenrelay.serving.bypass import count_written
from greenrelay.serving.closing import await_client_close
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Lines

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CLOSE = b"\x88\x02\x03\xe8"


ENDINGS = ["answers", "answers late", "answered before", "writes", "raises", "raises late"]
"""What an app may do on a connection that it has upgraded by itself, besides returning."""


class Foreign:
    """A WSGI app that serves a WebSocket on a duplicate of the socket, and answers nothing.

    Args:
        size: bytes of the message before its close.
    """

    def __init__(self, size: int = 2) -> None:
        self.frame = b"\x82\x7f" + size.to_bytes(8, "big") + bytes(size)
        self.readers: list[gevent.Greenlet] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        sock = environ["wsgi.input"].raw._sock.dup()
        sock.sendall(HEAD + self.frame + CLOSE)
        self.readers.append(gevent.spawn(self._read, sock))
        return []

    def _read(self, sock: Any) -> None:
        while sock.recv(1024):
            pass
        sock.close()


class Failing(Foreign):
    """The same, whose view then fails as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.how == "answered before":
            start_response("500 Internal Server Error", [])
        if self.how.endswith("late"):
            return self._iterate(environ, start_response)
        super().__call__(environ, start_response)
        if self.how == "waits":
            gevent.event.Event().wait(60)
        if self.how == "raises":
            raise ValueError("a view's")
        if self.how != "answered before":
            write = start_response("500 Internal Server Error", [("Content-Length", "4")])
        if self.how == "writes":
            write(b"oops")
        return [b"oo", b"ps"]

    def _iterate(self, environ: dict[str, Any], start_response: Any) -> Any:
        yield b""
        super().__call__(environ, start_response)
        if self.how.startswith("raises"):
            raise ValueError("a view's")
        start_response("500 Internal Server Error", [])
        yield from (b"oo", b"ps")


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
        assert read_all(client) == HEAD + foreign.frame + CLOSE
        assert time.monotonic() - begun < 5
    wait_until(lambda: all(reader.ready() for reader in foreign.readers))


def test_client_of_a_foreign_websocket_that_goes_on_sending_reads_to_the_end(serve: Any) -> None:
    """§10.4: a reset would lose what is still on its way."""
    foreign = Foreign(4 << 20)
    with raw.RawClient(serve(foreign).url, receive_buffer=4096) as client:
        client.send(raw.head("GET / HTTP/1.1"))
        gevent.sleep(0.1)
        client.send(raw.text("x" * 1000), raw.close())
        assert client.read_rest() == HEAD + foreign.frame + CLOSE


def test_silent_client_of_a_foreign_websocket_is_cut() -> None:
    """§10.4, §3.5: it is waited for no longer than one of ours."""
    ours, client = gevent.socket.socketpair()
    duplicate = ours.dup()
    with ours, client, duplicate:
        reader = gevent.spawn(duplicate.recv, 1024)
        await_client_close(ours, 0.1)
        assert client.recv(1) == b""
        assert reader.get(timeout=5) == b""


def test_foreign_websocket_is_one_line_of_access_log(serve: Any) -> None:
    """§10.4"""
    log = Lines()
    with raw.RawClient(serve(Foreign(), log=log).url) as client:
        read_all(client)
    wait_until(lambda: log.lines)
    assert ['"GET / HTTP/1.1" 101 ' in line for line in log.lines] == [True]


@pytest.mark.parametrize("how", ENDINGS)
def test_nothing_is_written_behind_the_upgrade_of_a_view_that_fails(serve: Any, how: str) -> None:
    """§10.4: it is WebSocket's by now; the connection ends as after a return."""
    foreign, log = Failing(how), Lines()
    begun = time.monotonic()
    with raw.RawClient(serve(foreign, log=log).url) as client:
        assert read_all(client) == HEAD + foreign.frame + CLOSE
        assert time.monotonic() - begun < 5
    wait_until(lambda: all(reader.ready() for reader in foreign.readers))
    wait_until(lambda: log.lines)
    assert ['"GET / HTTP/1.1" 101 ' in line for line in log.lines] == [True]


def test_foreign_websocket_does_not_hold_up_a_server_that_stops(serve: Any) -> None:
    """§9, §10.4: it is ended like any request, without HTTP."""
    foreign, log = Failing("waits"), Lines()
    server = serve(foreign, log=log)
    with raw.RawClient(server.url) as client:
        client.send(raw.head("GET / HTTP/1.1"))
        wait_until(lambda: foreign.readers)
        server.stop()
        assert [line.count(" 101 ") for line in log.lines] == [1]
        assert client.read_rest() == HEAD + foreign.frame + CLOSE
    wait_until(lambda: all(reader.ready() for reader in foreign.readers))


def test_bytes_of_a_connection_are_counted_whoever_writes_them() -> None:
    """§10.4: on a duplicate, and before the client reads them."""
    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with gevent.socket.create_connection(listener.getsockname()) as client:
            before = count_written(client) or 0
            with client.dup() as duplicate:
                duplicate.setblocking(False)
                written = duplicate.send(bytes(8 << 20))
            assert (count_written(client) or 0) - before == written > 0


def test_bytes_of_what_is_no_tcp_are_not_counted() -> None:
    """§10.4"""
    ours, other = gevent.socket.socketpair()
    with ours, other:
        assert count_written(ours) is None


def test_error_of_a_view_that_has_sent_nothing_is_answered(serve: Any) -> None:
    """§10.4: also behind another answer on the same connection, read or not."""

    def refuse(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].raw._sock.dup().close()
        size = int(environ["PATH_INFO"].strip("/"))
        start_response("500 Internal Server Error", [("Content-Length", str(size))])
        return [bytes(size)]

    with raw.RawClient(serve(refuse).url) as client:
        for size in (1 << 20, 4, 4):
            client.send(raw.head(f"GET /{size} HTTP/1.1"))
        for size in (1 << 20, 4, 4):
            answer = client.read_answer()
            assert (answer.status, len(answer.body)) == (500, size)


def test_app_that_answers_nothing_costs_its_connection(relay_server: Any) -> None:
    """PEP 3333: there will be no response, so there is nothing to wait for."""
    with raw.RawClient(relay_server(lambda environ, start_response: []).url) as client:
        client.send(raw.head("GET / HTTP/1.1", upgrade=None, connection=None))
        begun = time.monotonic()
        assert client.read_rest() == b""
        assert time.monotonic() - begun < 5
