"""The writing half of a transport: what fits, what waits, what is dropped or lost."""

import gevent
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.testing import wait_until
from tests.relay.pair import HEAD, LARGE, Pair

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
            transport.sink.send(b"x" * 1000)
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
