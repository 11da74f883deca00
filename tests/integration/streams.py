"""Relayed event streams for tests: an app that has them, and a target that is told of them."""

import re

from flask import Flask

from greenrelay import GreenRelay, process
from tests.integration.apps import Recorder


def stream_app(node, target=None, **fields):
    """Return an app whose view `/sse` relays an event stream.

    Args:
        target: a PID, or a function that the view spawns a process for.
        fields: further fields of the relay header.
    """
    app = Flask("streamed")
    app.secret_key = "for the session cookie"
    relay = GreenRelay(app, node=node)

    @app.route("/sse", methods=["GET", "POST", "PUT"])
    def sse():
        return relay.sse(process.spawn(target) if callable(target) else target, **fields)

    return app


class Streams(Recorder):
    """A target that keeps what event streams tell it."""

    @property
    def client(self):
        """The PID of the stream that joined last."""
        self.wait_for("sse.join")
        return self.payloads("sse.join")[-1]["client_pid"]

    def send(self, payload, topic="sse.message"):
        """Send to the stream that joined last."""
        return process.send(self.client, topic, payload)


def detached(stream):
    """Return the PID that a detached stream names in its first event."""
    ready = stream.receive()
    assert ready.event == "ready"
    return re.search(r'"stream_pid":"([^"]+)"', ready.data)[1]


def get(path="/sse", first="GET {} HTTP/1.1", **headers):
    """Return a request head."""
    lines = [first.format(path), "Host: example.org"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
