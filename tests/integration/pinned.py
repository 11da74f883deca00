"""A way to one worker of several that listen on one socket, for browsers.

Whoever connects gets the worker that the kernel chooses. So this connects, asks the worker for its
node, and hangs up until it is the one that is wanted; then it hands the browser's bytes on, both
ways. A page that is opened through it has all its requests, streams and sockets on that worker.
"""

import re
import socket
from threading import Thread
from time import monotonic

SECONDS = 15
"""How long to look for the worker, which may be starting just now."""


class Pinned:
    """A port that leads to one worker.

    Args:
        port: where the workers listen.
        others: nodes that it must not lead to; it takes the first other one.
    """

    def __init__(self, port, others=()):
        self._to = ("127.0.0.1", port)
        self.node = None
        self._others = others
        first, self.node = self._find()
        first.close()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def _find(self):
        """Return a connection to the worker, which has answered one request, and its node."""
        deadline = monotonic() + SECONDS
        while monotonic() < deadline:
            far = socket.create_connection(self._to, SECONDS)
            node = _ask_node(far)
            if node is not None and (node == self.node if self.node else node not in self._others):
                return far, node
            far.close()
        raise AssertionError(f"no connection led to {self.node or 'another worker'}")

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # it was stopped
                return
            try:
                far, _ = self._find()
            except (OSError, AssertionError):  # the worker is gone: so is the connection
                near.close()
                continue
            far.settimeout(None)
            self._sockets += [near, far]
            for ends in ((near, far), (far, near)):
                Thread(target=_copy, args=ends, daemon=True).start()

    def stop(self):
        """End it, with what goes through it."""
        for sock in self._sockets:
            _end(sock)


def _ask_node(sock):
    """Return the node of the worker behind a connection; `None`: it was killed just now."""
    head = b""
    try:
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b"\r\n\r\n" not in head:
            if not (data := sock.recv(65536)):
                return None
            head += data
    except OSError:
        return None
    return re.search(r"^x-node: (\S+)", head.decode("latin-1"), re.IGNORECASE | re.MULTILINE)[1]


def _copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # either side has gone, and the other is told
    _end(source)
    _end(sink)


def _end(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
    sock.close()
