"""How a connection lives and ends as a process, over real servers (§2.5, §3.8, §3.9)."""

import pytest

from greenrelay import process
from greenrelay.testing import leaks, wait_until
from tests.integration import raw
from tests.integration.apps import echo, relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left")


def test_cancel_closes_a_connection_with_1001(node, relay_server, target):
    """§2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        assert process.cancel(target.client, "moving")
        closed = ws.wait_closed()
    assert (closed.code, closed.reason) == (1001, "moving")
    assert target.wait_for("ws.leave")["code"] == 1001


def test_terminate_cuts_the_socket_at_once(node, relay_server, target, witness):
    """§2.5"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: node.topology.watchers(target.client))
        process.terminate(target.client)
        assert ws.wait_closed().code == 1006
    assert witness.wait_for_reason() == "killed"


def too_many(ws):
    for _ in range(10):
        ws.send("more")


EXITS = [
    pytest.param({}, lambda ws: ws.close(1000), "normal", id="1000"),
    pytest.param({}, lambda ws: ws.close(1001), "normal", id="1001"),
    pytest.param({}, lambda ws: ws.close(4001), "connection_lost", id="another code"),
    pytest.param({}, lambda ws: ws.abort(), "connection_lost", id="no close frame"),
    pytest.param({"max_message_size": 3}, lambda ws: ws.send("four"), "message_too_big", id="big"),
    pytest.param({"max_rate": 2}, too_many, "rate_limited", id="rate"),
    pytest.param({"idle_timeout": "60ms"}, lambda ws: ws.wait_closed(), "idle_timeout", id="idle"),
]


@pytest.mark.parametrize(("fields", "act", "reason"), EXITS)
def test_monitor_learns_how_a_connection_ended(
    node, relay_server, target, witness, fields, act, reason
):
    """§3.8"""
    server = relay_server(relay_app(node, target, **fields))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: len(node.topology.watchers(target.client)) == 1)
        act(ws)
        assert witness.wait_for_reason() == reason
    wait_until(lambda: target.topics[-1] == "ws.leave")


def test_connection_that_is_told_to_close_ends_normally(node, relay_server, target, witness):
    """§3.8"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        witness.watch(target.client)
        wait_until(lambda: node.topology.watchers(target.client))
        process.send(target.client, "ws.close", {"code": 4000})
        assert ws.wait_closed().code == 4000
    assert witness.wait_for_reason() == "normal"


def test_silent_client_is_pinged_and_given_up(node, relay_server, target, witness):
    """§8, §3.8: this one reads nothing and answers no ping."""
    server = relay_server(relay_app(node, target, ping_interval="100ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        witness.watch(target.client)
        assert witness.wait_for_reason() == "ping_timeout"
        assert client.read_frame() == (raw.PING, b"")
        assert client.read_close() == (1011, "ping timeout")


def test_client_that_answers_pings_stays(node, relay_server, target):
    """§3.9: any frame is a sign of life."""
    server = relay_server(relay_app(node, target, ping_interval="150ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        for _ in range(4):
            assert client.read_frame() == (raw.PING, b"")
            client.send(raw.frame(raw.PONG))
    assert "ws.leave" not in target.topics


def test_ping_is_answered_between_fragments(node, relay_server):
    """§3.9"""
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(raw.frame(raw.TEXT, b"one ", first=0), raw.frame(raw.PING, b"?"))
        assert client.read_frame() == (raw.PONG, b"?")
        client.send(raw.frame(0, b"message"))
        assert client.read_frame() == (raw.TEXT, b"one message")


def test_dead_connection_kills_who_is_linked(node, relay_server, witness):
    """§2.4, §3.8"""

    def linked():
        process.link(process.inbox().receive().sender)
        process.inbox().receive()

    pid = node.spawn(linked)
    witness.watch(pid)
    server = relay_server(relay_app(node, pid))
    with server.connect_ws("/ws") as ws:
        wait_until(lambda: node.topology.linked(pid))
        ws.abort()
        assert witness.wait_for_reason() == "connection_lost"


@pytest.mark.parametrize("end", ["close", "abort", "target"])
def test_nothing_is_left_of_a_connection(node, relay_server, target, end):
    """§3.8"""
    pid = node.spawn(target)
    server = relay_server(relay_app(node, pid, heartbeat_interval="10s"))
    with server.connect_ws("/ws") as ws:
        wait_until(lambda: target.topics)
        {"close": ws.close, "abort": ws.abort, "target": lambda: node.terminate(pid)}[end]()
    wait_until(lambda: len(list(node)) <= 1 and node.topology.is_empty())
    node.terminate(pid)
    wait_until(lambda: not leaks(node))
