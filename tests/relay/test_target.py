"""A connection and its targets: moving from one to another (§3.6)."""

import pytest

from greenrelay.message import Exit
from greenrelay.relay.delivery import State
from greenrelay.testing import wait_until
from tests.relay.actions import send
from tests.targets import RecordingTarget


def test_moving_is_one_step(node, connect, recorder):
    """§3.6"""
    other = RecordingTarget(node)
    session = connect()
    send(session, "ws.control", {"target_pid": other.pid, "metadata": {"moved": True}})
    assert recorder.payloads("ws.leave")[0]["reason"] == "transferred"
    assert recorder.payloads("ws.leave")[0]["metadata"] == {}
    assert other.payloads("ws.join") == [{"client_pid": session.pid, "metadata": {"moved": True}}]
    session.kill()
    assert recorder.topics.count("ws.leave") == 1
    assert other.topics == ["ws.join", "ws.leave"]


def test_old_target_is_not_monitored_any_more(node, connect, recorder):
    """§3.6"""
    session = connect()
    send(session, "ws.control", {"target_pid": RecordingTarget(node).pid})
    recorder.kill("killed")
    assert session.state is State.OPEN


def test_new_target_is_monitored(node, connect):
    """§3.6"""
    other = RecordingTarget(node)
    session = connect()
    send(session, "ws.control", {"target_pid": other.pid})
    other.kill("killed")
    assert session.state is State.CLOSING


def test_same_target_is_neither_left_nor_joined(connect, recorder):
    """§3.6"""
    session = connect()
    send(session, "ws.control", {"target_pid": recorder.pid, "message_topic": "line"})
    assert recorder.topics == ["ws.join"]
    assert session.config.message_topic == "line"


def test_control_that_is_wrong_in_one_field_changes_none(node, connect, recorder, caplog):
    """§3.6"""
    session = connect()
    before = session.config
    for wrong in ({"max_rate": -1}, {"target_pid": "proc@test/AAAAAAAAAAAAAAAA"}):
        send(session, "ws.control", {"message_topic": "line", "metadata": {"a": 1}, **wrong})
        assert session.config == before
    wait_until(lambda: len(caplog.records) == 2)
    assert "bad ws.control" in caplog.text
    assert "Relay" not in caplog.text  # no header was involved
    assert recorder.topics == ["ws.join"]


def test_end_of_another_process_is_not_the_targets(node, connect):
    session, other = connect(), RecordingTarget(node)
    session.on_exit(Exit(other.pid, "killed", 0.0))
    assert session.state is State.OPEN


@pytest.mark.parametrize("is_full", [True, False])
def test_connection_without_a_target_is_never_paused(open_stream, recorder, is_full):
    """§5.2, §8"""
    stream, recorder.is_full = open_stream(None), is_full
    assert not stream.pause_if_full()


def test_full_target_is_asked_once_for_each_connection(connect, recorder):
    """§8"""
    recorder.is_full = True
    sessions = [connect() for _ in range(3)]
    assert all(session.pause_if_full() and session.pause_if_full() for session in sessions)
    assert recorder.on_drained_calls.keys() == {session.pid for session in sessions}
