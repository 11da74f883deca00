"""Taking the socket away from the server: what is the same for every server.

    RequestSocket ── take(status) ─► Taken: a socket that is ours to use and to close

A taken socket is non-blocking; the server's own object is left detached, so that nothing
the server does afterwards (a last read, a close) touches the connection. What the server has
read beyond the request head is kept. Where the socket is, and how a request ends without an
answer, each server has its own way: `servers` has an adapter for each.
"""

from __future__ import annotations

import io
import socket
import ssl
from typing import Any, Final, NamedTuple

import gevent.ssl
from werkzeug.exceptions import HTTPException

from greenrelay.errors import RefusedError
from greenrelay.protocol import refusals
from greenrelay.relay.sockets import detach
from greenrelay.wire import READ_BYTES

END_CONNECTION: Final = (("Connection", "close"),)
"""A refusal's headers, when nobody can tell where the next request would begin."""


class BodyFault(HTTPException, OSError):
    """The request's body is malformed, breaks off, or does not go on.

    To a WSGI app it is an error of the connection; to Flask, if the view lets it through, an
    ordinary refusal instead of a crash to be logged.
    """

    def __init__(self, refusal: RefusedError) -> None:
        HTTPException.__init__(self, refusal.body)
        self.code = int(refusal.status[:3])
        self.args = (refusal.body,)
        self.refusal = refusal
        """What the request is to be answered with."""


class Taken(NamedTuple):
    """A connection that is ours now."""

    sock: Any
    """Raises `BlockingIOError` or `SSLWantReadError` instead of waiting."""
    early: bytes
    """What the client has sent behind its request."""
    must_wait: bool = False
    """Whether the request's greenlet has to wait until the socket is closed."""
    must_stop: bool = False
    """Whether the request ends by `StopIteration` instead of an empty body."""


class RequestSocket:
    """The socket of one request, as far as its server lets us have it: here not at all."""

    __slots__ = ()

    @property
    def can_take(self) -> bool:
        """Whether the socket can be taken; to ask touches nothing."""
        return False

    @property
    def is_upgraded(self) -> bool:
        """Whether somebody else has upgraded the connection to a WebSocket by now."""
        return False

    @property
    def is_test_client(self) -> bool:
        """Whether the request comes from Flask's or Werkzeug's test client, without a server."""
        return False

    def take(self, status: str) -> Taken:
        """Take the socket; the server is not told otherwise.

        Requires `can_take`, and that nothing is left of the request's body.

        Args:
            status: of the response that the session will send, for the server's access log.
        """
        raise NotImplementedError

    def discard_body(self, patience: float) -> None:
        """Read what the view has not read of the request's body: it is nobody's frame.

        Args:
            patience: seconds without progress after which the client is given up; 0 is off. Our
                own server has its own.

        Switches: yes, while it is still arriving. What was true before may not be true after.

        Raises:
            RefusedError: it is malformed, or does not go on; answer with it.
            BodyFault: the same on our own server; let it pass, the handler will answer.
            OSError: the client has left in the middle of it; call `abandon()`.
        """

    def abandon(self) -> None:
        """End a request whose client has left in the middle of it: nobody is there to answer.

        Raises:
            StopIteration: let it pass; this is gunicorn's way to end one without an answer.
        """

    def is_client_gone(self) -> bool:
        """Tell whether the client has closed its side, where the server lets us look."""
        return False

    def end_connection(self) -> None:
        """Let no request follow this one, beyond what `END_CONNECTION` says in its answer."""

    def close_upgraded(self, frame: bytes) -> None:
        """Send the last frame of a connection that somebody else has upgraded.

        Requires `is_upgraded`.
        """
        raise NotImplementedError


def take_file(file: io.BufferedReader) -> Taken:
    """Take the gevent socket behind a server's buffered file."""
    sock = file.raw._sock  # type: ignore[attr-defined]  # gevent's SocketIO
    if isinstance(sock, gevent.ssl.SSLSocket):
        sock.settimeout(0.0)
        early = peek_now(file)
        _close_file(file)
        return Taken(sock, early, must_wait=True)
    taken = detach(sock)
    early = _buffered(file)
    _close_file(file)
    return Taken(taken, early)


def send_at_once(sock: Any) -> None:
    """Let the kernel not hold a small write back until the one before is acknowledged.

    An event that follows another would arrive a round trip later, and up to 200 ms more.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass  # not TCP: nothing is held back


def peek_now(file: io.BufferedReader) -> bytes:
    """Return what has come already behind a server's file, and leave it there."""
    sock = file.raw._sock  # type: ignore[attr-defined]  # gevent's SocketIO
    before = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        return file.peek()
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""
    finally:
        sock.settimeout(before)


def _buffered(file: io.BufferedReader) -> bytes:
    # Of a detached socket: what is with the kernel stays there, for whoever has taken it.
    try:
        return file.peek()
    except OSError:
        return b""


def _close_file(file: io.BufferedReader) -> None:
    # This is how the server's keep-alive loop learns that it is over; and a socket with an
    # open file stays open when it is closed.
    try:
        file.close()
    except OSError:
        pass  # it is closed all the same


def has_closed(plain: Any) -> bool:
    """Tell whether the peer of a non-blocking, plain socket will send nothing more."""
    try:
        return not plain.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def has_peer_closed(sock: Any) -> bool:
    """Tell the same of a server's socket; `False` where only a read would tell, as with TLS."""
    plain: Any = getattr(sock, "_sock", None)  # gevent's has one beneath, which does not wait
    if plain is None or isinstance(sock, gevent.ssl.SSLSocket):
        return False
    return has_closed(plain)


def read_to_end(source: Any) -> None:
    """Read a request's body, and drop it."""
    while source.read(READ_BYTES):
        pass


def read_with_patience(
    source: Any, sock: Any, patience: float, faults: tuple[type[Exception], ...] = (OSError,)
) -> None:
    """Discard a body on a server that has no time-out for it; see `RequestSocket.discard_body()`.

    Args:
        source: the body.
        sock: gevent's, on which it comes.
        patience: seconds without progress; 0 is off.
        faults: what the server raises for a malformed body.
    """
    sock.settimeout(patience or None)
    try:
        read_to_end(source)
    except TimeoutError:
        raise refusals.BODY_TOO_SLOW.error(headers=END_CONNECTION) from None
    except faults:
        if has_peer_closed(sock):
            raise ConnectionAbortedError("the client has left") from None
        raise refusals.BODY_MALFORMED.error(headers=END_CONNECTION) from None
    finally:
        sock.settimeout(None)
