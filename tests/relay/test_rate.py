"""How much a WebSocket's client may send (§8)."""

import pytest

from greenrelay.protocol.frames import OP_PING, OP_PONG, OP_TEXT
from greenrelay.relay.delivery import State
from tests.integration.raw import frame
from tests.relay.actions import close_frame, send

# -- rate (§8) -----------------------------------------------------------------


def test_burst_of_the_rate_is_taken(watched, recorder):
    """§8"""
    session = watched(max_rate=5)
    session.on_bytes(frame(OP_TEXT, b"x") * 5)
    assert len(recorder.payloads("ws.message")) == 5
    assert session.state is State.OPEN


def test_one_more_than_the_burst_ends_it_with_1008(watched, recorder, watcher):
    """§8"""
    session = watched(max_rate=5)
    session.on_bytes(frame(OP_TEXT, b"x") * 7)
    assert len(recorder.payloads("ws.message")) == 5
    assert session.transport.frames[-1].code == 1008
    assert watcher.exits[0].reason == "rate_limited"


def test_close_behind_a_broken_rule_is_not_answered_again(watched):
    """§3.9: one close frame is all a client gets."""
    session = watched(max_rate=1)
    session.on_bytes(frame(OP_TEXT, b"x") * 2 + close_frame(1000))
    assert [each.code for each in session.transport.frames] == [1008]


def test_allowance_grows_back_and_no_further(watched, recorder, clock):
    """§8"""
    session = watched(max_rate=5)
    for _ in range(10):
        session.on_bytes(frame(OP_TEXT, b"x"))
        clock.advance(0.2)
    clock.advance(60)
    session.on_bytes(frame(OP_TEXT, b"x") * 6)
    assert len(recorder.payloads("ws.message")) == 15


def test_less_than_one_a_second_lets_one_through(watched, recorder, clock):
    """§8"""
    session = watched(max_rate=0.5)
    for _ in range(3):
        session.on_bytes(frame(OP_TEXT, b"x"))
        clock.advance(2.1)
    assert len(recorder.payloads("ws.message")) == 3


@pytest.mark.parametrize("opcode", [OP_PING, OP_PONG])
def test_control_frames_count_towards_the_rate(watched, recorder, opcode):
    """§8"""
    session = watched(max_rate=3)
    session.on_bytes(frame(opcode) * 2 + frame(OP_TEXT, b"x") + frame(opcode))
    assert session.transport.frames[-1][1:] == (1008, b"rate limited")
    assert recorder.payloads("ws.message") == ["x"]


def test_pongs_that_we_have_asked_for_do_not_count(watched, clock):
    """§8: who answers must not lose its connection for it."""
    session = watched(max_rate=1, ping_interval="10s")
    for _ in range(3):
        clock.advance(10.1)
        session.on_bytes(frame(OP_TEXT, b"x"))
        session.on_bytes(frame(OP_PONG))
    assert session.state is State.OPEN
    session.on_bytes(frame(OP_PONG))
    assert session.transport.frames[-1][1:] == (1008, b"rate limited")


def test_close_is_never_one_too_many(watched, watcher):
    """§8, §3.8"""
    session = watched(max_rate=1)
    session.on_bytes(frame(OP_TEXT, b"x") + close_frame(1000))
    assert session.transport.frames[-1].code == 1000
    assert watcher.exits[0].reason == "normal"


def test_rate_that_control_sets_holds_from_then_on(watched, recorder):
    """§3.6, §8"""
    session = watched()
    send(session, "ws.control", {"max_rate": 3})
    session.on_bytes(frame(OP_TEXT, b"x") * 3)
    assert session.state is State.OPEN
    assert len(recorder.payloads("ws.message")) == 3
