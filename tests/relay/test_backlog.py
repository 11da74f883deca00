"""What waits for a peer: joined, dropped by whole writes, sent in any pieces (§8)."""

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.relay.backlog import JOINED_BYTES, SMALL_BYTES, Backlog


def rest_of(backlog):
    """Return everything that waits."""
    return bytes(backlog.peek(sys.maxsize))


SIZES = st.one_of(st.integers(1, 20), st.integers(SMALL_BYTES - 2, SMALL_BYTES + 2), st.just(5000))
STEPS = st.one_of(
    st.tuples(st.just("append"), SIZES, st.booleans()),
    st.tuples(st.just("take"), st.integers(0, 3000), st.integers(0, 600)),
    st.tuples(st.just("drop"), st.integers(1, 3000)),
    st.tuples(st.just("discard")),
)


class Model:
    """The same as a list of `[number, bytes left, is_control, is_kept]`, one for each write."""

    def __init__(self):
        self.writes = []

    def append(self, number, size, is_control):
        self.writes.append([number, size, is_control, False])

    def take(self, count, begun):
        while count and count >= self.writes[0][1]:
            count -= self.writes.pop(0)[1]
        if count:
            self.writes[0][1] -= count
            self.writes[0][3] = True
        for write in self.writes:
            write[3] = write[3] or begun > 0
            begun -= write[1]

    def drop(self, size):
        dropped = 0
        for write in list(self.writes):
            if size > 0 and not write[2] and not write[3]:
                self.writes.remove(write)
                size -= write[1]
                dropped += 1
            elif size > 0:
                write[3] = True  # nothing that comes before it can be dropped
        return dropped

    def discard(self):
        self.writes = [write for write in self.writes if write[3]]

    @property
    def bytes(self):
        return b"".join(bytes([number % 256]) * size for number, size, *_ in self.writes)


@given(st.lists(STEPS, max_size=60))
def test_any_sequence_gives_whole_writes_in_order(steps):
    backlog, model = Backlog(), Model()
    for number, (step, *args) in enumerate(steps):
        if step == "append":
            backlog.append(bytes([number % 256]) * args[0], args[1])
            model.append(number, *args)
        elif step == "take":
            count = min(args[0], backlog.size)
            begun = min(args[1], backlog.size - count)
            backlog.take(count, begun)
            model.take(count, begun)
        elif step == "drop":
            assert backlog.drop_oldest(*args) == model.drop(*args)
        else:
            backlog.discard()
            model.discard()
        assert rest_of(backlog) == model.bytes
        assert backlog.size == len(model.bytes)


def test_head_is_never_dropped():
    backlog = Backlog(b"head")
    backlog.append(b"dropped")
    assert backlog.drop_oldest(100) == 1
    backlog.append(b"discarded")
    backlog.discard()
    assert rest_of(backlog) == b"head"


def test_control_frames_are_never_dropped():
    """§8"""
    backlog = Backlog()
    for number in range(1000):
        backlog.append(b"c%03d" % number, is_control=True)
        backlog.append(b"m%03d" % number)
    assert backlog.drop_oldest(1 << 20) == 1000
    assert rest_of(backlog) == b"".join(b"c%03d" % number for number in range(1000))


def test_large_control_frame_is_not_dropped_either():
    backlog = Backlog()
    backlog.append(b"m" * 1000)
    backlog.append(b"c" * 1000, is_control=True)
    assert backlog.drop_oldest(1 << 20) == 1
    assert rest_of(backlog) == b"c" * 1000


def test_begun_writes_stay_as_they_are():
    """TLS wants the same bytes again, whatever has come behind them."""
    backlog = Backlog()
    for letter in b"abcd":
        backlog.append(bytes([letter]) * 100)
    backlog.take(50, begun=100)
    backlog.append(b"e" * 100)
    assert backlog.drop_oldest(1 << 20) == 3
    assert rest_of(backlog) == b"a" * 50 + b"b" * 100


def test_what_is_begun_may_reach_over_several_pieces():
    """A record that begins in the middle of one of them is longer than the rest of it."""
    backlog, size = Backlog(), 0
    while size < 5 * JOINED_BYTES:
        backlog.append(b"x" * 100)
        size += 100
    backlog.take(JOINED_BYTES // 2 + 1, begun=2 * JOINED_BYTES)
    assert backlog.drop_oldest(1 << 20) > 0
    assert 2 * JOINED_BYTES <= backlog.size < 2 * JOINED_BYTES + 100


def test_no_more_is_joined_than_was_asked_for():
    backlog = Backlog()
    for _ in range(100):
        backlog.append(b"x" * 1000)
    assert len(backlog.peek(2500)) == 2500


def test_large_write_is_shown_without_a_copy():
    backlog, write = Backlog(), b"x" * 100_000
    backlog.append(write)
    assert backlog.peek(1000) is write


@pytest.mark.parametrize(
    ("write", "is_control", "factor"),
    [
        pytest.param(b"\x8a\x00", True, 1.2, id="pongs"),
        pytest.param(b"\x8a\x7d" + b"x" * 125, True, 1.2, id="long pongs"),
        pytest.param(b"\x81\x40" + b"x" * 64, False, 1.2, id="short messages"),
        pytest.param(b"\x81\x00", False, 2.3, id="empty messages"),
    ],
)
def test_small_writes_cost_little_more_than_they_hold(write, is_control, factor):
    """§8: 1 MiB of unread pongs costs little more than 1 MiB."""
    size = 1 << 18
    tracemalloc.start()
    try:
        backlog = Backlog()
        while backlog.size < size:
            backlog.append(write, is_control)
        assert tracemalloc.get_traced_memory()[0] < size * factor
    finally:
        tracemalloc.stop()
    assert len(backlog._rest) <= size // (JOINED_BYTES - SMALL_BYTES) + 1
