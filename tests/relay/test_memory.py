"""What an idle connection holds: everything that is allocated for it, the tables' growth included.

Resident memory is about a tenth more: allocators round up, and tables have room to spare.
"""

import gc
import socket
import tracemalloc

import pytest

from greenrelay.relay.config import EVENT_STREAM, relay_config
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.sse import EventCache, EventStreamSession
from greenrelay.relay.websocket import WebSocketSession
from tests.integration.raw import PONG, frame
from tests.targets import RecordingTarget

COUNT = 200
MAX_BYTES = 1_150
FRAMES, EVENTS = FrameCache(), EventCache()


class Target(RecordingTarget):
    """A target that keeps nothing."""

    def deliver(self, message):
        return True


@pytest.fixture
def target(node):
    return Target(node)


@pytest.fixture
def websocket(node, target, clock):
    def websocket():
        config = relay_config({"target_pid": target.pid})
        return WebSocketSession(node, clock.wheel, config, FRAMES)

    return websocket


@pytest.fixture
def stream(node, target, clock):
    def stream():
        config = relay_config({"target_pid": target.pid}, kind=EVENT_STREAM)
        return EventStreamSession(node, clock.wheel, config, EVENTS)

    return stream


@pytest.fixture
def bytes_of_each():
    """Return how much memory each of many connections takes, after something has happened."""
    pairs = [socket.socketpair() for _ in range(COUNT + 1)]
    sessions = []

    def connect(make, pair):
        session = make()
        session.connect(pair[0], b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        session.join()
        session.begin(b"")
        sessions.append(session)

    def measure(make, happen=lambda sessions: None):
        connect(make, pairs[0])  # what all share is there
        gc.collect()
        tracemalloc.start()
        try:
            for pair in pairs[1:]:
                connect(make, pair)
            happen(sessions)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / COUNT
        finally:
            tracemalloc.stop()

    yield measure
    for session, (_, peer) in zip(sessions, pairs, strict=True):
        session.kill()
        peer.close()


@pytest.mark.parametrize("kind", ["websocket", "stream"])
def test_an_idle_connection_holds_no_more_than_it_needs(request, bytes_of_each, kind):
    assert bytes_of_each(request.getfixturevalue(kind)) < MAX_BYTES


def test_a_connection_that_has_been_pinged_and_heard_holds_no_more(bytes_of_each, websocket, clock):
    def answer(sessions):
        clock.advance(26)
        for session in sessions:
            session.on_bytes(frame(PONG))

    assert bytes_of_each(websocket, answer) < MAX_BYTES
