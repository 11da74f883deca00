"""What a connection does with its socket, seen at the socket."""

import os
import socket

import gevent
import gevent.ssl
import pytest

from greenrelay.relay.transport import Transport
from greenrelay.testing import wait_until
from tests.integration.apps import echo, relay_app


def sockets_to(address):
    """Return the sockets of this interpreter that are connected to `address`, duplicated."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # no socket, or the listing's own descriptor
        try:
            is_it = sock.getpeername() == address
        except OSError:
            is_it = False
        found.append(sock) if is_it else sock.close()
    return found


def test_small_frames_are_not_held_back_for_the_clients_acknowledgement(node, any_server):
    """Two frames in a row would wait 40 ms for each other (Nagle, RFC 896)."""
    server = any_server(relay_app(node, echo))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
        ours = sockets_to(ws._socket.getsockname())
        delays = [not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in ours]
        for sock in ours:
            sock.close()
    assert delays == [False]


class Receiver:
    """Keeps what it gets."""

    def __init__(self):
        self.data = b""
        self.events = []

    def on_bytes(self, data):
        self.data += data

    def on_eof(self):
        self.events.append("eof")

    def on_flushed(self):
        self.events.append("flushed")


def tls_pair(context, trust):
    """Return both ends of a TLS connection; ours does not wait."""
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    client = gevent.socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    handshake = gevent.spawn(context.wrap_socket, accepted, server_side=True)
    peer = trust.wrap_socket(client, server_hostname="127.0.0.1")
    ours = handshake.get()
    ours.setblocking(False)
    return ours, peer


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def tls_transport(tls, trust, receiver):
    """Return a transport over TLS that has started, and its peer."""
    ours, peer = tls_pair(tls["ssl_context"], trust)
    transport = Transport(ours, receiver, b"head")
    transport.start()
    yield transport, peer
    transport.close()
    peer.close()


def test_pause_holds_for_what_tls_has_decrypted_already(tls_transport, receiver):
    """§8: a target whose mailbox is full gets nothing more, however the bytes were to come."""
    transport, peer = tls_transport
    receiver.on_bytes, take = lambda data: (take(data), transport.pause()), receiver.on_bytes
    peer.sendall(b"x" * 16_384)  # one record: a first read leaves most of it decrypted
    wait_until(lambda: receiver.data)
    first = len(receiver.data)
    assert first < 16_384
    transport.resume()
    transport.pause()
    for _ in range(10):
        gevent.idle()
    assert len(receiver.data) == first
    receiver.on_bytes = take
    transport.resume()
    wait_until(lambda: len(receiver.data) == 16_384)


def test_lost_connection_can_not_be_resumed_and_ends_once(receiver):
    """§3.8: the target drains in the very turn in which a write has found the client gone."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    transport = Transport(ours, receiver, b"head")
    transport.start()
    receiver.events.clear()
    transport.pause()
    peer.close()
    transport.write(b"into the void")
    transport.resume()
    assert not transport.is_reading
    wait_until(lambda: receiver.events)
    for _ in range(10):
        gevent.idle()
    assert receiver.events == ["eof"]
    transport.close()


class Failing:
    """Middleware around the relay whose own end fails, when the socket has been taken."""

    def __init__(self, app, error):
        self.wsgi_app = app  # by this name the relay is found
        self.error = error

    def __call__(self, environ, start_response):
        try:
            yield from self.wsgi_app(environ, start_response)
        finally:
            raise self.error


@pytest.mark.parametrize("error", [ConnectionResetError("its own"), ValueError("its own")])
def test_error_behind_a_taken_socket_is_the_apps_and_ends_nothing(
    node, relay_server, capfd, access_log, error
):
    """§3.1: there is nobody here to be answered."""
    server = relay_server(Failing(relay_app(node, echo), error), log=access_log)
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    printed = capfd.readouterr().err
    assert f"{type(error).__name__}: its own" in printed
    assert "AttributeError" not in printed
    assert [" 101 " in line for line in access_log.lines] == [True]
