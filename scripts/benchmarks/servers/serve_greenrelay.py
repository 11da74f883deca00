"""Echo, fan-out and event streams with greenrelay: one process for all connections of a path."""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.server import RelayServer

app = Flask(__name__)
relay = GreenRelay(app)


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", frame(message.payload))


def fan():
    clients = set()
    for message in process.inbox():
        if message.topic == "ws.join":
            clients.add(message.payload["client_pid"])
        elif message.topic == "ws.leave":
            clients.discard(message.payload["client_pid"])
        elif message.topic == "ws.message":
            process.broadcast(clients, "ws.send", frame(message.payload))


def frame(payload):
    return {"type": "text" if isinstance(payload, str) else "binary", "data": payload}


@app.get("/ws")
def ws():
    return relay.websocket(echo_pid)


@app.get("/fan")
def fan_out():
    return relay.websocket(fan_pid)


@app.get("/events")
def events():
    return relay.sse(echo_pid)


if __name__ == "__main__":
    echo_pid = process.spawn(echo)
    fan_pid = process.spawn(fan)
    server = RelayServer(("127.0.0.1", 0), app, log=None)
    server.start()
    print("port", server.server_port, flush=True)
    server.serve_forever()
