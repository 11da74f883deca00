"""Whether a WebSocket's client is still there (§8)."""

import pytest

from greenrelay.protocol.frames import OP_PING, OP_PONG, OP_TEXT
from greenrelay.relay.delivery import State
from tests.integration.raw import frame
from tests.relay.actions import send

# -- signs of life (§8) --------------------------------------------------------


def test_silent_client_is_pinged_once_and_given_up(watched, clock, watcher):
    """§8: after two intervals."""
    session = watched(ping_interval="10s")
    clock.advance(19.9)
    assert session.transport.frames == [(OP_PING, 0, b"")]
    clock.advance(0.2)
    assert session.transport.frames[-1][1:] == (1011, b"ping timeout")
    assert session.transport.is_closed
    assert watcher.exits[0].reason == "ping_timeout"


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(frame(OP_PONG), id="pong"),
        pytest.param(frame(OP_PING), id="ping"),
        pytest.param(frame(OP_TEXT, b"x"), id="message"),
        pytest.param(frame(OP_TEXT, b"xyz")[:3], id="half a frame"),
    ],
)
def test_any_byte_is_a_sign_of_life(watched, clock, sign):
    """§3.9, §8"""
    session = watched(ping_interval="10s")
    clock.advance(19)
    session.on_bytes(sign)
    clock.advance(19)
    assert session.state is State.OPEN


def test_pings_are_sent_in_step(watched, clock):
    """§8"""
    session = watched(ping_interval="10s")
    for _ in range(41):
        clock.advance(1)
        session.on_bytes(frame(OP_PONG))
    assert len(session.transport.frames) == 4


def test_server_that_stood_still_blames_no_client(watched, clock):
    """§8: what they have sent meanwhile is still to be read."""
    session = watched(ping_interval="10s")
    clock.advance(11)
    clock.jump(60)
    assert session.state is State.OPEN
    clock.advance(9)
    session.on_bytes(frame(OP_PONG))
    clock.advance(9)
    assert session.state is State.OPEN


def test_client_that_is_silent_after_a_stall_is_given_up(watched, clock):
    """§8"""
    session = watched(ping_interval="10s")
    clock.jump(60)
    clock.advance(11)
    assert session.state is State.CLOSED


def test_client_of_a_busy_target_is_not_blamed(watched, recorder, clock):
    """§8: it is us who do not read."""
    session = watched(ping_interval="10s")
    recorder.is_full = True
    session.on_bytes(frame(OP_TEXT, b"x"))
    clock.advance(60)
    assert session.state is State.OPEN
    recorder.drain()
    session.on_bytes(frame(OP_PONG))  # what has waited meanwhile
    clock.advance(15)
    assert session.state is State.OPEN


def test_pings_may_be_switched_off(watched, clock):
    """§8"""
    session = watched(ping_interval="10s")
    send(session, "ws.control", {"ping_interval": "0s"})
    clock.advance(600)
    assert session.state is State.OPEN
    assert session.transport.frames == []


def test_pings_may_be_switched_on(watched, clock):
    """§3.6, §8: the time of silence counts from then on."""
    session = watched()
    clock.advance(600)
    send(session, "ws.control", {"ping_interval": "10s"})
    clock.advance(9)
    assert session.state is State.OPEN
    clock.advance(2)
    assert session.transport.frames == [(OP_PING, 0, b"")]
    session.on_bytes(frame(OP_PONG))
