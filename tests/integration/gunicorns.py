"""gunicorn as processes of its own, and an app that it serves."""

import re
import resource
import signal

from gevent import subprocess

from tests.integration import raw
from tests.integration.programs import Program

APP = """
import os
import time
from flask import Flask
from greenrelay import GreenRelay, process

app = Flask(__name__)
app.config["GREENRELAY_DRAIN_SECONDS"] = 3
relay = GreenRelay(app)


@app.get("/ws")
def ws():
    return relay.websocket(process.spawn(echo))


@app.route("/events", methods=["GET", "POST"])
def events():
    return relay.sse(process.spawn(greet))


@app.get("/")
def index():
    return f"{os.getpid()} {relay.node.name}"


@app.get("/slow")
def slow():
    print("slow begins", flush=True)
    time.sleep(2)
    return "done"


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})


def greet():
    for message in process.inbox():
        if message.topic == "sse.join":
            process.send(message.sender, "sse.message", "hello")
"""


class Gunicorn(Program):
    """A gunicorn that runs.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of the command.
    """

    LISTENING = re.compile(r"Listening at: (https?://\S+)")

    def __init__(self, folder, *arguments):
        super().__init__(
            folder,
            ["gunicorn", "-b", "127.0.0.1:0", *arguments],
            {"HOME": str(folder)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)),
        )

    def is_up(self):
        """Tell whether a worker accepts."""
        return "Booting worker" in self.text and self.process.poll() is None

    def open_stream(self):
        """Return a client whose event stream is open."""
        client = raw.RawClient(self.url)
        client.send(raw.head("GET /events HTTP/1.1", upgrade=None, connection=None))
        assert client.read_answer().status == 200
        return client

    def stop(self, number=signal.SIGTERM):
        """Ask it to end, and return the exit code."""
        self.signal(number)
        return self.wait()

    def kill(self):
        """End it and its workers, which end when their parent has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


RELAYING = ("-c", "python:greenrelay.gunicorn", "--access-logfile", "-")
GEVENT = ("-k", "gevent", *RELAYING)
PYWSGI = ("-k", "gunicorn.workers.ggevent.GeventPyWSGIWorker", *RELAYING)
LEGACY = ("-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker", *RELAYING)
RELAY = ("-k", "greenrelay.gunicorn.RelayWorker", *RELAYING)
