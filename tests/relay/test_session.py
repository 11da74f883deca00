"""What both relays share: joining, moving, and what it knows about itself (§3.3, §3.6)."""

import pytest

from greenrelay.relay.config import relay_config
from greenrelay.relay.delivery import State
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.testing import FakeTransport, fake_websocket, wait_until
from tests.relay.actions import send
from tests.targets import RecordingTarget

# -- joining (§3.3) ------------------------------------------------------------


def test_join_comes_before_anything_is_written_or_read(node, recorder, clock):
    """§3.3"""
    config = relay_config({"target_pid": recorder.pid, "metadata": {"user": 7}})
    session = WebSocketSession(node, clock.wheel, config, FrameCache())
    session.use(FakeTransport(session))
    session.join()
    assert recorder.payloads("ws.join") == [{"client_pid": session.pid, "metadata": {"user": 7}}]
    assert recorder.messages[0].sender == session.pid
    assert session.transport.written == b""
    assert not session.transport.is_reading
    session.kill()


def test_connection_is_registered_and_its_target_monitored_before_the_join(node, recorder, clock):
    """§3.3: so that a target may answer at once."""
    seen = []
    recorder.deliver = lambda message: seen.append(
        (node.is_alive(message.sender), len(node.topology.watchers(recorder.pid)))
    )
    fake_websocket(node, recorder.pid, clock).kill()
    assert seen[0] == (True, 1)


def test_target_that_dies_before_the_101_closes_the_connection_behind_it(node, recorder, clock):
    """§3.7"""
    config = relay_config({"target_pid": recorder.pid})
    session = WebSocketSession(node, clock.wheel, config, FrameCache())
    session.use(FakeTransport(session))
    session.join()
    recorder.kill("normal")
    session.begin(b"")
    assert session.transport.frames[-1].code == 1000
    assert session.state is State.CLOSING


def test_target_that_dies_before_the_join_closes_the_connection(node, recorder, clock, watcher):
    """§3.7"""
    recorder.kill("normal")
    session = fake_websocket(node, recorder.pid, clock)
    node.monitor(watcher, session.pid)
    assert session.transport.frames[-1][1:] == (1011, b"target process failed")
    session.on_eof()
    assert watcher.exits[0].reason == "noproc"


# -- control (§3.6) ------------------------------------------------------------


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


# -- what it knows about itself ------------------------------------------------


def test_info_counts(connect, recorder, clock):
    session = connect()
    session.on_bytes(b"\x81\x80\0\0\0\0")
    send(session, "news")
    clock.advance(10)
    info = session.info()
    assert info["target"] == recorder.pid
    assert (info["messages_in"], info["messages_out"]) == (1, 1)
    assert info["uptime"] == pytest.approx(10)
    assert info["state"] == "open"


def test_repr_names_pid_and_state(connect):
    session = connect()
    assert repr(session) == f"<WebSocketSession {session.pid} OPEN>"
