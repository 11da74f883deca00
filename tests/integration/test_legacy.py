"""Apps written against gevent-websocket keep working (§10.4)."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from flask import Flask, request
from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler

from greenrelay import GreenRelay, RelayMiddleware, process
from greenrelay.processes.node import Node
from greenrelay.testing import ConnectionClosed, UpgradeRefused, WebSocketClient, wait_until
from tests.integration import raw


def echo() -> None:
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})
        elif message.topic == "ws.leave":
            return


@pytest.fixture
def app(node: Node) -> Flask:
    app = Flask("legacy")
    relay = GreenRelay(app, node=node)

    @app.get("/relayed")
    def relayed() -> Any:
        return relay.websocket(process.spawn(echo))

    @app.get("/legacy")
    def legacy() -> str:
        websocket = request.environ["wsgi.websocket"]
        while (message := websocket.receive()) is not None:
            websocket.send(message)
        return "dropped"

    @app.get("/shouting")
    def shouting() -> None:
        websocket = request.environ["wsgi.websocket"]
        websocket.receive()
        while True:
            websocket.send("!" * 1000)
            gevent.sleep(0.001)

    @app.get("/greeted")
    def greeted() -> Any:
        request.environ["wsgi.websocket"].send("hello")
        return relay.websocket(process.spawn(echo))

    @app.get("/misconfigured")
    def misconfigured() -> Any:
        return "", 200, {"X-WS-Relay": "{"}

    @app.get("/gone")
    def gone() -> Any:
        return relay.websocket(node.make_pid("proc"))

    return app


@contextlib.contextmanager
def gevent_websocket(app: Flask) -> Iterator[Callable[..., WebSocketClient]]:
    server = WSGIServer(("127.0.0.1", 0), app, handler_class=WebSocketHandler, log=None)
    server.start()
    url = f"ws://127.0.0.1:{server.server_port}"
    try:
        yield lambda path, **options: WebSocketClient(url + path, **options)
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/legacy", "/relayed"])
@pytest.mark.parametrize("message", ["short", "é" * 50_000], ids=["short", "long"])
def test_legacy_and_relayed_views_echo_side_by_side(
    app: Flask, relay_server: Any, path: str, message: str
) -> None:
    with relay_server(app).connect_ws(path) as client:
        client.send(message)
        assert client.receive() == message


def test_a_legacy_view_echoes_binary_messages(app: Flask, relay_server: Any) -> None:
    with relay_server(app).connect_ws("/legacy") as client:
        client.send(b"\x00\xff")
        assert client.receive() == b"\x00\xff"


def test_a_legacy_view_ends_when_its_client_closes(app: Flask, relay_server: Any) -> None:
    server = relay_server(app)
    server.connect_ws("/legacy").close(1000, "bye")
    wait_until(lambda: server.server.pool.free_count() is None or not len(server.server.pool))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x81\x02hi", 1002, id="not masked"),
        pytest.param(b"\x82\xff" + (8 << 30).to_bytes(8, "big") + b"mask", 1009, id="8 GB"),
        pytest.param(b"\x81\x81\x00\x00\x00\x00\xff", 1007, id="no UTF-8"),
    ],
)
def test_a_legacy_view_is_kept_from_bad_frames(
    app: Flask, relay_server: Any, frame: bytes, code: int
) -> None:
    with relay_server(app).connect_ws("/legacy") as client:
        client.send("ready")
        assert client.receive() == "ready"
        client._socket.sendall(frame)
        assert client.wait_closed().code == code


def test_a_legacy_view_refuses_foreign_origins_without_a_traceback(
    app: Flask, relay_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UpgradeRefused) as refused:
        relay_server(app).connect_ws("/legacy", origin="https://evil.example")
    assert refused.value.status == 403
    assert not [record for record in caplog.records if record.exc_info]


def test_a_legacy_view_that_crashes_closes_with_1011(node: Node, relay_server: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError(environ["wsgi.websocket"].receive())

    with relay_server(RelayMiddleware(app, node=node)).connect_ws("/") as client:
        client.send("crash")
        assert client.wait_closed().code == 1011


def test_a_stopping_server_closes_legacy_views_with_1012(app: Flask, relay_server: Any) -> None:
    server = relay_server(app)
    with server.connect_ws("/legacy") as client:
        client.send("ready")
        client.receive()
        stopping = gevent.spawn(server.stop, 5.0)
        assert client.wait_closed().code == 1012
        client.close()
        stopping.get(timeout=5)


def test_a_refused_version_is_named(app: Flask, relay_server: Any) -> None:
    """§3.2"""
    with pytest.raises(UpgradeRefused) as refused:
        relay_server(app).connect_ws("/legacy", headers={"Sec-WebSocket-Version": "8"})
    assert refused.value.status == 426
    assert refused.value.headers["Sec-WebSocket-Version"] == "13"


def test_legacy_views_find_each_other_through_the_server(node: Node, relay_server: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        websocket = environ["wsgi.websocket"]
        while (message := websocket.receive()) is not None:
            for client in websocket.handler.server.clients.values():
                client.ws.send(message)
        return []

    server = relay_server(RelayMiddleware(app, node=node))
    with server.connect_ws("/") as one, server.connect_ws("/") as other:
        one.send("first")
        assert one.receive() == "first"
        assert other.receive() == "first"


def test_a_client_that_vanished_costs_a_legacy_view_no_traceback(
    app: Flask, relay_server: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    server = relay_server(app)
    client = server.connect_ws("/shouting")
    client.send("go")
    client.receive()
    client.abort()
    wait_until(lambda: not server.server.clients)
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capfd.readouterr().err


def test_a_view_may_use_the_socket_and_then_relay_it(app: Flask, relay_server: Any) -> None:
    with relay_server(app).connect_ws("/greeted") as client:
        assert client.receive() == "hello"
        client.send("and on")
        assert client.receive() == "and on"


@pytest.mark.parametrize("path", ["/legacy", "/relayed"])
def test_gevent_websockets_own_handler_serves_both_kinds(app: Flask, path: str) -> None:
    with gevent_websocket(app) as connect, connect(path) as client:
        client.send("x" * 1000)
        assert client.receive() == "x" * 1000


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        pytest.param("/relayed", {"origin": "https://evil.example"}, 1008, id="foreign origin"),
        pytest.param("/misconfigured", {}, 1011, id="malformed header"),
        pytest.param("/gone", {}, 1013, id="dead target"),
    ],
)
def test_a_refusal_after_the_upgrade_is_a_close_frame(
    app: Flask, path: str, options: dict[str, str], code: int
) -> None:
    with gevent_websocket(app) as connect, connect(path, **options) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert closed.value.code == code


def test_an_adopted_socket_is_a_process_like_any_other(app: Flask, node: Node) -> None:
    with gevent_websocket(app) as connect, connect("/relayed") as client:
        client.send("are you there?")
        client.receive()
        (connection,) = [entity for entity in node if entity.pid.host == "ws"]
        node.terminate(connection.pid)
        assert client.wait_closed().code == 1006


def test_flooding_client_of_a_view_leaves_others_their_turns(app: Flask, relay_server: Any) -> None:
    """§2.10: what one read holds is thousands of frames, and behind it comes the next."""
    server = relay_server(app)
    flood = raw.frame(raw.PONG) * 9_000 * 24
    with raw.RawClient(server.url) as noisy, server.connect_ws("/relayed") as quiet:
        noisy.upgrade(first="GET /legacy HTTP/1.1")
        quiet.send("warm")
        assert quiet.receive() == "warm"
        gevent.spawn(noisy.send, flood, raw.close())
        answers, left = 0, gevent.spawn(noisy.read_close)
        while not left.dead:
            quiet.send("hello")
            assert quiet.receive() == "hello"
            answers += 1
    assert answers > 12


def test_a_relayed_request_leaves_nothing_for_the_collector(app: Flask, relay_server: Any) -> None:
    handlers: list[Any] = []

    @app.before_request
    def note_handler() -> None:
        handlers.append(weakref.ref(request.environ["greenrelay.socket"]._handler))

    server = relay_server(app)
    gc.disable()
    try:
        with server.connect_ws("/relayed"):
            wait_until(lambda: handlers[0]() is None)
    finally:
        gc.enable()


def test_a_websocket_that_was_not_used_in_time_is_closed(app: Flask, relay_server: Any) -> None:
    kept: list[Any] = []

    @app.before_request
    def keep_websocket() -> None:
        kept.append(request.environ["wsgi.websocket"])

    with relay_server(app).connect_ws("/relayed"):
        wait_until(lambda: kept[0].closed)
        with pytest.raises(WebSocketError, match="closed"):
            kept[0].send("too late")
