"""gunicorn as processes of its own, and an app that it serves."""

import os
import re
import resource
import signal
import sys
from pathlib import Path

from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import WebSocketClient, wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a start or an end may take on a busy machine."""
LISTENING = re.compile(r"Listening at: (https?://\S+)")

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


class Gunicorn:
    """A gunicorn that runs.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of the command.
    """

    def __init__(self, folder, *arguments):
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
                stdout=output,
                stderr=output,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)),
            )

    @property
    def text(self):
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def url(self):
        """Its address, once a worker accepts."""
        wait_until(
            lambda: "Booting worker" in self.text or self.process.poll() is not None, SECONDS
        )
        assert self.process.poll() is None, self.text
        return LISTENING.findall(self.text)[-1]

    def connect_ws(self, **options):
        return WebSocketClient(self.url.replace("http", "ws", 1) + "/ws", **options)

    def get(self, path="/"):
        """Return the answer to an ordinary request."""
        with raw.RawClient(self.url) as client:
            client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
            return client.read_answer()

    def open_stream(self):
        """Return a client whose event stream is open."""
        client = raw.RawClient(self.url)
        client.send(raw.head("GET /events HTTP/1.1", upgrade=None, connection=None))
        assert client.read_answer().status == 200
        return client

    def stop(self, number=signal.SIGTERM):
        """Ask it to end, and return the exit code."""
        self.process.send_signal(number)
        wait_until(lambda: self.process.poll() is not None, SECONDS)
        return self.process.returncode

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
