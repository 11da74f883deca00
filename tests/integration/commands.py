"""`greenrelay serve` as a process of its own, and an app that it serves."""

import os
import re
import signal
import sys
from pathlib import Path

from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import WebSocketClient, wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a start may take on a busy machine; it takes half a second."""
LISTENING = re.compile(r"^greenrelay: listening on (https?://\S+)$", re.MULTILINE)

APP = """
import time
from gevent import monkey

PATCHED_AT_IMPORT = monkey.is_module_patched("socket") and monkey.is_module_patched("threading")

from flask import Flask
from greenrelay import GreenRelay, process


def make():
    app = Flask(__name__)
    relay = GreenRelay(app)

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(echo))

    @app.get("/")
    def index():
        return f"patched: {PATCHED_AT_IMPORT}"

    @app.get("/slow")
    def slow():
        time.sleep(0.5)
        return "done"

    @app.get("/stuck")
    def stuck():
        process.spawn(sleep_on)
        return "stuck"

    @app.get("/fail")
    def fail():
        raise RuntimeError("on purpose")

    return app


def echo():
    for message in process.inbox():
        if message.topic == "ws.message":
            process.send(message.sender, "ws.send", {"type": "text", "data": message.payload})


def sleep_on():
    while True:
        time.sleep(60)


app = make()
"""


class Served:
    """A `greenrelay serve` that runs.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of the command.
    """

    def __init__(self, folder, *arguments):
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greenrelay", "serve", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )

    @property
    def text(self):
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def url(self):
        """The address that it has printed last, once it has."""
        wait_until(lambda: LISTENING.search(self.text) or self.process.poll() is not None, SECONDS)
        assert LISTENING.search(self.text), self.text
        return LISTENING.findall(self.text)[-1]

    def connect_ws(self, **options):
        return WebSocketClient(self.url.replace("http", "ws", 1) + "/ws", **options)

    def get(self, path="/"):
        """Return the body of a page."""
        with raw.RawClient(self.url) as client:
            client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
            return client.read_answer().body.decode()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Return the exit code, once it has ended."""
        wait_until(lambda: self.process.poll() is not None, SECONDS)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()
