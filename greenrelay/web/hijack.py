"""Taking the socket away from the server: one small adapter per server.

A taken socket is non-blocking and ours to close; the server's own object is left
detached, so that nothing the server does afterwards (a last read, a close) touches
the connection. What the server has read beyond the request head is kept.

Which servers, and what was found out about each:

    greenrelay's own   `environ["greenrelay.take"]`, a method of our handler
    gunicorn, gevent   `environ["gunicorn.socket"]`; what its parser has read ahead is in
                       the request's unreader; a request without an answer ends by
                       `StopIteration` from the outermost application
    gevent.pywsgi      on an upgrade request `wsgi.input` is the raw file of the socket,
                       else an object that has it; before it closes its socket, pywsgi
                       reads 16 KiB from it: a duplicated descriptor would lose frames
    TLS on the latter  an `SSLSocket` can't be detached: its greenlet has to wait
"""

from __future__ import annotations

import _socket  # the plain class, whatever has been monkey-patched
import contextlib
import io
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent.socket
import gevent.ssl
from gevent.pywsgi import Input, WSGIHandler

from greenrelay.errors import RefusedError
from greenrelay.web.body import RequestBody
from greenrelay.wire import READ_BYTES

TAKE_KEY = "greenrelay.take"
"""Our server's handler puts a callable here that returns a `Taken`."""
STATUS_KEY = "greenrelay.status"
"""A taken request's status, for access logs that can't know it otherwise."""

END_CONNECTION = (("Connection", "close"),)
"""A refusal's headers, when nobody can tell where the next request would begin."""


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


def can_take(environ: dict[str, Any]) -> bool:
    """Tell whether this server's sockets can be taken, without touching anything."""
    return (
        TAKE_KEY in environ
        or _pywsgi_file(environ) is not None
        or (
            isinstance(environ.get("gunicorn.socket"), gevent.socket.socket)
            and not environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2")  # shared with others
        )
    )


def is_test_client(environ: dict[str, Any]) -> bool:
    """Tell whether the request comes from Flask's or Werkzeug's test client, without a server."""
    return isinstance(environ.get("wsgi.input"), io.BytesIO) and "RAW_URI" in environ


def take(environ: dict[str, Any], start_response: Callable[..., Any], status: str) -> Taken:
    """Take the request's socket; the server is not told otherwise.

    Requires `can_take(environ)`, and that nothing is left of the request's body.

    Args:
        status: of the response that the session will send, for the server's access log.
    """
    environ[STATUS_KEY] = status
    if TAKE_KEY in environ:
        taken: Taken = environ[TAKE_KEY](status)
        return taken
    file = _pywsgi_file(environ)
    if file is None:
        return _take_from_gunicorn(environ)
    _mark_answered(start_response, status)
    return take_file(file)


def send_at_once(sock: Any) -> None:
    """Let the kernel not hold a small write back until the one before is acknowledged.

    An event that follows another would arrive a round trip later, and up to 200 ms more.
    """
    with contextlib.suppress(OSError):  # not TCP: nothing is held back
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def take_file(file: io.BufferedReader) -> Taken:
    """Take the gevent socket behind a server's buffered file."""
    sock = file.raw._sock  # type: ignore[attr-defined]  # gevent's SocketIO
    send_at_once(sock)
    early = _read_early(file, sock)
    if isinstance(sock, gevent.ssl.SSLSocket):
        _close_file(file)
        return Taken(sock, early, must_wait=True)
    taken = _detach(sock)
    _close_file(file)
    return Taken(taken, early)


def _take_from_gunicorn(environ: dict[str, Any]) -> Taken:
    sock = environ["gunicorn.socket"]
    reader = environ["wsgi.input"].reader
    unreader = getattr(reader, "req", reader).unreader  # that of a chunked body has only the former
    early = unreader.buf.getvalue()
    if isinstance(sock, gevent.ssl.SSLSocket):
        sock.settimeout(0.0)
        return Taken(sock, early, must_wait=True, must_stop=True)
    return Taken(_detach(sock), early, must_stop=True)


def _detach(sock: Any) -> Any:
    plain = _socket.socket(sock.family, sock.type, sock.proto, sock.detach())
    plain.setblocking(False)
    return plain


def _read_early(file: io.BufferedReader, sock: Any) -> bytes:
    # What the client has sent already, without waiting for more.
    sock.settimeout(0.0)
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
        return file.peek()
    return b""


def _close_file(file: io.BufferedReader) -> None:
    # This is how the server's keep-alive loop learns that it is over; and a socket with an
    # open file stays open when it is closed.
    with contextlib.suppress(OSError):
        file.close()


def abandon(environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
    """End a request whose client has left in the middle of it: nobody is there to answer.

    Raises:
        StopIteration: let it pass; this is gunicorn's way to end one without an answer.
    """
    _mark_answered(start_response, "499 Client Closed Request")
    if "gunicorn.socket" in environ:
        raise StopIteration


def _mark_answered(start_response: Callable[..., Any], status: str) -> None:
    handler = getattr(start_response, "__self__", None)
    if isinstance(handler, WSGIHandler):
        # As if it had sent the head itself: its access log says "000" otherwise.
        vars(handler).update(
            status=status.encode(), _orig_status=status, headers_sent=True, response_headers=[]
        )


def find_upgraded(environ: dict[str, Any]) -> Any:
    """Return the WebSocket of a request that has been upgraded already, else `None`.

    gevent-websocket's handler upgrades before it calls the app; ours when the view first
    uses `wsgi.websocket`.
    """
    websocket = environ.get("wsgi.websocket")
    return websocket if getattr(websocket, "is_upgraded", websocket is not None) else None


def adopt(websocket: Any) -> None:
    """Let an upgraded WebSocket's own object believe that it is closed: it is ours now."""
    websocket.closed = True


def is_client_gone(environ: dict[str, Any]) -> bool:
    """Tell whether the client has closed its side, where the server lets us look."""
    file: Any = _pywsgi_file(environ)
    sock: Any = environ.get("gunicorn.socket") if file is None else file.raw._sock
    plain: Any = getattr(sock, "_sock", None)  # it does not wait; gevent's would
    if plain is None or isinstance(sock, gevent.ssl.SSLSocket):
        return False  # with TLS only a read would tell
    return has_closed(plain)


def has_closed(plain: Any) -> bool:
    """Tell whether the peer of a non-blocking, plain socket will send nothing more."""
    try:
        return not plain.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def discard_body(environ: dict[str, Any], patience: float) -> None:
    """Read what the view has not read of a request's body: it is nobody's frame.

    Args:
        patience: seconds without progress after which the client is given up; 0 is off. Our own
            server has its own.

    Switches: yes, while it is still arriving. What was true before may not be true after.

    Raises:
        RefusedError: it is malformed, or does not go on; answer with it.
        BodyFault: the same on our own server; let it pass, the handler will answer.
        OSError: the client has left in the middle of it; call `abandon()`.
    """
    source = environ.get("wsgi.input")
    if isinstance(source, RequestBody):
        _read_all(source)
        return
    file = _pywsgi_file(environ) if isinstance(source, Input) else None
    sock = environ.get("gunicorn.socket") if file is None else file.raw._sock  # type: ignore[attr-defined]  # gevent's
    if sock is None or source is None:
        return
    sock.settimeout(patience or None)
    try:
        _read_all(source)
    except TimeoutError:
        raise RefusedError(
            "408 Request Timeout", "the request body took too long", END_CONNECTION
        ) from None
    except _body_errors():
        if is_client_gone(environ):
            raise ConnectionAbortedError("the client has left") from None
        raise RefusedError(
            "400 Bad Request", "the request body is malformed", END_CONNECTION
        ) from None
    finally:
        sock.settimeout(None)


def _read_all(source: Any) -> None:
    while source.read(READ_BYTES):
        pass


def _body_errors() -> tuple[type[Exception], ...]:
    """Return what other servers raise for a malformed body."""
    if "gunicorn.http.errors" in sys.modules:
        from gunicorn.http.errors import ParseException

        return OSError, ParseException
    return (OSError,)


def end_connection(start_response: Callable[..., Any]) -> None:
    """Let no request follow this one; pywsgi sees it in the response's `END_CONNECTION`."""
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close is not None:
        force_close()  # gunicorn drops that header


def _pywsgi_file(environ: dict[str, Any]) -> io.BufferedReader | None:
    source = environ.get("wsgi.input")
    file = getattr(source, "rfile", source)
    if isinstance(file, io.BufferedReader) and isinstance(
        getattr(file.raw, "_sock", None), gevent.socket.socket
    ):
        return file
    return None
