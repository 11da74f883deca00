"""What is shipped for the tests of apps (§10.5)."""

import gevent
import gevent.server
import pytest
from flask import Flask, request
from websockets.exceptions import InvalidHandshake

from greenrelay import GreenRelay, RelayMiddleware, process
from greenrelay.testing import (
    ConnectionClosed,
    FakeClock,
    FakeTransport,
    UpgradeRefused,
    WebSocketClient,
    fake_websocket,
    leaks,
    serving,
    wait_until,
)
from tests.integration.apps import Recorder, echo, open_sockets, relay_app, send_frame
from tests.targets import RecordingTarget


def test_documented_example_works(relay_server):
    """§10.5: a view and its test, in a few lines."""
    app = Flask(__name__)
    relay = GreenRelay(app)

    @app.get("/ws")
    def room():
        return relay.websocket(process.spawn(echo))

    server = relay_server(app)
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


# -- the server ----------------------------------------------------------------------------


def test_any_wsgi_app_is_served(relay_server):
    def app(environ, start_response):
        start_response("404 Not Found", [("X-Own", "yes")])
        return [b"nothing here"]

    server = relay_server(app)
    assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(UpgradeRefused) as refused:
        server.connect_ws("/")
    assert (refused.value.status, refused.value.body) == (404, b"nothing here")
    assert refused.value.headers["X-Own"] == "yes"
    assert str(refused.value) == "404: nothing here"


def test_several_servers_live_side_by_side(node):
    with serving() as start:
        servers = [start(relay_app(node, echo)) for _ in range(3)]
        assert len({server.url for server in servers}) == 3
        for server in servers:
            with server.connect_ws("/ws") as ws:
                ws.send("hello")
                assert ws.receive() == "hello"


def test_everything_ends_with_the_block(node):
    before = open_sockets()
    with serving() as start:
        ws = start(relay_app(node, echo)).connect_ws("/ws")
        node.spawn(gevent.sleep, (60,))
    assert ws.wait_closed().code == 1012
    ws.close()
    wait_until(lambda: leaks(node) == [] and open_sockets() <= before)


def test_node_can_be_used_again(node, relay_server):
    with serving() as start:
        start(relay_app(node, echo))
    with relay_server(relay_app(node, echo)).connect_ws("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"


def test_server_knows_the_node_of_its_app(node, relay_server):
    assert relay_server(relay_app(node, echo)).node is node
    assert relay_server(RelayMiddleware(echo, node=node)).node is node


# -- the client -------------------------------------------------------------------------------


def mirror(node):
    """Return an app that answers with what the request had."""
    app = Flask("mirror")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        seen = {"query": request.args.to_dict(), "headers": dict(request.headers)}
        return relay.websocket(process.spawn(tell, seen))

    return app


def tell(seen):
    process.send(process.inbox().receive().sender, "seen", seen)
    process.inbox().receive()


def test_request_has_the_headers_it_was_given(node, relay_server):
    server = relay_server(mirror(node))
    headers = {"Cookie": "session=7", "Host": "site.example"}
    with server.connect_ws("/ws?room=7", headers, origin="http://site.example") as ws:
        seen = ws.receive_json()["data"]
    assert seen["query"] == {"room": "7"}
    assert seen["headers"].items() >= headers.items()
    assert seen["headers"]["Origin"] == "http://site.example"


def test_subprotocols_are_offered(node, relay_server):
    server = relay_server(mirror(node))
    with server.connect_ws("/ws", subprotocols=["chat", "v2"]) as ws:
        assert ws.receive_json()["data"]["headers"]["Sec-Websocket-Protocol"] == "chat, v2"


@pytest.fixture
def target():
    return Recorder()


@pytest.fixture
def ws(node, relay_server, target):
    with relay_server(relay_app(node, target)).connect_ws("/ws") as ws:
        yield ws


def test_str_is_text_and_bytes_are_binary(ws, target):
    ws.send("text")
    ws.send(b"binary")
    wait_until(lambda: target.payloads() == ["text", b"binary"])
    send_frame(target.client, "text")
    send_frame(target.client, b"binary")
    assert [ws.receive(), ws.receive()] == ["text", b"binary"]


def test_nothing_to_receive_is_a_timeout(ws):
    with pytest.raises(TimeoutError, match="the server has sent nothing in time"):
        ws.receive(timeout=0.02)


def test_what_came_before_the_close_is_received(ws, target):
    for word in ("one", "two"):
        send_frame(target.client, word)
    process.send(target.client, "ws.close", {"code": 4000, "reason": "out"})
    assert [ws.receive(), ws.receive()] == ["one", "two"]
    with pytest.raises(ConnectionClosed, match="closed with 4000 'out'") as closed:
        ws.receive()
    assert (closed.value.code, closed.value.reason) == (4000, "out")


def test_lost_connection_is_1006(ws, target):
    process.terminate(target.client)
    with pytest.raises(ConnectionClosed) as closed:
        ws.receive()
    assert closed.value.code == 1006


def test_close_says_code_and_reason_and_may_be_repeated(ws, target):
    ws.close(4000, "enough")
    ws.close()
    leave = target.wait_for("ws.leave")
    assert (leave["code"], leave["reason"]) == (4000, "enough")


def test_sending_to_a_server_that_has_gone_is_found_out_by_reading(ws, target):
    process.terminate(target.client)
    for _ in range(3):
        ws.send("hello")
        gevent.sleep(0)
    assert ws.wait_closed().code == 1006


def test_connection_that_stays_open_is_a_timeout(ws):
    with pytest.raises(TimeoutError):
        ws.wait_closed(timeout=0.02)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n"])
def test_server_that_speaks_something_else_is_an_error(answer):
    """And the client's socket is closed."""
    before = open_sockets()
    server = gevent.server.StreamServer(("127.0.0.1", 0), lambda sock, _: sock.sendall(answer))
    server.start()
    with pytest.raises(InvalidHandshake):
        WebSocketClient(f"ws://127.0.0.1:{server.server_port}/")
    server.stop()
    wait_until(lambda: open_sockets() <= before)


# -- waiting, and leaks --------------------------------------------------------------------------


def test_wait_until_returns_what_came_true():
    values = iter([0, "", None, "there"])
    assert wait_until(lambda: next(values)) == "there"


def test_wait_until_says_what_it_saw_last():
    with pytest.raises(AssertionError, match=r"not true in 0\.02 s: .*; last value 0"):
        wait_until(lambda: 0, timeout=0.02)


def test_leaks_names_what_is_left(node):
    pid = node.spawn(lambda: process.inbox().receive(), name="room")
    node.groups.join("rooms", pid)
    node.monitor(RecordingTarget(node), pid)
    text = "\n".join(leaks(node))
    for part in (pid, "1 names", "1 groups", "monitors or links"):
        assert part in text


def test_nothing_left_is_an_empty_list(node):
    node.spawn(lambda: None)
    wait_until(lambda: leaks(node) == [])


# -- fakes ---------------------------------------------------------------------------------------


def test_fake_websocket_is_open_and_talks(node):
    """A process under test, a client without a socket, and no time that passes."""
    clock = FakeClock()
    ws = fake_websocket(node, node.spawn(echo), clock, ping_interval="10s")
    ws.on_bytes(b"\x81\x85\0\0\0\0hello")
    wait_until(lambda: ws.transport.frames == ["hello"])
    clock.advance(60)
    assert ws.transport.frames[-1].code == 1011


def test_fake_transport_shows_frames_of_every_kind(node):
    ws = fake_websocket(node, RecordingTarget(node).pid)
    for data in ("text", "x" * 200, "x" * 70_000):
        node.send(ws.pid, "ws.send", {"type": "text", "data": data})
    node.send(ws.pid, "ws.send", {"type": "binary", "data": b"\x00"})
    ws.on_bytes(b"\x89\x81\0\0\0\0?")
    node.send(ws.pid, "ws.close", {"code": 4000, "reason": "bye"})
    frames = ws.transport.frames
    assert frames[:4] == ["text", "x" * 200, "x" * 70_000, b"\x00"]
    assert frames[4:] == [(10, 0, b"?"), (8, 4000, b"bye")]


def test_fake_transport_plays_a_client_that_does_not_read():
    transport = FakeTransport(unsent=10)
    for word in (b"one", b"two", b"three"):
        transport.write(word)
    assert transport.unsent == 21
    assert transport.drop_oldest(4) == 2
    assert (transport.written, transport.unsent) == (b"three", 15)
    transport.flush()
    assert (transport.written, transport.unsent) == (b"three", 0)
    transport.write(b"four")
    transport.discard_unsent()
    assert transport.written == b"threefour"


def test_fake_clock_lets_things_happen_on_the_way(node):
    clock = FakeClock()
    recorder = RecordingTarget(node)
    fake_websocket(node, recorder.pid, clock, heartbeat_interval="10s", ping_interval="0s")
    clock.advance(31)
    assert len(recorder.payloads("ws.heartbeat")) == 3
    assert clock() == clock.now == 1031.0


def test_processes_older_than_the_server_outlive_it(node):
    """§10.5: what an app has started at its import is there for the next test."""
    older = node.spawn(idle)
    with serving() as start:
        start(RelayMiddleware(lambda environ, answer: [], node=node))
        younger = node.spawn(idle)
    assert node.is_alive(older)
    assert not node.is_alive(younger)


def idle():
    process.inbox().receive()
