"""A transport on real sockets, watched by the hub."""

import socket
import time

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.relay.transport import Transport
from greenrelay.testing import wait_until
from greenrelay.wire import READ_BYTES

HEAD = b"head "
LARGE = bytes(range(256)) * 10_000  # 2.5 MB: more than a socket's buffers take


class Receiver:
    """Keeps what it gets; `act` may say what it does on each piece."""

    def __init__(self):
        self.pieces = []
        self.events = []
        self.act = None

    @property
    def data(self):
        return b"".join(self.pieces)

    def on_bytes(self, data):
        self.pieces.append(data)
        if self.act is not None:
            self.act()

    def on_turn(self):
        self.events.append("turn")

    def on_eof(self):
        self.events.append("eof")

    def on_flushed(self):
        self.events.append("flushed")


class Pair:
    """A transport, its receiver, and the peer's socket."""

    def __init__(self):
        ours, self.peer = socket.socketpair()
        for sock in (ours, self.peer):
            sock.setblocking(False)
        self.receiver = Receiver()
        self.transport = Transport(ours, self.receiver, HEAD)
        self.seen = b""

    def read(self):
        """Return everything that the peer has got so far."""
        try:
            while data := self.peer.recv(1 << 20):
                self.seen += data
        except BlockingIOError:
            pass
        return self.seen

    def send(self, data):
        """Let the peer send, however long it takes."""
        view = memoryview(data)

        def send_some():
            nonlocal view
            try:
                view = view[self.peer.send(view) :]
            except BlockingIOError:
                pass
            return not view

        wait_until(send_some)

    def close(self):
        self.transport.close()
        self.peer.close()


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def transport(pair):
    """A transport that has started, its head read."""
    pair.transport.start()
    assert pair.read() == HEAD
    pair.seen = b""
    pair.receiver.events.clear()
    return pair.transport


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
    assert pair.transport.is_closed


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
    wait_until(lambda: transport.is_closed)
    wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert "Receiver" in caplog.text
    assert capfd.readouterr().err == ""


def test_bug_in_the_receiver_of_a_lost_connection_closes_the_socket(pair, transport, caplog):
    pair.receiver.on_eof = boom
    transport.pause()
    pair.peer.close()
    transport.write(b"hello")
    transport.write(b"hello")
    wait_until(lambda: transport.is_closed)
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


# -- writing -------------------------------------------------------------------


def test_what_fits_is_sent_at_once(pair, transport):
    transport.write(b"hello")
    assert pair.read() == b"hello"
    assert transport.unsent == 0


def test_what_does_not_fit_waits_until_the_peer_reads(pair, transport):
    transport.write(LARGE)
    transport.write(b"behind it")
    assert 0 < transport.unsent < len(LARGE) + 9
    wait_until(lambda: pair.read() == LARGE + b"behind it")
    wait_until(lambda: pair.receiver.events == ["flushed"])
    assert transport.unsent == 0


def test_writing_goes_on_at_once_after_a_flush(pair, transport):
    transport.write(LARGE)
    wait_until(lambda: pair.read() == LARGE and pair.receiver.events == ["flushed"])
    transport.write(b"again")
    assert pair.read() == LARGE + b"again"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 400_000)), max_size=20))
def test_writes_of_any_size_arrive_whole_and_in_order(writes):
    pair = Pair()
    pair.transport.start()
    for byte, size in writes:
        pair.transport.write(bytes([byte]) * size)
    expected = HEAD + b"".join(bytes([byte]) * size for byte, size in writes)
    wait_until(lambda: pair.read() == expected)
    assert pair.transport.unsent == 0
    pair.close()


def test_discarding_leaves_the_rest_of_what_has_begun(pair, transport):
    transport.write(LARGE)
    transport.write(b"dropped")
    transport.discard_unsent()
    transport.write(b"kept")
    wait_until(lambda: pair.read() == LARGE + b"kept")


def test_discarding_nothing_is_no_error(pair, transport):
    transport.discard_unsent()
    transport.write(b"hello")
    assert pair.read() == b"hello"


def test_head_is_never_discarded(pair):
    pair.transport.write(b"dropped")
    pair.transport.discard_unsent()
    pair.transport.start()
    assert pair.read() == HEAD


def test_oldest_writes_are_dropped_until_there_is_room(pair, transport):
    transport.write(LARGE)
    rest = transport.unsent
    for chunk in (b"one", b"two", b"three"):
        transport.write(chunk)
    assert transport.drop_oldest(4) == 2
    assert transport.unsent == rest + 5
    wait_until(lambda: pair.read() == LARGE + b"three")


def test_write_of_which_nothing_has_gone_out_may_be_dropped(pair, transport):
    """§8: whatever was tried."""
    while transport.unsent == 0:
        transport.write(b"x" * 1000)
    rest = transport.unsent
    transport.discard_unsent()
    fast = pair.transport.unsent  # of a write that has begun, if it has
    assert fast < 1000
    transport.write(b"y" * 1000)
    assert transport.drop_oldest(1) == 1
    assert transport.unsent == fast <= rest


def test_fast_lane_keeps_nothing_of_what_was_not_taken(pair, transport):
    """§8: what the socket refused whole may be dropped whole."""
    while True:
        try:
            transport.send(b"x" * 1000)
        except BlockingIOError:
            break
    transport.keep(b"y" * 1000, 0)
    assert transport.drop_oldest(1) == 1
    assert transport.unsent == 0


def test_peer_that_is_gone_is_told_from_the_loop(pair, transport):
    transport.pause()
    pair.peer.close()
    transport.write(b"hello")
    transport.write(b"hello")
    assert pair.receiver.events == []
    wait_until(lambda: pair.receiver.events == ["eof"])


def test_peer_that_goes_while_much_waits_is_told(pair, transport):
    transport.pause()
    transport.write(LARGE)
    pair.peer.close()
    wait_until(lambda: pair.receiver.events)
    gevent.sleep(0.01)
    assert pair.receiver.events == ["eof"]


def test_lost_transport_is_never_flushed(pair, transport):
    transport.pause()
    transport.write(LARGE)
    pair.peer.close()
    wait_until(lambda: pair.receiver.events)
    transport.write(b"into the void")
    gevent.sleep(0.01)
    assert "flushed" not in pair.receiver.events


def test_peer_sees_the_end_of_our_writing_and_may_go_on(pair, transport):
    transport.write(b"bye")
    transport.shutdown_write()
    assert pair.read() == b"bye"
    assert pair.peer.recv(1) == b""
    pair.send(b"still here")
    wait_until(lambda: pair.receiver.data == b"still here")


# -- closing -------------------------------------------------------------------


def test_close_frees_the_descriptor_and_says_so_once(pair, transport):
    closed = []
    transport.when_closed(lambda: closed.append(True))
    transport.close()
    transport.close()
    assert closed == [True]
    assert transport.is_closed
    assert pair.peer.recv(1) == b""


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
    assert transport.is_closed


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
