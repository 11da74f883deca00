"""Plain and TLS sockets with one interface, which is what a transport knows of either.

    stream_socket(sock) ─► PlainSocket, or tls.TlsSocket

Both are non-blocking: `recv()` raises one of `WOULD_BLOCK`, `send()` and `shutdown()` raise
`BlockingIOError` instead of waiting.
"""

from __future__ import annotations

import _socket  # the plain class, whatever has been monkey-patched
import fcntl
import ssl
import struct
import termios
from collections.abc import Callable
from typing import Any, Final, Protocol

import gevent.ssl

from greenrelay.relay.tls import TlsSocket

WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_INT: Final = struct.Struct("i")
_NOTHING: Final = bytes(_INT.size)


class StreamSocket(Protocol):
    """A non-blocking, connected stream socket."""

    @property
    def begun(self) -> int:
        """Bytes at the beginning of the next send that have to be the same as before."""

    @property
    def pending(self) -> Callable[[], int] | None:
        """Tell how many bytes are decrypted already and wake no watcher; `None`: never any."""

    @property
    def recv(self) -> Callable[[int], bytes]:
        """Return what has come; nothing is the end."""

    @property
    def send(self) -> Callable[[Any], int]:
        """Send what goes out at once, and return how much that was."""

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more will come."""

    def close(self) -> None:
        """Close the socket at once; idempotent."""

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""

    def getpeername(self) -> Any:
        """Return the peer's address."""


class PlainSocket(_socket.socket):
    """A socket as the kernel has it: it keeps nothing to itself between two calls."""

    __slots__ = ()

    begun = 0
    pending = None


def stream_socket(sock: Any) -> StreamSocket:
    """Return a non-blocking socket of either kind as a transport takes it; it is taken over.

    Args:
        sock: a `socket` of any make, or a `gevent.ssl.SSLSocket` with a time-out of 0.
    """
    if isinstance(sock, (gevent.ssl.SSLSocket, ssl.SSLSocket)):  # one class, if it is patched
        return TlsSocket(sock)
    return sock if isinstance(sock, PlainSocket) else detach(sock)


def detach(sock: Any) -> PlainSocket:
    """Return a plain, non-blocking socket with the descriptor of another, which loses it."""
    # gevent's has a plain one beneath, of which it would make enumerations.
    kind = getattr(sock, "_sock", sock)
    plain = PlainSocket(kind.family, kind.type, kind.proto, sock.detach())
    plain.setblocking(False)
    return plain


def remote_address(sock: StreamSocket) -> str:
    """Return the peer's address, `""` when it is unknown: a proxy's, if there is one."""
    try:
        address = sock.getpeername()
    except OSError:
        return ""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "unix")


def held_by_kernel(sock: StreamSocket) -> int:
    """Return how many bytes our kernel holds that the peer's has not taken, as far as it tells."""
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _NOTHING)
    except (OSError, ValueError):  # it is closed, or no system that tells
        return 0
    size: int = _INT.unpack(held)[0]
    return size
