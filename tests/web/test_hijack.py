"""Taking a socket away from a server (§3.2, §3.3, §10.3)."""

import io
import socket

import gevent.socket
import pytest
from gevent.pywsgi import Input, WSGIHandler

from greenrelay.web.hijack import (
    TAKE_KEY,
    Taken,
    can_take,
    discard_body,
    is_client_gone,
    take,
    take_file,
)

STATUS = "101 Switching Protocols"


class Pair:
    """A server's socket and its buffered file, and the client's socket."""

    def __init__(self):
        self.server, self.client = gevent.socket.socketpair()
        self.file = self.server.makefile("rb", -1)

    def close(self):
        for each in (self.file, self.server, self.client):
            each.close()


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def taken(pair):
    """The client's connection, taken."""
    taken = take_file(pair.file)
    yield taken
    taken.sock.close()


def test_what_was_read_ahead_is_kept(pair):
    """§3.3: the server has buffered it together with the head."""
    pair.client.sendall(b"the head\n" + b"early" * 1000)
    assert pair.file.readline() == b"the head\n"
    taken = take_file(pair.file)
    assert taken.early == b"early" * 1000
    taken.sock.close()


def test_what_the_server_has_not_read_yet_is_not_lost(pair):
    """§3.3"""
    pair.client.sendall(b"early" * 10_000)
    taken = take_file(pair.file)
    rest = taken.sock.recv(1 << 20)
    assert taken.early + rest == b"early" * 10_000
    taken.sock.close()


def test_taking_does_not_wait_for_a_silent_client(taken):
    assert taken == Taken(taken.sock, b"", must_wait=False, must_stop=False)
    with pytest.raises(BlockingIOError):
        taken.sock.recv(1)


def test_server_can_do_no_harm_any_more(pair, taken):
    """Its last read, and its close, meet a detached socket."""
    pair.server.close()
    pair.client.sendall(b"hello")
    assert taken.sock.recv(5) == b"hello"
    assert pair.file.closed


def test_close_of_a_taken_socket_reaches_the_client(pair, taken):
    taken.sock.close()
    assert pair.client.recv(1) == b""


@pytest.mark.parametrize("wrap", [lambda file: file, lambda file: Input(file, None)])
def test_pywsgi_is_recognised_by_its_input(pair, wrap):
    """§10.3: a raw file for an upgrade, an `Input` for other requests."""
    assert can_take({"wsgi.input": wrap(pair.file)})


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="no input"),
        pytest.param({"wsgi.input": io.BytesIO()}, id="memory"),
        pytest.param({"wsgi.input": io.BufferedReader(io.BytesIO())}, id="buffered memory"),
        pytest.param({"gunicorn.socket": object()}, id="a worker without gevent"),
    ],
)
def test_other_servers_are_left_alone(environ):
    """§3.2: 501"""
    assert not can_take(environ)


def test_file_of_a_blocking_socket_is_left_alone():
    """§3.2: a threaded server's."""
    server, client = socket.socketpair()
    with server, client, server.makefile("rb") as file:
        assert not can_take({"wsgi.input": file})


def test_connection_of_http_2_is_left_alone(pair):
    """§3.2: other requests share it."""
    environ = {"gunicorn.socket": pair.server, "SERVER_PROTOCOL": "HTTP/1.1"}
    assert can_take(environ)
    assert not can_take({**environ, "SERVER_PROTOCOL": "HTTP/2.0"})


def test_our_own_server_hands_its_socket_over(pair):
    given = Taken(pair.server, b"early")
    environ = {TAKE_KEY: lambda status: given if status == STATUS else None}
    assert can_take(environ)
    assert take(environ, lambda *args: None, STATUS) is given


def test_rest_of_a_body_is_not_taken_for_a_frame(pair):
    """§5.1: a request with a body may open an event stream."""
    pair.client.sendall(b"the rest" + b"early")
    environ = {"wsgi.input": Input(pair.file, 8)}
    discard_body(environ, 1)
    taken = take(environ, lambda *args: None, STATUS)
    assert taken.early == b"early"
    taken.sock.close()


def test_access_log_of_pywsgi_gets_the_status(pair):
    """§10.2"""
    handler = WSGIHandler(pair.server, ("192.0.2.1", 50000), None, rfile=pair.file)
    taken = take({"wsgi.input": pair.file}, handler.start_response, STATUS)
    assert '"" 101 - -' in handler.format_request()
    taken.sock.close()


def test_client_that_is_gone_is_noticed_without_reading(pair):
    """§4.1"""
    environ = {"wsgi.input": Input(pair.file, None)}
    assert not is_client_gone(environ)
    pair.client.sendall(b"next request")
    assert not is_client_gone(environ)
    assert pair.file.read(12) == b"next request"
    pair.client.close()
    assert is_client_gone(environ)


def test_client_of_an_unknown_server_is_taken_for_present():
    assert not is_client_gone({"wsgi.input": io.BytesIO()})
