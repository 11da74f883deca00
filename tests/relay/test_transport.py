"""A transport on real sockets, watched by the hub: from its start to its close."""

import socket

import gevent
import pytest

from greenrelay.relay.transport import Transport
from greenrelay.testing import wait_until
from tests.relay.pair import HEAD, LARGE, Receiver

# -- starting ------------------------------------------------------------------


def test_nothing_is_sent_or_read_before_the_start(pair):
    pair.transport.write(b"later")
    pair.send(b"early")
    gevent.sleep(0.01)
    assert pair.read() == b""
    assert pair.receiver.pieces == []
    assert pair.transport.unsent == len(HEAD) + 5


def test_head_goes_first_and_what_was_written_behind_it(pair):
    pair.transport.write(b"one ")
    pair.transport.write(b"two")
    pair.transport.start()
    assert pair.read() == b"head one two"
    assert pair.transport.unsent == 0


def test_early_bytes_come_before_what_is_read(pair):
    pair.send(b"read")
    pair.transport.start(b"early ")
    wait_until(lambda: pair.receiver.data == b"early read")


def test_start_after_a_close_does_nothing(pair):
    pair.transport.close()
    pair.transport.start(b"early")
    assert pair.receiver.pieces == []
    assert pair.transport.receiver is None


# -- closing -------------------------------------------------------------------


def test_close_frees_the_descriptor_and_says_so_once(pair, transport):
    closed = []
    transport.when_closed(lambda: closed.append(True))
    transport.close()
    transport.close()
    assert closed == [True]
    assert transport.receiver is None
    assert pair.peer.recv(1) == b""


def test_who_asks_too_late_is_told_of_the_close_at_once(transport):
    """§10.3: a request that waits for it must not wait for ever."""
    transport.close()
    closed = []
    transport.when_closed(lambda: closed.append(True))
    assert closed == [True]


def test_receiver_hears_nothing_after_a_close(pair, transport):
    transport.write(LARGE)
    pair.send(b"too late")
    transport.close()
    gevent.sleep(0.01)
    assert pair.receiver.pieces == []
    assert pair.receiver.events == []


def test_closed_transport_takes_writes_and_drops_them(pair, transport):
    transport.close()
    transport.write(b"into the void")
    transport.shutdown_write()
    transport.discard_unsent()
    transport.resume()
    assert transport.unsent == 0
    assert not transport.is_reading


@pytest.mark.parametrize("callback", ["on_bytes", "on_eof", "on_flushed"])
def test_receiver_may_close_from_any_callback(pair, transport, callback):
    told = []
    setattr(pair.receiver, callback, lambda *data: (told.append(callback), transport.close()))
    transport.write(LARGE)
    pair.send(b"hello")
    wait_until(lambda: len(pair.read()) == len(LARGE) or told)
    if callback == "on_eof":
        pair.peer.close()
    wait_until(lambda: told == [callback])
    assert transport.receiver is None


def test_address_of_the_peer_is_known():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    ours, address = listener.accept()
    transport = Transport(ours, Receiver(), HEAD)
    assert transport.remote_address == f"127.0.0.1:{address[1]}"
    transport.close()
    assert transport.remote_address == ""
    client.close()
    listener.close()
