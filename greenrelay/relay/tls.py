"""A non-blocking TLS socket that behaves like a plain one, and ends with `close_notify`.

    send(data)     record by record; what has not gone out raises `BlockingIOError`
    shutdown(how)  `close_notify` first; what is received from then on is not decrypted
    close()        `close_notify` first, if it can be sent at once

What OpenSSL has encrypted and could not send has to be given to it again, byte for byte;
and it does not tell how many records of one call have gone out. So it is given one at a
time, and `begun` says how much of the next send is bound. By hand, because gevent's `SSLSocket`
leaves both to a greenlet that waits for the peer, and here nobody may wait.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

RECORD_BYTES = 16 * 1024
"""What TLS encrypts at once, at most. Source: RFC 8446 §5.1."""
_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsSocket:
    """An SSL socket as a transport takes it: `sockets.StreamSocket`.

    Args:
        sock: a connected `gevent.ssl.SSLSocket` with a time-out of 0. It returns 0 from
            `send()` where others raise `SSLWantWriteError`.
    """

    __slots__ = ("_sock", "begun", "fileno", "getpeername", "pending", "recv")

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.begun = 0
        """Bytes at the beginning of the next send that have to be the same as before."""
        self.fileno = sock.fileno
        self.getpeername = sock.getpeername
        self.pending = sock.pending
        self.recv = sock.recv

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what goes out at once, and return how much that was.

        Raises:
            BlockingIOError: it was nothing.
        """
        view = memoryview(data)
        done = 0
        while done < len(view):
            piece = view[done : done + (self.begun or RECORD_BYTES)]
            try:
                sent = self._sock.send(piece)
            except _WAITS:
                sent = 0
            if not sent:
                self.begun = len(piece)
                break
            self.begun = 0
            done += sent
        if not done:
            raise BlockingIOError
        return done

    def shutdown(self, how: int) -> None:
        """Say that nothing more will come; from now on, `recv()` gives what nobody decrypts.

        Raises:
            BlockingIOError: there is no room for it; try again.
        """
        self._notify()
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket at once; idempotent."""
        with contextlib.suppress(BlockingIOError):
            self._notify()
        self._sock.close()

    def _notify(self) -> None:
        try:
            self._sock.unwrap()
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None
        except (OSError, ValueError):
            pass  # it is said, and the peer's is not awaited; or there is nobody to say it to
