"""Taking the socket away from the server: one small adapter per server.

A taken socket is non-blocking and ours to close; the server's own object is left
detached, so that nothing the server does afterwards (a last read, a close) touches
the connection. What the server has read beyond the request head is kept.

Which servers, and what was found out about each:

    greenrelay's own   `environ["greenrelay.take"]`, a method of our handler
    gevent.pywsgi      on an upgrade request `wsgi.input` is the raw file of the socket,
                       else an object that has it; before it closes its socket, pywsgi
                       reads 16 KiB from it: a duplicated descriptor would lose frames
    TLS on the latter  an `SSLSocket` can't be detached: its greenlet has to wait
"""

from __future__ import annotations

import _socket  # the plain class, whatever has been monkey-patched
import contextlib
import io
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent.socket
import gevent.ssl
from gevent.pywsgi import WSGIHandler

TAKE_KEY = "greenrelay.take"
"""Our server's handler puts a callable here that returns a `Taken`."""


class Taken(NamedTuple):
    """A connection that is ours now."""

    sock: Any
    """Raises `BlockingIOError` or `SSLWantReadError` instead of waiting."""
    early: bytes
    """What the client has sent behind its request."""
    must_wait: bool
    """Whether the request's greenlet has to wait until the socket is closed."""


def can_take(environ: dict[str, Any]) -> bool:
    """Tell whether this server's sockets can be taken, without touching anything."""
    return TAKE_KEY in environ or _pywsgi_file(environ) is not None


def take(environ: dict[str, Any], start_response: Callable[..., Any]) -> Taken:
    """Take the request's socket; the server is not told otherwise.

    Requires `can_take(environ)`.
    """
    if TAKE_KEY in environ:
        taken: Taken = environ[TAKE_KEY]()
        return taken
    file = _pywsgi_file(environ)
    assert file is not None  # can_take() has said so
    taken = take_file(file)
    # Without this, pywsgi's access log says "000" for a connection that was upgraded.
    handler = getattr(start_response, "__self__", None)
    if isinstance(handler, WSGIHandler):
        vars(handler)["_orig_status"] = "101 Switching Protocols"
    return taken


def take_file(file: io.BufferedReader) -> Taken:
    """Take the gevent socket behind a server's buffered file."""
    sock = file.raw._sock  # type: ignore[attr-defined]  # gevent's SocketIO
    early = read_early(file, sock)
    if isinstance(sock, gevent.ssl.SSLSocket):
        return Taken(sock, early, must_wait=True)
    family, kind, proto = sock.family, sock.type, sock.proto
    taken = _socket.socket(family, kind, proto, sock.detach())
    taken.setblocking(False)
    close_file(file)
    return Taken(taken, early, must_wait=False)


def read_early(file: io.BufferedReader, sock: Any) -> bytes:
    """Return what the client has sent already, without waiting for more."""
    sock.settimeout(0.0)
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
        return file.peek()
    return b""


def close_file(file: io.BufferedReader) -> None:
    """Close the server's file, which is how its keep-alive loop learns that it is over."""
    with contextlib.suppress(OSError):
        file.close()


def _pywsgi_file(environ: dict[str, Any]) -> io.BufferedReader | None:
    source = environ.get("wsgi.input")
    file = getattr(source, "rfile", source)
    if isinstance(file, io.BufferedReader) and isinstance(
        getattr(file.raw, "_sock", None), gevent.socket.socket
    ):
        return file
    return None
