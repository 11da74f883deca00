"""Whose silence it is: nobody is closed because the server stood still (§8)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.frames import OP_PING, OP_PONG, OP_TEXT
from greenrelay.relay.delivery import State
from greenrelay.relay.listening import LISTEN_SECONDS, NEVER
from greenrelay.testing import FakeClock, fake_event_stream, fake_websocket
from tests.integration.raw import frame
from tests.targets import RecordingTarget

PING = (OP_PING, 0, b"")


@pytest.fixture
def connect(node, clock):
    """Return an open connection, pinged each second."""

    def connect(**fields):
        recorder = RecordingTarget(node)
        return fake_websocket(node, recorder.pid, clock, **{"ping_interval": "1s", **fields})

    return connect


@pytest.mark.parametrize("stall", [0.3, 0.95, 1.2, 1.7, 1.95, 2.1, 5.0, 3600.0])
@pytest.mark.parametrize("before", [0.2, 0.8, 0.99, 1.03, 1.5])
def test_stall_closes_nobody_who_answers(connect, clock, stall, before):
    """§8: whenever it comes, however long it is."""
    session = connect()
    clock.advance(before)
    clock.jump(stall)
    for _ in range(20):
        session.on_bytes(frame(OP_PONG))  # what has waited, and what is asked for then
        clock.advance(0.5)
    assert session.state is State.OPEN


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 4.0)), max_size=12))
def test_stalls_close_nobody_who_answers_when_the_loop_turns(stalls):
    """§8: the loop reads after its timers, so an answer comes later than the time-out."""
    node, clock = Node("test"), FakeClock()
    session = fake_websocket(node, RecordingTarget(node).pid, clock, ping_interval="1s")
    pongs = 0
    for free, stall in stalls:
        end = clock.now + free
        clock.jump(stall)
        while True:
            pings = session.transport.frames.count(PING)
            if pings > pongs:
                session.on_bytes(frame(OP_PONG))
                pongs = pings
            if clock.now >= end + stall:
                break
            clock.advance(0.05)
    assert session.state is State.OPEN
    session.kill()


def test_dead_client_is_given_up_though_the_server_stumbles(connect, clock):
    """§8: all the time."""
    session = connect()
    for _ in range(40):
        clock.jump(0.3)
    assert session.state is State.CLOSED


def test_dead_client_is_asked_again_after_a_stall_and_then_given_up(connect, clock):
    """§8"""
    session = connect(ping_interval="10s")
    clock.advance(11)
    clock.jump(60)
    assert session.transport.frames == [PING, PING]
    clock.advance(9)
    assert session.state is State.OPEN
    clock.advance(2)
    assert session.transport.frames[-1][1:] == (1011, b"ping timeout")


def test_silence_does_not_count_while_nobody_reads(connect, clock):
    """§8"""
    session = connect(ping_interval="10s")
    session.transport.pause()
    clock.advance(100)
    assert session.state is State.OPEN
    session.transport.resume()
    clock.advance(12)
    assert session.state is State.CLOSED


def test_idle_timeout_waits_for_what_a_stall_has_held_up(connect, clock):
    """§8: what the client has sent meanwhile is read after the timers."""
    session = connect(idle_timeout="2s", ping_interval="0s")
    clock.advance(1)
    clock.jump(1.5)
    assert session.state is State.OPEN
    session.on_bytes(frame(OP_TEXT, b"x"))
    clock.advance(1.9)
    assert session.state is State.OPEN
    clock.advance(0.3)
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")


def test_idle_timeout_of_a_stream_waits_for_its_processes(node, clock):
    """§5.6: they stood still as well."""
    stream = fake_event_stream(node, None, clock, idle_timeout="2s", heartbeat_interval="0s")
    clock.advance(1)
    clock.jump(1.5)
    assert stream.deliver(Message("sse.message", "late"))
    clock.advance(1.9)
    assert stream.state is State.OPEN


@pytest.mark.parametrize("fields", [{"ping_interval": "60ms"}, {"idle_timeout": "60ms"}])
def test_interval_shorter_than_a_look_works(connect, clock, fields):
    """§8"""
    session = connect(**{"ping_interval": "0s", **fields})
    clock.advance(0.5)
    assert session.state > State.OPEN


@pytest.mark.parametrize("fields", [{"ping_interval": "60ms"}, {"idle_timeout": "60ms"}])
def test_paused_connection_with_a_short_interval_does_not_spin(connect, clock, fields):
    """§8"""
    session = connect(**{"ping_interval": "0s", **fields})
    session.transport.pause()
    clock.advance(5)
    assert session.state is State.OPEN


# -- looks ---------------------------------------------------------------------


def test_look_ends_with_the_silence_if_nothing_comes_between():
    look = NEVER.renew(0.0, 10.0, NEVER.due(0.0, 10.0))
    assert look.due(0.0, 10.0) == 10.0
    assert look.renew(0.0, 10.0, 10.0) is None


def test_sign_of_life_makes_a_look_void():
    look = NEVER.renew(0.0, 10.0, 9.8)
    assert look.due(9.9, 19.9) == 19.9 - 2 * LISTEN_SECONDS


@pytest.mark.parametrize(("late", "length"), [(0.0, LISTEN_SECONDS), (3.0, 3.0), (60.0, 10.0)])
def test_look_after_a_stall_is_as_long_as_the_stall(late, length):
    """But no longer than the peer had from the beginning."""
    began = 10.0 - 2 * LISTEN_SECONDS + late
    look = NEVER.renew(0.0, 10.0, began)
    assert look.ends - look.began == pytest.approx(length)
