"""Frames on one connection: cut anywhere they are the same; too long ones are never kept."""

import _socket

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.cluster.locallink import Link
from greenrelay.testing import wait_until


class Frames:
    """An owner that keeps what comes."""

    def __init__(self):
        self.got, self.ends = [], []

    def on_frame(self, link, data):
        self.got.append(data)

    def on_end(self, link, fault):
        self.ends.append(fault)


class Pair:
    """A link, and the bare socket at its other end."""

    def __init__(self, max_bytes=1_000_000):
        ours, self.peer = _socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.frames = Frames()
        self.link = Link(ours, self.frames, max_bytes)

    def close(self):
        self.link.close()
        self.peer.close()


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


def frame(data):
    return len(data).to_bytes(4, "big") + data


@given(
    frames=st.lists(st.binary(max_size=300), max_size=20),
    cuts=st.lists(st.integers(1, 200), max_size=30),
)
def test_frames_are_the_same_wherever_they_are_cut(frames, cuts):
    pair = Pair()
    stream = b"".join(map(frame, frames))
    for size in [*cuts, len(stream)]:
        if stream[:size]:
            pair.peer.send(stream[:size])
            gevent.sleep(0)
            gevent.idle()
        stream = stream[size:]
    wait_until(lambda: len(pair.frames.got) == len(frames))
    assert pair.frames.got == frames
    pair.close()


def test_a_frame_that_is_too_long_ends_it_before_it_has_come(pair):
    pair.peer.send((1_000_001).to_bytes(4, "big"))
    wait_until(lambda: pair.frames.ends)
    assert pair.frames.ends == ["a frame of 1000001 bytes, and 1000000 is the limit"]


def test_one_of_just_the_limit_is_taken(pair):
    data = frame(b"x" * 1_000_000)
    while data:
        try:
            data = data[pair.peer.send(data) :]
        except BlockingIOError:
            gevent.sleep(0.001)
    wait_until(lambda: pair.frames.got)
    assert len(pair.frames.got[0]) == 1_000_000


def test_the_frames_before_a_fault_are_taken(pair):
    pair.peer.send(frame(b"one") + b"\xff\xff\xff\xff")
    wait_until(lambda: pair.frames.ends)
    assert pair.frames.got == [b"one"]


def test_the_peer_s_end_is_told_once(pair):
    pair.peer.close()
    wait_until(lambda: pair.frames.ends)
    pair.link.read_rest()
    assert pair.frames.ends == [""]


def test_what_was_sent_before_the_end_comes_before_it(pair):
    pair.peer.send(frame(b"one") + frame(b"two"))
    pair.peer.close()
    wait_until(lambda: pair.frames.ends)
    assert pair.frames.got == [b"one", b"two"]


def test_nothing_is_told_after_a_close(pair):
    pair.peer.send(frame(b"one"))
    pair.link.close()
    gevent.idle()
    assert (pair.frames.got, pair.frames.ends) == ([], [])


def test_what_does_not_fit_is_pending_until_the_peer_reads(pair):
    for _ in range(100):
        pair.link.write(b"x" * 10_000)
    gevent.idle()
    assert 0 < pair.link.pending < 1_000_400
    got = 0
    while got < 1_000_400:
        try:
            got += len(pair.peer.recv(1 << 20))
        except BlockingIOError:
            gevent.sleep(0.001)
    wait_until(lambda: pair.link.pending == 0)


def test_what_is_written_after_the_peer_s_end_is_dropped(pair):
    pair.peer.close()
    pair.link.write(b"x")
    wait_until(lambda: pair.frames.ends)
    pair.link.write(b"x")
    assert pair.link.pending == 0
