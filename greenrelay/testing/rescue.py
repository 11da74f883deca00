"""An answer for a client that blocks the very thread its server runs in.

When a server shares the test's thread, and that thread waits for an answer in a call that gevent
does not know of, neither goes on: a deadlock. So an OS thread watches the listener. A connection
that was not accepted for some seconds gets a 503 from it, which says what has happened.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import Any

from greenrelay.wire import READ_BYTES

LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 5.0
"""Nothing on loopback takes as long, and a test that computes for longer is rare."""

_TEXT = (
    "this server shares the thread of the test, which waits for the answer in a call that gevent "
    "does not know of. Use server.get(), server.post(), server.connect_ws() or connect_sse(), "
    "patch the standard library before anything else is imported, or start no process on the "
    "app's node before relay_server(app): then the server gets a thread of its own\n"
)


class Rescue:
    """Answers in a server's stead when its loop stands still.

    Args:
        listener: the server's listening socket, which must not wait in `accept()`.
        loop: of the server.
        patience: seconds for which a client may wait.
    """

    def __init__(self, listener: Any, loop: Any, patience: float = PATIENCE_SECONDS) -> None:
        self._listener = listener
        self._loop = loop
        self._patience = patience
        self._turns = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rescue", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Watch no longer."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        waiting_since, turns = 0.0, -1
        while not self._is_over.wait(LOOK_SECONDS):
            if self._listener.fileno() < 0 or not poll.poll(0):
                waiting_since = 0.0
            elif not waiting_since or turns != self._turns:
                waiting_since, turns = time.monotonic(), self._turns
                self._loop.run_callback_threadsafe(self._turn)
            elif time.monotonic() - waiting_since > self._patience:
                self._answer()

    def _turn(self) -> None:
        self._turns += 1

    def _answer(self) -> None:
        with contextlib.suppress(OSError):  # the client has left, or the server was faster
            with socket.socket(fileno=os.dup(self._listener.fileno())) as listener:
                client, _ = listener.accept()
            with client:
                client.settimeout(1.0)
                client.recv(READ_BYTES)
                head = (
                    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                    f"Content-Type: text/plain\r\nContent-Length: {len(_TEXT)}\r\n\r\n"
                )
                client.sendall((head + _TEXT).encode())
                client.shutdown(socket.SHUT_WR)
                client.recv(READ_BYTES)
