"""Where each server has its sockets: one small adapter per server.

    find_socket(environ, start_response) ─► RequestSocket

Which servers, and what was found out about each:

    greenrelay's own   its handler does what is asked of it: `environ["greenrelay.socket"]`
    gunicorn, gevent   `environ["gunicorn.socket"]`; what its parser has read ahead is in
                       the request's unreader; a request without an answer ends by
                       `StopIteration` from the outermost application
    gevent.pywsgi      on an upgrade request `wsgi.input` is the raw file of the socket,
                       else an object that has it; before it closes its socket, pywsgi
                       reads 16 KiB from it: a duplicated descriptor would lose frames
    TLS on the latter  an `SSLSocket` can't be detached: its greenlet has to wait

Rule: in this room the servers' objects are touched here and in `taking` alone, and changed only
where they leave no other way. What gevent-websocket does over them is in `adopting`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

import gevent.socket
import gevent.ssl
from gevent.pywsgi import Input, WSGIHandler

from greenrelay.relay.sockets import detach
from greenrelay.web.adopting import AdoptedSocket
from greenrelay.web.taking import (
    RequestSocket,
    Taken,
    has_peer_closed,
    read_to_end,
    read_with_patience,
    send_at_once,
    take_file,
)

SOCKET_KEY = "greenrelay.socket"
"""Our server's handler puts its `OwnSocket` here."""
STATUS_KEY = "greenrelay.status"
"""A taken request's status, for gunicorn's access log, which can't know it otherwise."""
CLIENT_LEFT_STATUS: Final = "499 Client Closed Request"
"""The access log's status of a request whose client has left in the middle of it."""


def find_socket(
    environ: dict[str, Any], start_response: Callable[..., Any] | None = None
) -> RequestSocket:
    """Return how a request's socket can be had.

    Args:
        environ: the request's.
        start_response: the server's own; without it the socket should not be taken.
    """
    sock = environ.get(SOCKET_KEY) or _find_foreign(environ, start_response)
    websocket = environ.get("wsgi.websocket")
    return sock if websocket is None else AdoptedSocket(sock, websocket)


def _find_foreign(
    environ: dict[str, Any], start_response: Callable[..., Any] | None
) -> RequestSocket:
    source = environ.get("wsgi.input")
    file = _socket_file(source)
    # Both servers give a method of what the request is answered by.
    owner = getattr(start_response, "__self__", None)
    if file is not None:
        return PywsgiSocket(file, source, owner)
    if "gunicorn.socket" in environ:
        return GunicornSocket(environ, owner)
    # What the test client makes of a request's body; no server's is a file in memory.
    return TEST_CLIENT if isinstance(source, io.BytesIO) and "RAW_URI" in environ else NO_SOCKET


def _socket_file(source: Any) -> io.BufferedReader | None:
    """Return the buffered file of a gevent socket that pywsgi's `wsgi.input` is, or has."""
    file = getattr(source, "rfile", source)
    if isinstance(file, io.BufferedReader) and isinstance(
        getattr(file.raw, "_sock", None), gevent.socket.socket
    ):
        return file
    return None


class _TestClient(RequestSocket):
    """There is none: nobody but the test itself is at the other end."""

    __slots__ = ()

    @property
    def is_test_client(self) -> bool:
        return True


NO_SOCKET: Final = RequestSocket()
TEST_CLIENT: Final = _TestClient()


class OwnBody(Protocol):
    """A request's body on our server."""

    def read(self, size: int | None = None) -> bytes:
        """Return `size` bytes, or what there is; raises `BodyFault`."""


class OwnHandler(Protocol):
    """What our server's handler does for a socket."""

    rfile: Any

    @property
    def body(self) -> OwnBody | None:
        """The request's; `None` behind a handshake."""

    def take(self, status: str) -> Taken:
        """Hand the socket over."""

    def mark_answered(self, status: str) -> None:
        """Act as if the response's head had been sent."""


class OwnSocket(RequestSocket):
    """On greenrelay's own server.

    Args:
        handler: of the request.
    """

    __slots__ = ("_file", "_handler")

    def __init__(self, handler: OwnHandler) -> None:
        self._handler = handler
        self._file = handler.rfile

    @property
    def can_take(self) -> bool:
        """Whether the socket can be taken."""
        return True

    def take(self, status: str) -> Taken:
        """Let the handler hand it over."""
        return self._handler.take(status)

    def discard_body(self, patience: float) -> None:
        """Read the body's rest; it has the server's time-out."""
        body = self._handler.body
        if body is not None:
            read_to_end(body)

    def abandon(self) -> None:
        """Let the handler send nothing."""
        self._handler.mark_answered(CLIENT_LEFT_STATUS)

    def is_client_gone(self) -> bool:
        """Tell whether the client has closed its side."""
        return has_peer_closed(self._file.raw._sock)


class PywsgiSocket(RequestSocket):
    """On gevent's own server, and on gunicorn's worker that uses it.

    Args:
        file: behind which the socket is.
        source: `wsgi.input`.
        owner: what has the server's `start_response`: the request's handler.
    """

    __slots__ = ("_file", "_handler", "_source")

    def __init__(self, file: io.BufferedReader, source: Any, owner: Any) -> None:
        self._file = file
        self._source = source
        self._handler: Any = owner if isinstance(owner, WSGIHandler) else None

    @property
    def can_take(self) -> bool:
        """Whether the socket can be taken."""
        return True

    def take(self, status: str) -> Taken:
        """Take it from behind the file."""
        self._mark_answered(status)
        send_at_once(self._sock)
        return take_file(self._file)

    def discard_body(self, patience: float) -> None:
        """Read the body's rest; behind a handshake there is none."""
        if isinstance(self._source, Input):
            read_with_patience(self._source, self._sock, patience)

    def abandon(self) -> None:
        """Let the handler send nothing."""
        self._mark_answered(CLIENT_LEFT_STATUS)

    def is_client_gone(self) -> bool:
        """Tell whether the client has closed its side."""
        return has_peer_closed(self._sock)

    @property
    def _sock(self) -> Any:
        return self._file.raw._sock  # type: ignore[attr-defined]  # gevent's SocketIO

    def _mark_answered(self, status: str) -> None:
        handler = self._handler
        if handler is not None:
            # pywsgi has no word for a head that somebody else has sent: it would send its own,
            # and its access log would say "000".
            handler.status, handler._orig_status = status.encode(), status
            handler.headers_sent, handler.response_headers = True, []


class GunicornSocket(RequestSocket):
    """On gunicorn.

    Args:
        environ: the request's; its worker's hook finds there how the request was answered.
        owner: what has the server's `start_response`: the request's response.
    """

    __slots__ = ("_environ", "_owner", "_sock", "_source")

    def __init__(self, environ: dict[str, Any], owner: Any) -> None:
        self._environ = environ
        self._owner = owner
        self._sock = environ["gunicorn.socket"]
        self._source: Any = environ.get("wsgi.input")

    @property
    def can_take(self) -> bool:
        """Whether the socket can be taken: a worker's with gevent, and of this request alone."""
        protocol: str = self._environ.get("SERVER_PROTOCOL", "")
        return isinstance(self._sock, gevent.socket.socket) and not protocol.startswith("HTTP/2")

    def take(self, status: str) -> Taken:
        """Take it, and what the parser has read ahead."""
        self._environ[STATUS_KEY] = status
        sock, reader = self._sock, self._source.reader
        # The reader of a chunked body has the request, and only that has the unreader.
        unreader = getattr(reader, "req", reader).unreader
        early = unreader.buf.getvalue()
        if isinstance(sock, gevent.ssl.SSLSocket):
            sock.settimeout(0.0)
            return Taken(sock, early, must_wait=True, must_stop=True)
        return Taken(detach(sock), early, must_stop=True)

    def discard_body(self, patience: float) -> None:
        """Read the body's rest."""
        if self._source is not None:
            read_with_patience(self._source, self._sock, patience, _body_faults())

    def abandon(self) -> None:
        """End without an answer.

        Raises:
            StopIteration: always; let it pass.
        """
        raise StopIteration

    def is_client_gone(self) -> bool:
        """Tell whether the client has closed its side."""
        return has_peer_closed(self._sock)

    def end_connection(self) -> None:
        """Close it behind the answer: gunicorn drops an app's `Connection: close`."""
        # An app server around this one may have put its own function for the response's method.
        force_close = getattr(self._owner, "force_close", None)
        if force_close is not None:
            force_close()


def _body_faults() -> tuple[type[Exception], ...]:
    """Return what gunicorn raises for a malformed body."""
    if "gunicorn.http.errors" in sys.modules:
        from gunicorn.http.errors import ParseException

        return OSError, ParseException
    return (OSError,)
