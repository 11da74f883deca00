"""Nodes in interpreters of their own, which a test spawns and asks things in through a pipe.

    FarPlace ─ [number, verb, what, args, options] ─► far_node.py
             ◄─ [number, value, error] ─

What is asked goes by text, or by the name under which a module has it. An interpreter is started
once, and serves one test after the other: between two of them its node is empty.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import struct
import sys
import tempfile
from pathlib import Path

import gevent
from gevent import subprocess
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from tests.cluster.redis_servers import RedisServer

ROOT = Path(__file__).parents[2]
SECONDS = 10
"""How long an interpreter may take to start, or to answer, on a busy machine."""
HEAD = struct.Struct("!I")


def read_order(file):
    """Return what the other side has sent; `None` when it has gone."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    return pickle.loads(file.read(*HEAD.unpack(head)))


def write_order(file, order):
    data = pickle.dumps(order)
    file.write(HEAD.pack(len(data)) + data)
    file.flush()


class FarPlace:
    """A node of another interpreter.

    Args:
        name: of the node.
        way: by what it is joined with others, as `far_node.make_backend` takes it.
    """

    def __init__(self, name, way):
        self.name, self.way = name, way
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.far_node", name, repr(way)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._numbers = itertools.count()
        self._waiting = {}
        self._turn = BoundedSemaphore()
        self._reader = gevent.spawn(self._read)

    def _read(self):
        while (answer := read_order(self.process.stdout)) is not None:
            number, value, error = answer
            self._waiting.pop(number).set((value, error))

    @property
    def log(self):
        """All that it has logged."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()  # its place is the writer's

    def begin(self, verb, what=None, *args, **options):
        """Have it do something; return what gets the value, and the error."""
        result, number = AsyncResult(), next(self._numbers)
        self._waiting[number] = result
        with self._turn:
            write_order(self.process.stdin, (number, verb, what, args, options))
        return result

    def _do(self, verb, what=None, *args, timeout=SECONDS, **options):
        outcome = self.begin(verb, what, *args, **options).wait(timeout)
        assert outcome is not None, f"{self.name} does not answer {verb} {what}: {self.log}"
        value, error = outcome
        if error is not None:
            raise error
        return value

    def wait_started(self):
        """Wait until it is a member."""
        self._do("wait")

    def spawn(self, act, *args, **options):
        """Start a process there, and return its PID."""
        return self._do("spawn", act, *args, **options)

    def run(self, act, *args, timeout=SECONDS):
        """Run a function as a process there, and return its value, or raise what it raises."""
        return self._do("run", act, *args, timeout=timeout)

    def ask(self, act, *args):
        """Return what a function gives for the place there; it is no process."""
        return self._do("ask", act, *args)

    def end(self):
        """End what lives there."""
        self.ask("tests.cluster.far_node:end")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """End the interpreter, whatever it does."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()
        self._reader.join(SECONDS)
        for file in (self.process.stdin, self.process.stdout, self._log):
            file.close()


class FarService:
    """What joins interpreters, and those that have been started for it.

    Args:
        kind: `local`, or `redis`.
        lease: of all nodes, as text.
    """

    def __init__(self, kind, lease="15s"):
        self.kind = kind
        self._folder = tempfile.TemporaryDirectory()
        self._redis = None
        if kind == "redis":
            self._redis = RedisServer(Path(self._folder.name))
            self.way = ("redis", f"redis://{self._redis.address}?lease={lease}")
        else:
            self.way = ("local", self._folder.name, lease)
        self.started = {}

    def start(self, *names):
        """Return places of these names, started if they do not run."""
        for name in names:
            former = self.started.get(name)
            if former is not None and former.process.poll() is not None:
                former.kill()  # closes its pipes
                former = None
            self.started[name] = former or FarPlace(name, self.way)
        places = [self.started[name] for name in names]
        for place in places:
            place.wait_started()
        return places

    def stop(self):
        for place in self.started.values():
            place.kill()
        if self._redis is not None:
            self._redis.stop()
        self._folder.cleanup()


class FarServices:
    """Services that are started when they are first asked for, and last as long as the tests."""

    def __init__(self):
        self._services = {}

    def get(self, kind):
        if kind not in self._services:
            self._services[kind] = FarService(kind)
        return self._services[kind]

    def stop(self):
        for service in self._services.values():
            service.stop()
