"""A server as a program of its own, which runs in a folder."""

import os
import re
import sys
from pathlib import Path

from gevent import subprocess  # its loop reaps children: the other's exit codes would be 0

from greenrelay.testing import WebSocketClient, wait_until
from tests.integration import raw

ROOT = Path(__file__).parents[2]
SECONDS = 20
"""How long a start or an end may take on a busy machine; a start takes half a second."""


class Program:
    """A Python module that runs as a server.

    Args:
        folder: where it runs; has `site_app.py`, and gets what it prints.
        arguments: of `python -m`.
        environment: what it has there besides.
        options: of `subprocess.Popen`.
    """

    LISTENING: re.Pattern
    """What it prints of its address."""

    def __init__(self, folder, arguments, environment=(), **options):
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)},
                stdout=output,
                stderr=output,
                **options,
            )

    @property
    def text(self):
        """What it has printed so far."""
        return self.output.read_text()

    def is_up(self):
        """Tell whether it takes connections."""
        return self.LISTENING.search(self.text)

    @property
    def url(self):
        """The address that it has printed last, once it takes connections."""
        wait_until(lambda: self.is_up() or self.process.poll() is not None, SECONDS)
        assert self.is_up(), self.text
        return self.LISTENING.findall(self.text)[-1]

    def connect_ws(self, path="/ws", **options):
        return WebSocketClient(self.url.replace("http", "ws", 1) + path, **options)

    def get(self, path="/"):
        """Return the answer to an ordinary request."""
        with raw.RawClient(self.url) as client:
            client.send(raw.head(f"GET {path} HTTP/1.1", upgrade=None, connection="close"))
            return client.read_answer()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Return the exit code, once it has ended."""
        wait_until(lambda: self.process.poll() is not None, SECONDS)
        return self.process.returncode
