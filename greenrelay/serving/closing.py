"""Ending a connection whose client may still be sending.

A socket that is closed with unread input resets the connection, and the client loses what it
has not read yet of its answer. So the sending side is shut first, and the rest waits a while:
for the client's end of the stream, which comes when it has read all.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import gevent

from greenrelay.serving.reading import LEAVE_SILENTLY
from greenrelay.web.taking import has_closed
from greenrelay.wire import CLOSE_TIMEOUT_SECONDS, READ_BYTES

LINGER_SECONDS = 1.0
"""How long a refused client may go on sending, so that it reads the refusal before a reset."""
POLL_SECONDS = 0.02


def linger(sock: Any) -> None:
    """Send the end of the stream, then read and drop what still comes. Switches: yes.

    Args:
        sock: gevent's, plain or TLS; to be closed afterwards.
    """
    with gevent.Timeout(LINGER_SECONDS, LEAVE_SILENTLY), contextlib.suppress(OSError):
        send_close_notify(sock)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(READ_BYTES):
            pass


def send_close_notify(sock: Any) -> None:
    """Send TLS's own end of the stream if the socket has TLS, and room for it; never waits."""
    if hasattr(sock, "unwrap"):
        timeout = sock.gettimeout()
        sock.settimeout(0.0)
        # It is sent, and the peer's is not awaited; or there is nobody to send it to.
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
        sock.settimeout(timeout)


def await_client_close(sock: Any, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
    """Send the end of the stream, and wait until the client has closed its side, too.

    Nothing is read here: a greenlet of the view's library may still read from its duplicate, and
    what comes is left to that one. When the time is up the connection is shut in both directions.
    Switches: yes.

    Args:
        sock: gevent's, ready to be closed by whoever owns it.
        seconds: which a client has for closing its side.
    """
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # the client was faster
        sock.shutdown(socket.SHUT_WR)
        while not has_closed(sock._sock) and time.monotonic() < deadline:
            gevent.sleep(POLL_SECONDS)
        sock.shutdown(socket.SHUT_RDWR)
