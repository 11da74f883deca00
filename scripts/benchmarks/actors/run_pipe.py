"""The same as run_node.py without nodes: msgpack over a Unix socket, a gevent queue at its end.

What is sent in one turn goes out in one write, as greenrelay does it; nothing is addressed, watched
or checked.
"""

# ruff: noqa: E402 - nothing may be imported before the patching

from gevent import monkey

monkey.patch_all()

import contextlib
import json
import socket
import sys
import time

import gevent
import gevent.event
from gevent.queue import SimpleQueue
from msgpack import Packer, Unpacker
from talking import DATA, measure_batches, measure_trips

READ_BYTES = 65536


class Pipe:
    """A connection: messages out, gathered for a turn of the loop, and in, to a queue."""

    def __init__(self, sock):
        self.inbox = SimpleQueue()
        self._sock = sock
        self._pack = Packer().pack
        self._waiting = []
        self._due = gevent.event.Event()
        gevent.spawn(self._read)
        gevent.spawn(self._write)

    def send(self, topic, payload=None):
        self._waiting.append(self._pack((topic, payload)))
        self._due.set()

    def _write(self):
        while self._due.wait():
            self._due.clear()
            waiting, self._waiting = self._waiting, []
            self._sock.sendall(b"".join(waiting))

    def _read(self):
        unpacker = Unpacker()
        with contextlib.suppress(ConnectionError):  # the other program has measured, and ended
            while data := self._sock.recv(READ_BYTES):
                unpacker.feed(data)
                for message in unpacker:
                    self.inbox.put(message)
        self.inbox.put(("closed", None))


def answer(pipe):
    while True:
        topic, payload = pipe.inbox.get()
        if topic == "ping":
            pipe.send("pong", payload)
        elif topic == "end":
            pipe.send("taken", time.process_time())
        elif topic == "closed":
            return


def ask_oneway(pipe, warmup, seconds):
    def send_batch(count):
        for _ in range(count):
            pipe.send("said", DATA)
        pipe.send("end")

    return measure_batches(send_batch, lambda: pipe.inbox.get()[1], warmup, seconds)


def ask_trips(pipe, warmup, seconds):
    def trip():
        pipe.send("ping", DATA)
        pipe.inbox.get()

    def read_cpu():
        pipe.send("end")
        return pipe.inbox.get()[1]

    return measure_trips(trip, read_cpu, warmup, seconds)


TESTS = {"oneway": ask_oneway, "trips": ask_trips}

if __name__ == "__main__":
    role, path, test, warmup, seconds = sys.argv[1:]
    sock = socket.socket(socket.AF_UNIX)
    if role == "answer":
        sock.bind(path)
        sock.listen()
        print("ready", flush=True)
        answer(Pipe(sock.accept()[0]))
    else:
        sock.connect(path)
        print(json.dumps(TESTS[test](Pipe(sock), float(warmup), float(seconds))), flush=True)
