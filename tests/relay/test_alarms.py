"""What is due on a connection at times: heartbeat, idle time (§3.3, §8)."""

import dataclasses

import pytest

from greenrelay.relay.alarms import next_beat
from greenrelay.relay.delivery import State
from greenrelay.testing import wait_until
from tests.relay.actions import send

# -- time ----------------------------------------------------------------------


def test_heartbeat_beats_in_step(connect, recorder, clock):
    """§3.3"""
    connect(heartbeat_interval="10s")
    clock.advance(35)
    uptimes = [beat["uptime"] for beat in recorder.payloads("ws.heartbeat")]
    assert uptimes == [
        pytest.approx(10, abs=0.1),
        pytest.approx(20, abs=0.1),
        pytest.approx(30, abs=0.1),
    ]


def test_heartbeats_that_a_stall_swallowed_are_gone(connect, recorder, clock):
    """§3.3"""
    connect(heartbeat_interval="10s")
    clock.jump(95)
    clock.advance(3)
    assert len(recorder.payloads("ws.heartbeat")) == 1
    clock.advance(3)
    assert len(recorder.payloads("ws.heartbeat")) == 2


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(10.0, 20.0, id="on time"),
        pytest.param(13.0, 20.0, id="a little late"),
        pytest.param(20.0, 30.0, id="a whole one late"),
        pytest.param(57.0, 60.0, id="after a stall"),
    ],
)
def test_next_beat_is_in_step_and_in_the_future(now, expected):
    assert next_beat(10.0, 10.0, now) == expected


def test_heartbeat_ends_with_the_connection(connect, recorder, clock):
    session = connect(heartbeat_interval="10s")
    session.on_eof()
    clock.advance(60)
    assert "ws.heartbeat" not in recorder.topics


def test_heartbeat_may_be_switched_off(connect, recorder, clock):
    """§3.6"""
    session = connect(heartbeat_interval="10s")
    send(session, "ws.control", {"heartbeat_interval": "0s"})
    clock.advance(60)
    assert "ws.heartbeat" not in recorder.topics
    assert len(clock.wheel) == 0


def test_idle_connection_is_closed(connect, clock, node, watcher):
    """§8"""
    session = connect(idle_timeout="60s")
    node.monitor(watcher, session.pid)
    clock.advance(61)
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")
    session.on_eof()
    assert watcher.exits[0].reason == "idle_timeout"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda session: send(session, "news"), id="to the client"),
        pytest.param(lambda session: session.on_bytes(b"\x81\x80\0\0\0\0"), id="from the client"),
    ],
)
def test_message_of_either_direction_keeps_it_from_being_idle(connect, clock, act):
    """§8"""
    session = connect(idle_timeout="60s")
    clock.advance(50)
    act(session)
    clock.advance(50)
    assert session.state is State.OPEN
    clock.advance(11)
    assert session.state is State.CLOSING


def test_our_own_pings_are_no_activity(connect, clock):
    """§8"""
    session = connect(idle_timeout="60s", ping_interval="25s")
    for _ in range(7):
        clock.advance(10)
        session.on_bytes(b"\x8a\x80\0\0\0\0")  # a pong
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")


def test_bug_on_a_timer_ends_that_connection_and_is_told(connect, clock, watcher, caplog):
    """Whatever fails in the hub, nobody else is touched, and nothing loses its timers."""
    broken, other = connect(heartbeat_interval="1s"), connect(heartbeat_interval="1s")
    broken.node.monitor(watcher, broken.pid)
    broken.adopt(dataclasses.replace(broken.config, heartbeat_interval="a bug"))
    clock.advance(1.5)
    wait_until(lambda: caplog.records)
    assert [exit.reason for exit in watcher.exits] == ["connection_lost"]
    assert f"{broken.pid}" in caplog.messages[0]
    assert caplog.records[0].exc_info[0] is TypeError
    assert other.state is State.OPEN
    other.kill()
