"""Apps and processes that the integration tests serve."""

import os

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from gevent.pywsgi import WSGIServer

from greenrelay import GreenRelay, process
from greenrelay.testing import ServedApp, wait_until


def relay_app(node, target, **fields):
    """Return an app whose view `/ws` relays to `target`.

    Args:
        target: a PID, or a function that the view spawns a process for.
        fields: further fields of the relay header.
    """
    app = Flask("relayed")
    relay = GreenRelay(app, node=node)

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(target) if callable(target) else target, **fields)

    @app.get("/")
    def index():
        return "ordinary"

    return app


def database_app(name, path):
    """Return an app, and its database, which gives out one connection at a time."""
    app = Flask(name)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": 1,
        "max_overflow": 0,
        "pool_timeout": 0.2,
    }
    return app, SQLAlchemy(app)


def send_frame(client, data):
    """Send a WebSocket message of the type that `data` has."""
    kind = "text" if isinstance(data, str) else "binary"
    return process.send(client, "ws.send", {"type": kind, "data": data})


def echo():
    """Send every client message back."""
    for message in process.inbox():
        if message.topic == "ws.message":
            send_frame(message.sender, message.payload)


class Recorder:
    """A target that keeps what it gets; `answer` may say what it does with a message."""

    def __init__(self, answer=None):
        self.messages = []
        self.answer = answer

    def __call__(self):
        for message in process.inbox():
            self.messages.append(message)
            if self.answer is not None:
                self.answer(message)

    @property
    def topics(self):
        return [message.topic for message in self.messages]

    def payloads(self, topic="ws.message"):
        """Return the payloads of one topic, in order."""
        return [message.payload for message in self.messages if message.topic == topic]

    def wait_for(self, topic):
        """Return the payload of the first message of a topic, once it is there."""
        return wait_until(lambda: self.payloads(topic))[0]

    @property
    def client(self):
        """The PID of the connection that joined last."""
        self.wait_for("ws.join")
        return self.payloads("ws.join")[-1]["client_pid"]


class Witness:
    """A process that monitors, and keeps the news of ends."""

    def __init__(self, node):
        self.node = node
        self.exits = []

    def watch(self, pid):
        """Monitor `pid` from a process of its own."""
        self.node.spawn(self._run, (pid,))

    def _run(self, pid):
        process.monitor(pid)
        self.exits.append(process.events().receive(timeout=10))

    def wait_for_reason(self):
        """Return the first exit reason, once it is there."""
        return wait_until(lambda: self.exits)[0].reason


class PywsgiApp(ServedApp):
    """The same on gevent's own server, which knows nothing of relays."""

    server_class = WSGIServer


class Lines:
    """A log that keeps its lines."""

    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines.append(text)


def open_sockets():
    """Return how many sockets this interpreter has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            pass  # the listing's own descriptor
    return count
