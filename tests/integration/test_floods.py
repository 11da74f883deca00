"""Clients that send without pause, targets that can't keep up, servers that stand still."""

import contextlib
import time
import zlib

import gevent
import gevent.event
import pytest

from greenrelay import process
from greenrelay.testing import ConnectionClosed, wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, echo, relay_app

pytestmark = pytest.mark.usefixtures("no_socket_left")

FRAMES = 9_000  # of six bytes: less than one read of 65 KiB, and less than a socket's buffers


def connection(node):
    """Return the one WebSocket of a node."""
    return wait_until(lambda: [entity for entity in node if entity.pid.host == "ws"])[0]


def deflated(payload):
    """Return a client's compressed text message."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return raw.frame(raw.TEXT, data[:-4], first=0xC0)


# -- turns ---------------------------------------------------------------------

FLOODS = [
    pytest.param(raw.frame(raw.PONG) * FRAMES, id="pongs"),
    pytest.param(raw.frame(raw.TEXT) * FRAMES, id="empty messages"),
    pytest.param(
        raw.frame(raw.TEXT, first=0) + raw.frame(0, first=0) * FRAMES + raw.frame(0),
        id="empty fragments",
    ),
]


@pytest.mark.parametrize("flood", FLOODS)
def test_others_have_many_turns_while_one_floods(node, relay_server, flood):
    """§2.10: between what one read holds, another client's messages go to and fro."""
    server = relay_server(relay_app(node, echo))
    with raw.RawClient(server.url) as noisy, server.connect_ws("/ws") as quiet:
        noisy.upgrade()
        quiet.send("warm")
        assert quiet.receive() == "warm"
        gevent.spawn(noisy.send, flood * 8, raw.close())
        answers = 0
        left = gevent.spawn(noisy.read_close)
        while not left.dead:
            quiet.send("hello")
            assert quiet.receive() == "hello"
            answers += 1
        assert answers > 15


def test_flood_is_taken_whole_and_in_order(node, relay_server, target):
    """§2.2"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws, raw.RawClient(server.url) as client:
        client.upgrade()
        client.send(b"".join(raw.text(str(number)) for number in range(FRAMES)))
        client.send(raw.close())
        assert client.read_close() == (1000, "")
        ws.send("last")
    wait_until(lambda: target.payloads()[-1:] == ["last"])
    assert target.payloads()[:-1] == [str(number) for number in range(FRAMES)]


# -- the mark ------------------------------------------------------------------


@pytest.fixture
def paused(node):
    """A target that takes nothing until it is let go, and what it has got then."""
    node.max_mailbox = 100
    go, target = gevent.event.Event(), Recorder()
    pid = node.spawn(lambda: go.wait() and target())
    yield pid, target, go
    go.set()


def test_flood_of_many_stops_at_the_mark(node, relay_server, paused):
    """§8: each client overshoots it by one message at most, and nothing is lost."""
    pid, target, go = paused
    server = relay_server(relay_app(node, pid))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw.RawClient(server.url)) for _ in range(40)]
        for client in clients:
            client.upgrade()
        for client in clients:
            client.send(raw.text("x") * 2000)
        sessions = [entity for entity in node if entity.pid.host == "ws"]
        wait_until(lambda: not any(session.transport.is_reading for session in sessions))
        assert 100 <= len(node.find(pid).mailbox) <= 140
        go.set()
        wait_until(lambda: len(target.payloads()) == 40 * 2000, timeout=30)


def test_drained_target_is_not_flooded_at_once(node, relay_server, paused):
    """§8: each of those who go on looks at the mark after each message."""
    pid, target, go = paused
    server = relay_server(relay_app(node, pid))
    most = 0

    def look(message):
        nonlocal most
        most = max(most, len(node.find(pid).mailbox))
        gevent.sleep(0)

    target.answer = look
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw.RawClient(server.url)) for _ in range(20)]
        for client in clients:
            client.upgrade()
        for client in clients:
            client.send(raw.text("x") * 200)
        go.set()
        wait_until(lambda: len(target.payloads()) == 20 * 200, timeout=30)
    assert most <= 120


def test_compressed_messages_stop_at_the_mark(node, relay_server, paused):
    """§8: a read of 65 KiB holds fifty of a mebibyte."""
    pid, target, go = paused
    node.find(pid).mailbox.__init__(max_messages=2, owner=node.find(pid).greenlet)
    server = relay_server(relay_app(node, pid, compression=True))
    with raw.RawClient(server.url) as client:
        client.upgrade(sec_websocket_extensions="permessage-deflate")
        client.send(deflated(b"x" * (1 << 20)) * 50)
        session = connection(node)
        wait_until(lambda: not session.transport.is_reading and not session.transport.unsent)
        assert session.message_count <= 2
        go.set()
        wait_until(lambda: len(target.payloads()) == 50)


# -- stalls of ours ------------------------------------------------------------


def listen(ws):
    """Answer pings as they come, until the connection ends."""
    with contextlib.suppress(ConnectionClosed):
        ws.receive(timeout=10)


@pytest.mark.parametrize("stall", [0.25, 0.34, 0.39, 0.5, 1.5])
def test_stall_closes_no_client_that_answers(node, relay_server, target, stall):
    """§8: each of twenty, pinged every 0.2 s, whenever it comes."""
    server = relay_server(relay_app(node, target, ping_interval="200ms"))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            listener = gevent.spawn(listen, stack.enter_context(server.connect_ws("/ws")))
            stack.callback(listener.kill)
            gevent.sleep(0.01)  # so that they are not pinged all at once
        for _ in range(3):
            time.sleep(stall)
            gevent.sleep(0.1)
        gevent.sleep(0.6)
        assert target.topics == ["ws.join"] * 20


def test_stall_makes_no_talking_client_idle(node, relay_server, target):
    """§8: what it has sent meanwhile counts."""
    server = relay_server(relay_app(node, target, idle_timeout="300ms"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        target.wait_for("ws.join")
        for _ in range(4):
            client.send(raw.text("hello"))
            time.sleep(0.4)
            gevent.sleep(0.02)
        assert target.payloads() == ["hello"] * 4
        assert "ws.leave" not in target.topics
        assert client.read_close() == (1000, "idle timeout")


# -- senders' mistakes ---------------------------------------------------------


@pytest.mark.parametrize("door", ["/ws", "/sse"])
@pytest.mark.usefixtures("nothing_printed")
def test_timed_message_that_can_not_be_encoded_hurts_nobody(node, relay_server, caplog, door):
    """§3.4, §5.3: neither its sender nor the event loop."""
    app = relay_app(node, node.spawn(Recorder()))
    app.add_url_rule("/sse", "sse", lambda: ("", {"X-SSE-Relay": '{"message_topic": "*"}'}))
    server = relay_server(app)

    class Broken(dict):
        items = __iter__ = __repr__ = lambda self: 1 / 0

    connect = server.connect_ws if door == "/ws" else server.connect_sse
    with connect(door):
        pid = wait_until(lambda: [e.pid for e in node if e.pid.host in ("ws", "sse")])[0]
        process.send_after(0.0, pid, "news", Broken(a=1))
        wait_until(lambda: f"{pid}: bad news from None" in caplog.text)
        assert process.send(pid, "news", "good")
