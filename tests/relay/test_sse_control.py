"""The configuration of a living event stream (§5.5)."""

import pytest

from greenrelay.processes.node import Node
from greenrelay.relay.delivery import State
from greenrelay.testing import wait_until
from tests.relay.actions import control, done, events, forward
from tests.targets import RecordingTarget

# -- sse.control (§5.5) --------------------------------------------------------


def test_control_attaches_a_detached_stream(open_stream, recorder):
    """§5.5"""
    stream = open_stream(None, metadata={"user": 7})
    control(stream, target_pid=recorder.pid)
    assert recorder.topics == ["sse.join"]
    recorder.kill("normal")
    assert events(stream)[-1] == done("target process exited")


def test_control_detaches_from_the_target(open_stream, recorder):
    """§5.5"""
    stream = open_stream()
    control(stream, target_pid="")
    assert recorder.payloads("sse.leave")[0]["reason"] == "transferred"
    recorder.kill("normal")
    forward(stream, "alive")
    assert events(stream) == [("sse.message", "alive")]


def test_control_switches_the_target(node, open_stream, recorder):
    """§5.5"""
    stream, other = open_stream(), RecordingTarget(node)
    control(stream, target_pid=other.pid, metadata={"moved": True})
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert other.payloads("sse.join")[0]["metadata"] == {"moved": True}
    recorder.kill("normal")
    assert stream.state is State.OPEN


def test_control_to_the_same_target_changes_nothing(open_stream, recorder):
    """§5.5"""
    control(open_stream(), target_pid=recorder.pid)
    assert recorder.topics == ["sse.join"]


def test_control_without_target_keeps_it(open_stream, recorder):
    """§5.5"""
    control(open_stream(), message_topic="news")
    assert recorder.topics == ["sse.join"]


def test_control_to_a_dead_target_changes_nothing(node, open_stream, recorder, caplog):
    """§5.5"""
    stream, dead = open_stream(), RecordingTarget(node)
    dead.kill()
    control(stream, target_pid=dead.pid, message_topic="news")
    forward(stream, "x")
    assert recorder.topics == ["sse.join"]
    assert events(stream) == [("sse.message", "x")]
    wait_until(lambda: "is not alive" in caplog.text)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="no mapping"),
        pytest.param("{", id="no JSON"),
        pytest.param({"message_topic": "news", "colour": "red"}, id="unknown field"),
        pytest.param({"message_topic": "news", "dialect": "raw"}, id="field of the other relay"),
        pytest.param({"message_topic": "news", "idle_timeout": "soon"}, id="no duration"),
        pytest.param({"message_topic": "news", "hard_timeout": "-1s"}, id="negative"),
        pytest.param({"message_topic": "news", "heartbeat_interval": None}, id="null"),
        pytest.param({"message_topic": "news", "metadata": "x"}, id="no object"),
        pytest.param({"message_topic": "news", "target_pid": "x"}, id="no PID"),
        pytest.param({"message_topic": "news", "target_pid": None}, id="null PID"),
        pytest.param({"message_topic": "@x"}, id="reserved topic"),
    ],
)
def test_malformed_control_is_ignored_whole(open_stream, caplog, payload):
    """§3.6, §5.5"""
    stream = open_stream()
    forward(stream, payload, "sse.control")
    forward(stream, "x")
    assert events(stream) == [("sse.message", "x")]
    wait_until(lambda: "bad sse.control" in caplog.text)
    assert "Relay" not in caplog.text  # no header was involved


def test_control_may_be_json_text(open_stream):
    """§3.6, §5.5"""
    stream = open_stream()
    forward(stream, '{"message_topic": "news"}', "sse.control")
    forward(stream, "x", "news")
    assert events(stream) == [("news", "x")]


def test_control_sets_the_metadata(open_stream, recorder):
    """§5.5"""
    stream = open_stream()
    control(stream, metadata={"user": 8})
    stream.on_eof()
    assert recorder.payloads("sse.leave")[0]["metadata"] == {"user": 8}


def test_control_sets_the_heartbeat(open_stream, recorder, clock):
    """§5.5"""
    stream = open_stream(heartbeat_interval="0s")
    control(stream, heartbeat_interval="10s")
    clock.advance(20.5)
    assert stream.transport.written == b": ping\n\n" * 2


def test_control_of_something_else_does_not_put_the_heartbeat_off(open_stream, clock):
    """§5.5"""
    stream = open_stream(heartbeat_interval="10s")
    for _ in range(4):
        clock.advance(6)
        control(stream, metadata={})
    assert stream.transport.written == b": ping\n\n" * 2


def test_idle_time_that_control_sets_begins_then(open_stream, clock):
    """§5.5"""
    stream = open_stream()
    clock.advance(60)
    control(stream, idle_timeout="10s")
    clock.advance(9)
    assert stream.state is State.OPEN
    clock.advance(2)
    assert events(stream) == [done("idle timeout")]


def test_hard_time_that_control_sets_counts_from_the_beginning(open_stream, clock):
    """§5.6: absolute."""
    stream = open_stream()
    clock.advance(60)
    control(stream, hard_timeout="70s")
    clock.advance(11)
    assert events(stream) == [done("hard timeout")]


def test_control_switches_timeouts_off(open_stream, clock):
    """§5.5"""
    stream = open_stream(idle_timeout="10s", hard_timeout="10s")
    control(stream, idle_timeout="0s", hard_timeout="0s")
    clock.advance(30)
    assert stream.state is State.OPEN


def test_control_sets_the_time_to_reconnect(open_stream):
    """§5.5: the browser is told at once."""
    stream = open_stream()
    control(stream, retry="2s")
    control(stream, metadata={})
    assert stream.transport.written == b"retry: 2000\n\n"


def test_target_on_a_node_that_nobody_knows_is_dead(open_stream):
    """§5.2"""
    stream = open_stream(None)
    control(stream, target_pid=Node("other").make_pid("proc"))
    assert stream.info()["target"] is None
