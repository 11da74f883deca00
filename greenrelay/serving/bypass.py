"""A view that answers an upgrade request past the server, on a duplicate of its socket.

Libraries like simple-websocket do so: they take the socket from the environ, send the 101
and every frame on a duplicate of it, and tell nobody. HTTP behind that would be read as
frames. The server's own object shows nothing of it; the kernel's count of bytes does.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

import gevent.ssl

_TCP_INFO = struct.Struct("=144xI52xQQ")
"""`tcpi_notsent_bytes`, `tcpi_bytes_sent`, `tcpi_bytes_retrans`. Source: Linux, `linux/tcp.h`;
it has grown at its end only, up to the last of them in 4.19."""


class Bypass:
    """The bytes on an upgrade request's connection, from when its view begins.

    Args:
        sock: gevent's; nothing has been sent in answer to the request yet.
        has_sent: whether anything has been sent at all, in answer to requests before it.
    """

    __slots__ = ("_before", "_sock")

    def __init__(self, sock: Any, has_sent: bool = True) -> None:
        self._sock = sock
        self._before = count_written(sock) if has_sent else 0

    def is_used(self) -> bool:
        """Tell whether somebody has sent since; ask only while the server itself has not."""
        if self._before is None:
            return False
        written = count_written(self._sock)
        return written is not None and written > self._before


def count_written(sock: Any) -> int | None:
    """Return how many bytes have been written to a connection so far, by whomever.

    Only Linux tells, and only of plain TCP: else `None`. (TLS writes by itself, too, and there a
    duplicate of the socket would be of no use to a view.)

    Args:
        sock: gevent's.
    """
    if sys.platform != "linux" or isinstance(sock, gevent.ssl.SSLSocket):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unsent, sent, again = _TCP_INFO.unpack(info)
    except (OSError, struct.error):  # no TCP, or an older kernel
        return None
    # What waits in the buffer counts, and what is sent once more does not: it was before.
    return int(unsent + sent - again)
