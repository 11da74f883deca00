"""Our server: keep-alive, the access log, and stopping in good order (§8, §9)."""

import contextlib
import socket
import struct
import sys
from pathlib import Path

import gevent
import gevent.event
import pytest

from greenrelay import process
from greenrelay.serving.drain import drain
from greenrelay.serving.server import BACKLOG, RelayServer
from greenrelay.testing import UpgradeRefused, leaks, wait_until
from greenrelay.web.middleware import find_node
from tests.integration import raw
from tests.integration.apps import Lines, Recorder, echo, relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


# -- keep-alive ----------------------------------------------------------------


def test_connection_is_kept_for_the_next_request(node, relay_server):
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as client:
        for _ in range(5):
            client.send(PLAIN)
            assert client.read_answer()[::2] == (200, b"ordinary")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", id="close"),
    ],
)
def test_connection_ends_when_the_client_says_so(node, relay_server, request_bytes):
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as client:
        client.send(request_bytes)
        assert client.read_answer()[::2] == (200, b"ordinary")
        assert client.read_rest() == b""


@pytest.mark.parametrize("length", [[], [("Content-Length", "4")]], ids=["chunked", "counted"])
def test_answer_to_head_has_no_body_that_the_next_answer_would_be_behind(relay_server, length):
    """RFC 9112 §6.3: also not the end of a chunked one, nor what an app gives all the same."""

    def app(environ, start_response):
        start_response("200 OK", length)
        return iter([b"bo", b"dy"])

    server = relay_server(app)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN.replace(b"GET", b"HEAD"))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        _, after_head = client.read_rest().split(b"\r\n\r\n", 1)
    assert after_head.startswith(b"HTTP/1.1 200 OK")


def test_idle_connection_ends_without_a_word(node, relay_server):
    """§8"""
    log = Lines()
    server = relay_server(relay_app(node, echo), keep_alive=0.1, log=log)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        assert client.read_answer().status == 200
        assert client.read_rest() == b""
    assert len(log.lines) == 1


def test_time_for_a_head_begins_with_its_first_byte(node, relay_server):
    """§8: on a kept connection."""
    server = relay_server(relay_app(node, echo), keep_alive=10, head_timeout=0.1)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        assert client.read_answer().status == 200
        gevent.sleep(0.2)  # longer than a head may take: nothing must happen
        client.send(PLAIN)
        assert client.read_answer().status == 200
        client.send(b"G")
        assert client.read_answer().status == 408


# -- access log ----------------------------------------------------------------


def test_access_log_has_one_line_with_101_for_a_relay(node, any_server):
    """§10.2"""
    log = Lines()
    server = any_server(relay_app(node, echo), log=log)
    with server.connect_ws("/ws?room=7") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
        wait_until(lambda: log.lines)
    [line] = log.lines
    assert '"GET /ws?room=7 HTTP/1.1" 101 ' in line


LOGGED = [
    pytest.param(PLAIN, '"GET / HTTP/1.1" 200 ', id="ordinary"),
    pytest.param(raw.head(upgrade=None), '"GET /ws HTTP/1.1" 426 ', id="refused relay"),
    pytest.param(raw.head(host=None), '"GET /ws HTTP/1.1" 400 ', id="malformed head"),
    pytest.param(b"nonsense\r\n\r\n", '"nonsense" 400 ', id="garbage"),
    pytest.param(b"GET / HTTP/1.1\r\nHo", '"" 408 ', id="half a head"),
    pytest.param(b"x" * 70_000, '"" 431 ', id="large head"),
    pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", '"GET / HTTP/2.0" 400 ', id="HTTP/2.0"),
]


@pytest.mark.parametrize(("request_bytes", "entry"), LOGGED)
def test_access_log_has_the_status_that_was_sent(node, relay_server, request_bytes, entry):
    """§10.2"""
    log = Lines()
    server = relay_server(relay_app(node, echo), log=log, head_timeout=0.1)
    with raw.RawClient(server.url) as client:
        client.send(request_bytes)
        status = client.read_answer().status
        assert f" {status} " in entry
    wait_until(lambda: log.lines)
    assert len(log.lines) == 1
    assert entry in log.lines[0]


def test_second_entry_knows_nothing_of_the_first(node, relay_server):
    """A refusal on a kept connection is not logged with the line of the request before it."""
    log = Lines()
    server = relay_server(relay_app(node, echo), log=log, head_timeout=0.1)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN + b"half")
        assert [client.read_answer().status for _ in range(2)] == [200, 408]
    assert '"" 408 ' in log.lines[1]


# -- errors of the app ---------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("on purpose"),
        OSError("on purpose"),
        ConnectionRefusedError(111, "on purpose"),
        ConnectionResetError(104, "on purpose"),
        BrokenPipeError(32, "on purpose"),
    ],
)
def test_error_of_the_app_is_a_500(relay_server, capfd, error):
    """Also when it is about a connection: it may be the app's own, to a database."""

    def app(environ, start_response):
        raise error

    server = relay_server(app)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        assert client.read_answer().status == 500
    assert capfd.readouterr().err.count("Traceback") == 1


# -- stopping (§9) -------------------------------------------------------------


class SlowApp:
    """An app that answers when it is told to."""

    def __init__(self):
        self.has_begun = gevent.event.Event()
        self.go = gevent.event.Event()

    def __call__(self, environ, start_response):
        self.has_begun.set()
        self.go.wait()
        start_response("200 OK", [])
        return [b"done"]


def test_stopping_waits_for_the_request_under_way(relay_server):
    app = SlowApp()
    server = relay_server(app)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        app.has_begun.wait()
        stopping = gevent.spawn(server.server.stop, 5)
        gevent.sleep(0)
        app.go.set()
        assert client.read_answer()[::2] == (200, b"done")
        with gevent.Timeout(1):
            assert client.read_rest() == b""
            stopping.join()


def test_stopping_ends_idle_connections_at_once(node, relay_server):
    """Those that are kept, and those that have not sent anything yet."""
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as kept, raw.RawClient(server.url) as fresh:
        kept.send(PLAIN)
        assert kept.read_answer().status == 200
        wait_until(lambda: len(server.server.idle) == 2)
        with gevent.Timeout(1):
            server.server.stop(timeout=5)
        assert kept.read_rest() + fresh.read_rest() == b""


def test_stopping_gives_up_on_a_request_at_the_deadline(relay_server):
    app = SlowApp()
    server = relay_server(app)
    with raw.RawClient(server.url) as client:
        client.send(PLAIN)
        app.has_begun.wait()
        with gevent.Timeout(1):
            server.server.stop(timeout=0.05)
        assert client.read_answer().status == 500


def test_stopped_server_accepts_nobody(node, relay_server):
    server = relay_server(relay_app(node, echo))
    server.server.stop()
    with pytest.raises(ConnectionRefusedError):
        raw.RawClient(server.url)


def test_draining_closes_every_connection_with_1012(node, any_server, target, witness):
    """§9"""
    server = any_server(relay_app(node, target))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect_ws("/ws")) for _ in range(10)]
        witness.watch(target.client)
        gevent.sleep(0)
        draining = gevent.spawn(drain, node, 5)
        assert {ws.wait_closed().code for ws in clients} == {1012}
        draining.join()
    assert witness.wait_for_reason() == "shutdown"
    assert target.topics.count("ws.leave") == 10
    assert leaks(node) == []


def test_draining_refuses_new_relays(node, relay_server):
    """§9"""
    stubborn = gevent.event.Event()
    node.spawn(stubborn.wait)
    server = relay_server(relay_app(node, echo))
    draining = gevent.spawn(drain, node, 5)
    wait_until(lambda: node.is_draining)
    with pytest.raises(UpgradeRefused, match="503"):
        server.connect_ws("/ws")
    stubborn.set()
    draining.join()


def test_draining_waits_until_processes_have_finished(node):
    """§9: those that are cancelled end as they like, in time."""
    done = []

    def careful():
        for _ in process.inbox():
            pass
        gevent.sleep(0.05)
        done.append("saved")

    node.spawn(careful)
    gevent.sleep(0)
    drain(node, 5)
    assert done == ["saved"]


def test_draining_terminates_what_is_left_at_the_deadline(node):
    """§9"""
    node.spawn(gevent.event.Event().wait)
    node.spawn(lambda: process.events().receive() and gevent.event.Event().wait())
    with gevent.Timeout(2):
        drain(node, 0.1)
    wait_until(lambda: not leaks(node))


def test_client_that_ignores_the_close_is_cut_off_at_the_deadline(node, relay_server, target):
    """§9"""
    server = relay_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        with gevent.Timeout(2):
            drain(node, 0.1)
        assert client.read_close()[0] == 1012
        assert client.read_rest() == b""


def test_node_of_an_app_is_found(node):
    assert find_node(relay_app(node, Recorder())) is node


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long its queue is")
def test_as_many_as_the_system_allows_may_wait_to_be_accepted():
    """All of them come back at once after a restart."""
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    server = RelayServer(("127.0.0.1", 0), None, log=None)
    server.start()
    try:
        info = server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    finally:
        server.stop()
    # What `tcpi_sacked` is in a socket that listens. Source: Linux, `tcp_get_info()`.
    assert struct.unpack_from("I", info, 28) == (min(limit, BACKLOG),)
