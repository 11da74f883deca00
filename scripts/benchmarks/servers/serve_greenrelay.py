"""Echo, fan-out and event streams with greenrelay.

As apps have it: `/app`, `/appraw`, `/join` (a process per connection, which the view spawns),
`/room`, `/events` (one for all, which the first view spawns). At its best: `/ws`, `/fan` (one
process for all, spawned outside of any request, which sends bytes as they are).
"""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from common import add_teardown, make_data, read_options, serve_wsgi
from flask import Flask, request

from greenrelay import GreenRelay, process
from greenrelay.server import RelayServer

app = Flask(__name__)
relay = GreenRelay(app)
is_compressed = False


@app.get("/app")
def app_echo():
    return relay.websocket(process.spawn(answer_json), compression=is_compressed)


def answer_json():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "said", make_data(message.payload))
        elif message.topic == "ws.leave":
            return


@app.get("/appraw")
def app_raw_echo():
    return relay.websocket(process.spawn(answer_raw))


def answer_raw():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", frame(message.payload))
        elif message.topic == "ws.leave":
            return


@app.get("/join")
def join():
    return relay.websocket(process.spawn(greet))


def greet():
    for message in process.inbox():
        if message.topic == "ws.join":
            process.send(message.sender, "said", make_data("welcome"))
        elif message.topic == "ws.leave":
            return


@app.get("/room")
def enter_room():
    return relay.websocket(process.spawn(room, name="room"))


@app.get("/events")
def events():
    return relay.sse(process.spawn(room, name="streams"), message_topic="said")


@app.post("/publish")
def publish():
    streams = process.registry.lookup("streams")
    process.send(streams, "ws.message", request.get_data(as_text=True))
    return "", 204


def room():
    clients = set()
    for message in process.inbox():
        if message.topic in ("ws.join", "sse.join"):
            clients.add(message.sender)
        elif message.topic in ("ws.leave", "sse.leave"):
            clients.discard(message.sender)
        elif message.topic == "ws.message":
            process.broadcast(clients, "said", make_data(message.payload))


@app.get("/ws")
def best_echo():
    return relay.websocket(echo_pid)


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", frame(message.payload))


@app.get("/fan")
def best_fan_out():
    return relay.websocket(fan_pid)


def fan():
    clients = set()
    for message in process.inbox():
        if message.topic == "ws.join":
            clients.add(message.sender)
        elif message.topic == "ws.leave":
            clients.discard(message.sender)
        elif message.topic == "ws.message":
            process.broadcast(clients, "ws.send", frame(message.payload))


@app.get("/idle")
def idle_stream():
    return relay.sse(echo_pid)


def frame(payload):
    return {"type": "text" if isinstance(payload, str) else "binary", "data": payload}


def as_apps_have_it():
    """Return the app for gunicorn."""
    return add_teardown(app)


if __name__ == "__main__":
    options = read_options()
    is_compressed = options.deflate
    echo_pid = process.spawn(echo)
    fan_pid = process.spawn(fan)
    serve_wsgi(app, RelayServer, options)
