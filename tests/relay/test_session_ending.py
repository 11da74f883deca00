"""How a connection leaves its target, its monitors and its client (§3.5, §3.7, §3.8)."""

import pytest

from greenrelay.relay.delivery import State
from tests.relay.actions import send

# -- ending (§3.8) -------------------------------------------------------------


def test_leave_is_the_last_message_and_comes_once(connect, recorder):
    """§3.3"""
    session = connect(metadata={"user": 7})
    session.on_eof()
    session.on_eof()
    session.kill()
    assert recorder.topics == ["ws.join", "ws.leave"]
    assert recorder.payloads("ws.leave") == [
        {
            "client_pid": session.pid,
            "reason": "connection_lost",
            "code": 1006,
            "metadata": {"user": 7},
        }
    ]


def test_ended_connection_is_out_of_every_table(node, connect, clock):
    """§3.8"""
    session = connect(heartbeat_interval="1s")
    node.groups.join("room", session.pid)
    session.on_eof()
    assert not node.is_alive(session.pid)
    assert node.groups.members("room") == []
    assert node.topology.is_empty()
    assert len(clock.wheel) == 0
    assert session.transport.is_closed


def test_monitor_gets_the_reason_once(node, connect, watcher):
    """§3.8"""
    session = connect()
    node.monitor(watcher, session.pid)
    session.on_eof()
    session.finish()
    assert [exit.reason for exit in watcher.exits] == ["connection_lost"]


def test_links_learn_of_an_abnormal_end(node, connect, watcher):
    """§3.8"""
    session = connect()
    node.link(watcher, session.pid)
    session.kill("killed")
    assert [news.reason for news in watcher.links_down] == ["killed"]


def test_normal_end_kills_no_one(node, connect, watcher):
    """§2.4"""
    session = connect()
    node.link(watcher, session.pid)
    send(session, "ws.close")
    session.on_eof()
    assert watcher.links_down == []


def test_linked_death_closes_the_connection(node, connect, watcher):
    """§2.4"""
    session = connect()
    node.link(watcher, session.pid)
    watcher.kill("error: ValueError: on purpose")
    assert session.transport.frames[-1].code == 1011
    session.on_eof()
    assert not node.is_alive(session.pid)


@pytest.mark.parametrize(
    ("reason", "code", "text"),
    [
        pytest.param("normal", 1000, b"target process exited", id="normal"),
        pytest.param("shutdown", 1000, b"target process exited", id="shutdown"),
        pytest.param("killed", 1011, b"target process failed", id="killed"),
        pytest.param("error: X: y", 1011, b"target process failed", id="crash"),
        pytest.param("noconnection", 1012, b"target process failed", id="node lost"),
    ],
)
def test_end_of_the_target_is_told_to_client_and_monitors(
    node, connect, recorder, watcher, reason, code, text
):
    """§3.7, §3.8"""
    session = connect()
    node.monitor(watcher, session.pid)
    send(session, "news", 1)
    recorder.kill(reason)
    assert session.transport.frames[0] == '{"topic":"news","data":1}'
    assert session.transport.frames[1][1:] == (code, text)
    session.on_eof()
    assert watcher.exits[0].reason == reason


def test_dead_target_gets_no_leave(connect, recorder):
    """§3.7"""
    session = connect()
    recorder.kill("normal")
    session.on_eof()
    assert recorder.topics == ["ws.join"]


def test_close_that_nobody_answers_ends_after_five_seconds(node, connect, recorder, clock):
    """§3.5"""
    session = connect()
    send(session, "ws.close", "bye")
    clock.advance(4.9)
    assert session.state is State.CLOSING
    assert not session.transport.is_closed
    clock.advance(0.2)
    assert session.transport.is_closed
    assert recorder.payloads("ws.leave")[0]["reason"] == "bye"


def test_last_bytes_are_flushed_before_the_socket_is_closed(connect, clock):
    """The client must be able to read why."""
    session = connect()
    session.transport.unsent = 100
    session.on_bytes(b"\x00\x00")  # unmasked
    assert session.state is State.LINGERING
    assert not session.transport.is_shut
    session.transport.flush()
    assert session.transport.is_shut
    assert session.transport.is_reading
    session.on_eof()
    assert session.transport.is_closed


def test_client_that_does_not_read_its_close_is_cut_off(connect, clock):
    session = connect()
    session.transport.unsent = 100
    session.on_bytes(b"\x00\x00")
    clock.advance(5.1)
    assert session.transport.is_closed


def test_terminate_closes_the_socket_at_once(connect, recorder):
    """§2.5"""
    session = connect()
    session.kill()
    assert session.transport.is_closed
    assert session.transport.frames == []
    assert recorder.payloads("ws.leave")[0]["reason"] == "killed"


@pytest.mark.parametrize("end", ["on_eof", "kill", "finish", "drain", "cancel", "on_flushed"])
def test_ended_connection_bears_any_further_end(connect, end):
    session = connect()
    session.kill()
    getattr(session, end)()
    assert session.state is State.CLOSED


def test_nothing_is_delivered_to_an_ended_connection(connect):
    """§2.2"""
    session = connect()
    assert send(session, "news")
    session.on_eof()
    assert not send(session, "news")
