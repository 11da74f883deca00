"""Relays over TLS, on our server and on gevent's own (§10.2)."""

import gevent
import gevent.ssl
import pytest

from greenrelay import process
from greenrelay.testing import leaks, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request, trust):
    """Let the client speak each version."""
    trust.maximum_version = getattr(gevent.ssl.TLSVersion, request.param.replace(".", "_"))
    trust.minimum_version = trust.maximum_version


@pytest.mark.usefixtures("version")
def test_client_talks_to_the_target(node, any_server, tls, trust):
    server = any_server(relay_app(node, echo), **tls)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        for number in range(50):
            ws.send(f"message {number}")
            assert ws.receive() == f"message {number}"


@pytest.mark.parametrize("size", [10_000, 16_383, 16_384, 100_000, 1_000_000])
def test_large_messages_travel_both_ways(node, any_server, tls, trust, size):
    """TLS has records of 16 KiB, and some of them are decrypted before they are asked for."""
    server = any_server(relay_app(node, echo, max_backlog=0), **tls)
    message = "0123456789" * (size // 10)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        for _ in range(3):
            ws.send(message)
            assert ws.receive() == message


def test_many_messages_are_queued_for_a_client_that_reads_late(
    node, any_server, tls, trust, target
):
    server = any_server(relay_app(node, target, max_backlog=0), **tls)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        for number in range(1000):
            send_frame(target.client, f"{number:06}" * 1000)
        for number in range(1000):
            assert ws.receive() == f"{number:06}" * 1000


def test_early_frames_are_not_lost(node, any_server, tls, trust, target):
    """§3.3"""
    server = any_server(relay_app(node, target), **tls)
    early = raw.text("one") + raw.text("two" * 20_000)
    with raw.RawClient(server.url, ssl_context=trust) as client:
        client.send(raw.head() + early + raw.text("three"))
        wait_until(lambda: len(target.payloads()) == 3)
    assert target.payloads() == ["one", "two" * 20_000, "three"]


def test_close_frame_is_seen(node, any_server, tls, trust, target, witness):
    """§3.5"""
    server = any_server(relay_app(node, target), **tls)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        witness.watch(target.client)
        process.send(target.client, "ws.close", {"code": 4000, "reason": "bye"})
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (4000, "bye")
    assert target.wait_for("ws.leave")["code"] == 4000


def test_bad_frame_is_answered(node, any_server, tls, trust):
    """§3.9"""
    server = any_server(relay_app(node, Recorder()), **tls)
    with raw.RawClient(server.url, ssl_context=trust) as client:
        client.upgrade()
        client.send(raw.frame(raw.TEXT, b"hi", mask=b""))
        assert client.read_close()[0] == 1002
        assert client.read_rest() == b""


@pytest.mark.usefixtures("version")
def test_client_that_never_reads_is_closed_with_1013(node, any_server, tls, trust, target, witness):
    """§8: a record that TLS has begun to send is sent, and the close frame behind it."""
    server = any_server(relay_app(node, target, max_backlog=200_000), **tls)
    with raw.RawClient(server.url, receive_buffer=4096, ssl_context=trust) as client:
        client.upgrade()
        witness.watch(target.client)
        connection = node.find(target.client).transport
        while connection.unsent < 100_000:
            send_frame(target.client, "x" * 1000)
        for _ in range(300):  # so that something waits in the middle of a record
            client.read_frame()
        while send_frame(target.client, "x" * 1000):
            gevent.sleep(0)
        assert client.read_close() == (1013, "slow consumer")
    assert witness.wait_for_reason() == "slow_consumer"


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_vanishes_leaves_nothing(node, any_server, tls, trust, target, leave):
    """§3.8"""
    server = any_server(relay_app(node, target), **tls)
    client = raw.RawClient(server.url, ssl_context=trust)
    client.upgrade()
    getattr(client, leave)()
    assert target.wait_for("ws.leave")["reason"] == "connection_lost"
    node.terminate(next(iter(node)).pid)
    wait_until(lambda: not leaks(node))


@pytest.mark.parametrize(
    "hello",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="plain HTTP"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", id="garbage"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_client_without_tls_is_hung_up_on(node, relay_server, tls, hello, caplog):
    """§8: within the time for a head."""
    server = relay_server(relay_app(node, echo), head_timeout=0.2, **tls)
    with raw.RawClient(server.url) as client:
        client.send(hello)
        client.read_rest()
    assert [record for record in caplog.records if record.exc_info] == []


def test_origin_is_compared_with_https(node, relay_server, tls, trust):
    """§6.2"""
    server = relay_server(relay_app(node, echo), **tls)
    with server.connect_ws("/ws", origin=server.url, ssl_context=trust) as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_server_takes_the_names_of_files(node, relay_server, certificate, trust):
    server = relay_server(relay_app(node, echo), **certificate)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_ordinary_requests_are_kept_alive(node, relay_server, tls, trust):
    server = relay_server(relay_app(node, echo), **tls)
    with raw.RawClient(server.url, ssl_context=trust) as client:
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_answer()[::2] == (200, b"ordinary")


@pytest.mark.parametrize(
    "request_head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", id="answered"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="refused"),
    ],
)
def test_ordinary_connection_ends_with_close_notify(node, relay_server, tls, trust, request_head):
    """§3.6: an end without one may be an attacker's."""
    server = relay_server(relay_app(node, echo), **tls)
    with raw.RawClient(server.url, ssl_context=trust) as client:
        client.socket.suppress_ragged_eofs = False
        client.send(request_head)
        assert client.read_answer().status in (200, 400)
        assert client.file.read() == b""


def test_stopping_server_closes_tls_connections(node, any_server, tls, trust, target):
    """§9"""
    server = any_server(relay_app(node, target), **tls)
    with server.connect_ws("/ws", ssl_context=trust) as ws:
        stopping = gevent.spawn(server.stop, 5)
        assert ws.wait_closed().code == 1012
        stopping.join()
