"""How an event stream ends, and when (§5.3, §5.6)."""

import pytest

from greenrelay.relay.delivery import State
from tests.relay.actions import control, done, events, forward

# -- ending (§5.3, §5.6) -------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("normal", "target process exited"),
        ("killed", "target process failed"),
        ("error: ValueError: x", "target process failed"),
        ("noconnection", "target process failed"),
    ],
)
def test_stream_ends_with_its_target(open_stream, recorder, reason, told):
    """§5.3"""
    stream = open_stream()
    forward(stream, "last")
    recorder.kill(reason)
    assert events(stream) == [("sse.message", "last"), done(told)]
    assert stream.state is State.LINGERING
    assert stream.transport.is_shut


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (None, "closed by server"),
        ("", "closed by server"),
        ({}, "closed by server"),
        ({"reason": None}, "closed by server"),
        ("enough", "enough"),
        ({"reason": "enough"}, "enough"),
    ],
)
def test_close_tells_the_reason(open_stream, payload, told):
    """§5.3, §5.5"""
    stream = open_stream()
    forward(stream, payload, "sse.close")
    assert events(stream) == [done(told)]
    assert not forward(stream, "too late")


@pytest.mark.parametrize(("reason", "told"), [(None, "closed by server"), ("moving", "moving")])
def test_cancel_ends_the_stream(node, open_stream, reason, told):
    """§2.5, §5.3"""
    stream = open_stream()
    node.cancel(stream.pid, reason=reason)
    assert events(stream) == [done(told)]


def test_drain_ends_the_stream(open_stream):
    """§5.3, §9"""
    stream = open_stream()
    stream.drain()
    assert events(stream) == [done("shutdown")]


def test_terminate_closes_the_socket_at_once(node, open_stream):
    """§2.5"""
    stream = open_stream()
    node.terminate(stream.pid)
    assert stream.transport.written == b""
    assert stream.transport.is_closed


def test_leave_is_the_last_message_and_comes_once(open_stream, recorder):
    """§5.2"""
    stream = open_stream(metadata={"user": 7})
    forward(stream, "enough", "sse.close")
    stream.on_eof()
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert recorder.payloads("sse.leave") == [
        {"client_pid": stream.pid, "reason": "normal", "code": 1000, "metadata": {"user": 7}}
    ]


def end_by_client(stream):
    stream.on_eof()


def end_by_close(stream):
    forward(stream, None, "sse.close")


def end_by_idling(stream):
    stream.wheel.clock.advance(10)


def end_by_time(stream):
    stream.wheel.clock.advance(20)


@pytest.mark.parametrize(
    ("end", "fields", "reason"),
    [
        (end_by_client, {}, "connection_lost"),
        (end_by_close, {}, "normal"),
        (end_by_idling, {"idle_timeout": "5s"}, "idle_timeout"),
        (end_by_time, {"hard_timeout": "15s"}, "hard_timeout"),
    ],
)
def test_monitor_gets_the_reason(node, open_stream, watcher, end, fields, reason):
    """§5.6"""
    stream = open_stream(**fields)
    node.monitor(watcher, stream.pid)
    end(stream)
    assert [exit.reason for exit in watcher.exits] == [reason]


def test_ended_stream_is_out_of_every_table(node, open_stream, clock, recorder):
    """§5.6"""
    stream = open_stream(hard_timeout="1h", idle_timeout="1h")
    stream.on_eof()
    assert not node.is_alive(stream.pid)
    assert node.topology.is_empty()
    assert len(clock.wheel) == 0


def test_close_waits_for_a_client_that_reads_slowly(open_stream):
    """§5.3"""
    stream = open_stream()
    stream.transport.unsent = 1
    forward(stream, "last")
    forward(stream, None, "sse.close")
    assert not stream.transport.is_shut
    stream.transport.flush()
    assert stream.transport.is_shut
    assert events(stream) == [("sse.message", "last"), done("closed by server")]


def test_client_that_never_reads_the_close_is_cut_off(open_stream, clock):
    """§5.6"""
    stream = open_stream()
    stream.transport.unsent = 1
    forward(stream, None, "sse.close")
    clock.advance(6)
    assert stream.transport.is_closed


# -- time (§5.1, §5.6) ---------------------------------------------------------


def test_heartbeat_reaches_client_and_target(open_stream, recorder, clock):
    """§5.3"""
    stream = open_stream(metadata={"user": 7})
    clock.advance(30.5)
    assert stream.transport.written == b": ping\n\n"
    (beat,) = recorder.payloads("sse.heartbeat")
    assert beat["client_pid"] == stream.pid
    assert beat["uptime"] == pytest.approx(30, abs=0.5)
    assert (beat["message_count"], beat["metadata"]) == (0, {"user": 7})


def test_heartbeat_keeps_its_step(open_stream, recorder, clock):
    """§5.1"""
    stream = open_stream(heartbeat_interval="10s")
    clock.advance(60.5)
    assert stream.transport.written == b": ping\n\n" * 6


def test_heartbeat_of_a_detached_stream_is_on_the_wire_only(open_stream, clock):
    """§5.3"""
    stream = open_stream(None, heartbeat_interval="10s")
    clock.advance(10.5)
    assert stream.transport.written.endswith(b"\n\n: ping\n\n")


def test_no_heartbeat_while_something_waits_to_be_sent(open_stream, recorder, clock):
    """§5.3"""
    stream = open_stream(heartbeat_interval="10s")
    stream.transport.unsent = 1
    clock.advance(10.5)
    assert stream.transport.written == b""
    assert len(recorder.payloads("sse.heartbeat")) == 1


def test_zero_is_no_heartbeat(open_stream, clock):
    """§5.1"""
    stream = open_stream(heartbeat_interval="0s")
    clock.advance(100)
    assert stream.transport.written == b""


def test_idle_stream_ends(open_stream, clock):
    """§5.6"""
    stream = open_stream(idle_timeout="45s")
    clock.advance(44)
    assert stream.state is State.OPEN
    clock.advance(2)
    assert events(stream) == [done("idle timeout")]


def test_forwarded_events_and_nothing_else_reset_the_idle_time(open_stream, clock):
    """§5.6"""
    stream = open_stream(idle_timeout="10s", heartbeat_interval="1s", message_topic="news")
    for _ in range(3):
        clock.advance(9)
        forward(stream, "x", "news")
    for _ in range(3):
        clock.advance(3)
        forward(stream, "x", "other")
        control(stream, metadata={})
    clock.advance(2)
    assert events(stream) == [("news", "x")] * 3 + [done("idle timeout")]


def test_hard_timeout_ends_a_busy_stream(open_stream, clock):
    """§5.6"""
    stream = open_stream(hard_timeout="10s", idle_timeout="5s")
    for _ in range(12):
        forward(stream, "x")
        clock.advance(1)
    assert events(stream)[-1] == done("hard timeout")
    assert stream.state > State.OPEN
