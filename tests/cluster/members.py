"""Members of a `local:` deployment as processes of their own."""

import json
import os
import signal
import sys
from pathlib import Path

import gevent
from gevent import subprocess

from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS

ROOT = Path(__file__).parents[2]


class MemberProcess:
    """An interpreter that runs `local_member.py`.

    Args:
        node: its name.
        options: of its `LocalBackend`.
    """

    def __init__(self, node, **options):
        self.node = node
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("local_member.py"))]
            + [node, json.dumps(options)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.told = []
        self.errors = []
        self._readers = [gevent.spawn(self._read), gevent.spawn(self._read_errors)]

    def _read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.decode())

    def all_told(self, what, **more):
        """Return what it has told of one kind."""
        wanted = {"what": what, **more}.items()
        return [told for told in self.told if wanted <= told.items()]

    def wait_for(self, what, count=1, seconds=SECONDS, **more):
        """Return the last of so many of a kind, once they are there."""
        wait_until(lambda: len(self.all_told(what, **more)) >= count, seconds)
        return self.all_told(what, **more)[-1]

    def begin(self, verb, *arguments):
        """Have it do something."""
        self.process.stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")
        self.process.stdin.flush()

    def do(self, verb, *arguments, seconds=SECONDS):
        """Have it do something, and return the value."""
        before = len(self.all_told("done", verb=verb))
        self.begin(verb, *arguments)
        return self.wait_for("done", before + 1, seconds, verb=verb)["value"]

    @property
    def is_up(self):
        """The nodes that are up to it."""
        up = [told["node"] for told in self.all_told("up")]
        lost = [told["node"] for told in self.all_told("lost")]
        return {node for node in up if up.count(node) > lost.count(node)}

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Have it leave, and end."""
        self.begin("stop")
        wait_until(lambda: self.process.poll() is not None, SECONDS)

    def end(self):
        """End it whatever it does."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()
        gevent.joinall(self._readers, timeout=SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
