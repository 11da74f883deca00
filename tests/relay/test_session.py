"""What both relays share: joining, and what it knows about itself (§3.3)."""

import pytest

from greenrelay.relay.config import relay_config
from greenrelay.relay.delivery import State
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.testing import FakeTransport, fake_websocket
from tests.relay.actions import send

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
