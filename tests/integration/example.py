"""The example as it is run: a real server, for tests with a real browser."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Thread

from tests.integration.browser import SECONDS

ROOT = Path(__file__).parents[2]
LISTENING = re.compile(r"^greenrelay: listening on (http://127\.0\.0\.1:(\d+))$", re.MULTILINE)


def state(page):
    """Return what says how a page is connected."""
    return page.get_by_role("status")


class ExampleServer:
    """`greenrelay serve app_example.app:app`, in an operating system's process of its own.

    Args:
        arguments: of the command besides.
    """

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def start(self, port=0):
        """Start it, and return once it accepts connections."""
        command = [sys.executable, "-m", "greenrelay", "serve", "app_example.app:app"]
        command += ["--port", str(port), "--drain-seconds", "1", *self.arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.lines = Queue()
        self.reader = Thread(target=self.read)
        self.reader.start()
        self.wait_until_listening()

    def read(self):
        """Put what it prints into a queue, and an empty line when it has ended."""
        with self.process.stderr as stream:
            for line in stream:
                sys.stderr.write(line)  # which pytest shows with a failure
                self.lines.put(line)
        self.lines.put("")

    def wait_until_listening(self):
        """Read its address from what it prints."""
        printed = ""
        while not (address := LISTENING.search(printed)):
            line = self.lines.get(timeout=SECONDS)
            assert line, f"the server ended: {printed}"
            printed += line
        self.url, self.port = address[1], int(address[2])

    def stop(self):
        """Ask it to end, as a service manager does, and check that it ends well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(SECONDS) == 0
        finally:
            self.process.kill()  # of no effect if it has ended
            self.reader.join()
