"""Never run: what type checkers say about views, and about tests of them (§10.7).

A line that ends in `# error` is a mistake that both must find; they may find no other.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, Response
from typing_extensions import assert_type

from greenrelay import PID, GreenRelay, Node, event_stream, process, write_event
from greenrelay.fields import EventStreamFields, WebSocketFields
from greenrelay.testing import ServedApp, ServerFactory, leaks, serving, wait_until

app = Flask(__name__)
relay = GreenRelay(app, node=Node("web1"))


@app.get("/ws")
def ws() -> Response:
    target = process.spawn(print)
    fields: WebSocketFields = {"heartbeat_interval": "30s", "compression": True}
    relay.websocket(target, **fields)
    relay.websocket(target, heartbeat=30)  # error
    relay.websocket(target, heartbeat_interval=30)  # error
    relay.websocket(target, slow_consumer="drop")  # error
    relay.websocket(target, retry="1s")  # error
    relay.websocket(None)  # error
    return relay.websocket(
        target,
        message_topic="said",
        metadata={"user": 7},
        dialect="envelope",
        max_message_size=0,
        ping_interval=0,
        idle_timeout="1m30s",
        slow_consumer="drop_old",
        max_rate=0.5,
    )


@app.get("/sse")
def sse() -> Response:
    fields: EventStreamFields = {"retry": "1s", "hard_timeout": "2h"}
    relay.sse(process.spawn(print), **fields)
    relay.sse(compression=True)  # error
    return relay.sse(message_topic="*")


@app.get("/direct")
def direct() -> str:
    write_event("progress", {"percent": 3})
    return ""


@app.get("/stream")
def stream() -> Response:
    return event_stream(("progress", percent) for percent in range(3))


# -- tests -------------------------------------------------------------------------------------


@pytest.fixture
def server(relay_server: ServerFactory) -> ServedApp:
    return relay_server(app)


def test_it(server: ServedApp) -> None:
    with server.connect_ws("/ws", origin="https://site.example") as socket:
        socket.send("hello")
        socket.send(3)  # error
        assert_type(socket.receive(timeout=1), str | bytes)
    with server.connect_sse("/sse", headers={"X": "y"}) as events:
        for event in events:
            assert_type(event.data, str)
    assert server.get("/").text == "hello"
    assert server.session().post("/", json={}).status_code == 200
    assert_type(server.run(process.spawn, print), PID)
    assert_type(server.run(len, "abc"), int)
    assert_type(wait_until(lambda: 3), int)
    assert leaks(server.node) == []


def serve() -> Iterator[ServedApp]:
    with serving() as start:
        yield start(app, own_thread=False)
        start(app, 3)  # error
