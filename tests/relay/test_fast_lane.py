"""A frame takes the same way to a fake client as to a real one: past `write()`, while it may."""

import pytest

from greenrelay.testing import FakeTransport, fake_websocket
from tests.targets import RecordingTarget


@pytest.fixture
def ws(node):
    return fake_websocket(
        node, RecordingTarget(node).pid, max_backlog=100, slow_consumer="drop_old"
    )


def say(ws, text):
    """Send a text frame to the client."""
    ws.node.send(ws.pid, "ws.send", {"type": "text", "data": text})


def test_frame_does_not_pass_through_write(ws):
    ws.transport.write = None
    say(ws, "hello")
    del ws.transport.write
    assert ws.transport.frames == ["hello"]


def test_frame_that_fits_in_part_is_sent_whole(ws):
    """§3.9"""
    ws.transport.room = 3
    say(ws, "hello")
    say(ws, "behind it")
    assert ws.transport.unsent == len("hello") - 1 + 2 + len("behind it")
    ws.transport.flush()
    assert ws.transport.frames == ["hello", "behind it"]


def test_frame_that_does_not_fit_at_all_waits(ws):
    """§3.9"""
    ws.transport.room = 0
    say(ws, "hello")
    assert ws.transport.unsent == 7
    ws.transport.flush()
    ws.transport.room = None
    say(ws, "again")
    assert ws.transport.frames == ["hello", "again"]


def test_frame_that_has_begun_is_not_dropped_for_a_newer_one(ws):
    """§8: `drop_old` would leave half a frame, and nothing after it could be read."""
    ws.transport.room = 10
    for letter in "abc":
        say(ws, letter * 60)
    ws.transport.flush()
    assert ws.transport.frames == ["a" * 60, "c" * 60]


def test_fake_that_plays_a_slow_or_lost_client_has_no_fast_lane():
    transport = FakeTransport(unsent=1)
    assert transport.sink is None
    transport.flush()
    assert transport.sink.send(b"frame") == 5
    transport.close()
    assert transport.sink is None
