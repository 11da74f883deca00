"""The reading half of a transport: pauses, turns, ends, and bugs of the receiver's."""

import socket
import time

import gevent
import pytest

from greenrelay.testing import wait_until
from greenrelay.wire import READ_BYTES
from tests.relay.pair import LARGE, Pair

# -- reading -------------------------------------------------------------------


def test_bytes_reach_the_receiver_in_order(pair, transport):
    pair.send(LARGE)
    wait_until(lambda: pair.receiver.data == LARGE)


def test_one_read_is_bounded(pair, transport):
    """So that it is the next connection's turn."""
    pair.send(LARGE)
    wait_until(lambda: pair.receiver.data == LARGE)
    assert max(map(len, pair.receiver.pieces)) == READ_BYTES


def test_paused_transport_reads_nothing(pair, transport):
    transport.pause()
    transport.pause()
    assert not transport.is_reading
    pair.send(b"hello")
    gevent.sleep(0.01)
    assert pair.receiver.pieces == []
    transport.resume()
    transport.resume()
    wait_until(lambda: pair.receiver.data == b"hello")


def test_receiver_may_pause_what_feeds_it(pair, transport):
    pair.receiver.act = transport.pause
    pair.send(b"x" * READ_BYTES)
    wait_until(lambda: pair.receiver.pieces)
    gevent.sleep(0.01)
    assert len(pair.receiver.pieces) == 1


def test_end_is_told_once(pair, transport):
    pair.send(b"last words")
    pair.peer.close()
    wait_until(lambda: pair.receiver.events)
    gevent.sleep(0.01)
    assert pair.receiver.data == b"last words"
    assert pair.receiver.events == ["eof"]


def test_bug_in_the_receiver_ends_this_connection_only(pair, transport, caplog):
    pair.receiver.act = lambda: 1 / 0
    pair.send(b"hello")
    wait_until(lambda: pair.receiver.events == ["eof"])
    wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert not transport.is_reading


def boom():
    raise ZeroDivisionError


def test_bug_in_the_receivers_turn_ends_this_connection_only(pair, transport, caplog):
    pair.receiver.on_turn = boom
    transport.defer()
    wait_until(lambda: pair.receiver.events == ["eof"])
    wait_until(lambda: "ZeroDivisionError" in caplog.text)


def test_bug_at_the_end_of_the_receiver_closes_the_socket(pair, transport, caplog, capfd):
    """And is told in the log, not by the event loop."""
    pair.receiver.on_eof = boom
    pair.peer.shutdown(socket.SHUT_WR)
    wait_until(lambda: transport.receiver is None)
    wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert "Receiver" in caplog.text
    assert capfd.readouterr().err == ""


def test_bug_in_the_receiver_of_a_lost_connection_closes_the_socket(pair, transport, caplog):
    pair.receiver.on_eof = boom
    transport.pause()
    pair.peer.close()
    transport.write(b"hello")
    transport.write(b"hello")
    wait_until(lambda: transport.receiver is None)
    wait_until(lambda: "ZeroDivisionError" in caplog.text)


def test_bug_of_a_receiver_that_is_flushed_ends_this_connection_only(
    pair, transport, caplog, capfd
):
    pair.receiver.on_flushed = boom
    transport.write(LARGE)
    wait_until(lambda: pair.read() and "eof" in pair.receiver.events)
    wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert capfd.readouterr().err == ""


# -- turns ---------------------------------------------------------------------


def test_turn_comes_later_and_nothing_is_read_before(pair, transport):
    pair.send(b"hello")
    transport.defer()
    transport.defer()
    assert pair.receiver.events == []
    wait_until(lambda: pair.receiver.events)
    gevent.sleep(0.01)
    assert pair.receiver.events == ["turn"]
    assert pair.receiver.pieces == []
    transport.resume()
    wait_until(lambda: pair.receiver.data == b"hello")


def test_others_are_read_between_two_turns(pair, transport):
    """However many turns one takes: §2.10."""
    other = Pair()
    other.transport.start()
    left = 100_000

    def go_on():
        nonlocal left
        left -= 1
        (transport.defer if left and not other.receiver.pieces else transport.resume)()

    pair.receiver.on_turn = go_on
    transport.defer()
    other.send(b"hello")
    wait_until(lambda: transport.is_reading)
    assert left > 99_900
    other.close()


def test_time_is_up_when_the_loop_has_not_looked_for_long(transport):
    """§2.10"""
    wait_until(transport.has_time)
    time.sleep(0.005)
    assert not transport.has_time()


@pytest.mark.parametrize("end", ["pause", "resume", "close"])
def test_turn_that_is_not_wanted_any_more_does_not_come(pair, transport, end):
    transport.defer()
    getattr(transport, end)()
    gevent.sleep(0.01)
    assert pair.receiver.events == []


def test_closed_transport_has_no_turn(pair, transport):
    transport.close()
    transport.defer()
    gevent.sleep(0.01)
    assert pair.receiver.events == []


def test_receiver_that_has_enough_of_early_bytes_is_not_read_on(pair):
    pair.receiver.act = pair.transport.pause
    pair.transport.start(b"early")
    assert not pair.transport.is_reading
