"""`greenrelay serve` as a process of its own, and an app that it serves."""

import re
import signal

from tests.integration.programs import Program

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


class Served(Program):
    """A `greenrelay serve` that runs.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of the command.
    """

    LISTENING = re.compile(r"^greenrelay: listening on (https?://\S+)$", re.MULTILINE)

    def __init__(self, folder, *arguments):
        super().__init__(folder, ["greenrelay", "serve", *arguments])

    def get(self, path="/"):
        """Return the body of a page."""
        return super().get(path).body.decode()

    def signal(self, number=signal.SIGTERM):
        super().signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()
