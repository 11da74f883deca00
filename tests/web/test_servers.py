"""How each server's sockets are had (§3.2, §10.2, §10.3)."""

import io
import socket

import pytest
from gevent.pywsgi import Input, WSGIHandler

from greenrelay.serving.body import RequestBody
from greenrelay.web.servers import SOCKET_KEY, STATUS_KEY, OwnSocket, find_socket
from greenrelay.web.taking import Taken

STATUS = "101 Switching Protocols"


def can_take(environ):
    return find_socket(environ).can_take


class Handler:
    """What our server's handler does for a socket.

    Args:
        pair: the connection.
        body: the request's.
    """

    def __init__(self, pair, body=None):
        self.rfile = pair.file
        self.body = body
        self.taken = Taken(pair.server, b"early")
        self.statuses = []

    def take(self, status):
        self.statuses.append(status)
        return self.taken

    def mark_answered(self, status):
        self.statuses.append(status)


class Unreader:
    """What gunicorn's parser has read ahead.

    Args:
        early: the bytes.
    """

    def __init__(self, early):
        self.buf = io.BytesIO(early)


class GunicornBody(io.BytesIO):
    """A request's body as gunicorn has it.

    Args:
        data: what is left of it.
        early: what the client has sent behind it.
    """

    def __init__(self, data=b"", early=b""):
        super().__init__(data)
        self.reader = self
        self.unreader = Unreader(early)


class Owner:
    """Has a server's `start_response`, as gunicorn's response has it."""

    def __init__(self):
        self.is_forced = False

    def start_response(self, status, headers):
        raise AssertionError("nobody answers here")

    def force_close(self):
        self.is_forced = True


# -- which server it is ----------------------------------------------------------


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


# -- each server's way -----------------------------------------------------------


def test_our_own_server_hands_its_socket_over(pair):
    """§10.3"""
    handler = Handler(pair)
    sock = find_socket({SOCKET_KEY: OwnSocket(handler)})
    assert sock.can_take
    assert sock.take(STATUS) is handler.taken
    assert handler.statuses == [STATUS]


def test_our_own_server_reads_a_body_to_its_end(pair):
    """§5.1"""
    pair.client.sendall(b"the rest" + b"next")
    body = RequestBody(pair.file, pair.server, 8, 1)
    find_socket({SOCKET_KEY: OwnSocket(Handler(pair, body))}).discard_body(0)
    assert body.is_over
    assert pair.file.read(4) == b"next"


def test_client_that_left_our_own_server_is_logged_as_such(pair):
    """§10.2"""
    handler = Handler(pair)
    find_socket({SOCKET_KEY: OwnSocket(handler)}).abandon()
    assert handler.statuses == ["499 Client Closed Request"]


def test_rest_of_a_body_is_not_taken_for_a_frame(pair):
    """§5.1: a request with a body may open an event stream."""
    pair.client.sendall(b"the rest" + b"early")
    sock = find_socket({"wsgi.input": Input(pair.file, 8)})
    sock.discard_body(1)
    taken = sock.take(STATUS)
    assert taken.early == b"early"
    taken.sock.close()


@pytest.mark.parametrize(
    ("end", "status"), [(lambda sock: sock.take(STATUS), 101), (lambda sock: sock.abandon(), 499)]
)
def test_access_log_of_pywsgi_gets_the_status(pair, end, status):
    """§10.2"""
    handler = WSGIHandler(pair.server, ("192.0.2.1", 50000), None, rfile=pair.file)
    taken = end(find_socket({"wsgi.input": pair.file}, handler.start_response))
    assert f'"" {status} - -' in handler.format_request()
    if taken:
        taken.sock.close()


def test_gunicorn_hands_over_what_its_parser_has_read_and_hears_the_status(pair):
    """§3.3, §10.2"""
    environ = {"gunicorn.socket": pair.server, "wsgi.input": GunicornBody(early=b"early")}
    taken = find_socket(environ).take(STATUS)
    assert (taken.early, taken.must_stop, taken.must_wait) == (b"early", True, False)
    assert environ[STATUS_KEY] == STATUS
    taken.sock.close()


def test_gunicorn_is_told_to_stop_where_the_client_has_left(pair):
    """§10.3"""
    with pytest.raises(StopIteration):
        find_socket({"gunicorn.socket": pair.server}).abandon()


def test_gunicorn_is_asked_to_close_behind_an_answer(pair):
    """§3.2: it drops the header that says so."""
    owner = Owner()
    find_socket({"gunicorn.socket": pair.server}, owner.start_response).end_connection()
    assert owner.is_forced


def test_whatever_answers_around_gunicorn_is_left_alone(pair):
    find_socket({"gunicorn.socket": pair.server}, lambda *args: None).end_connection()


# -- whether the client is there ---------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param(lambda pair: {"wsgi.input": Input(pair.file, None)}, id="pywsgi"),
        pytest.param(lambda pair: {"gunicorn.socket": pair.server}, id="gunicorn"),
        pytest.param(lambda pair: {SOCKET_KEY: OwnSocket(Handler(pair))}, id="our own"),
    ],
)
def test_client_that_is_gone_is_noticed_without_reading(pair, environ):
    """§4.1"""
    sock = find_socket(environ(pair))
    assert not sock.is_client_gone()
    pair.client.sendall(b"next request")
    assert not sock.is_client_gone()
    assert pair.file.read(12) == b"next request"
    pair.client.close()
    assert sock.is_client_gone()


def test_client_of_an_unknown_server_is_taken_for_present():
    assert not find_socket({"wsgi.input": io.BytesIO()}).is_client_gone()
