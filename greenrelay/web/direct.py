"""Events straight from a view: no relay, no process, any WSGI server.

    @app.get("/export")
    def export():
        for percent in work():
            write_event("progress", {"percent": percent})
        return ""

The first call switches the response to an event stream; each call sends its event at
once, through WSGI's `write()`. What the view returns is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from flask import Response, has_request_context, request, stream_with_context

from greenrelay.errors import ClientGone, NoEventStream, ResponseStarted
from greenrelay.protocol.eventstream import STREAM_HEADERS, check_name, encode_event
from greenrelay.protocol.jsontext import encode_json
from greenrelay.web.opening import Opening
from greenrelay.web.servers import NO_SOCKET, find_socket
from greenrelay.web.taking import RequestSocket

STREAM_KEY = "greenrelay.stream"
"""Where the middleware leaves the request's `DirectStream`."""


class DirectStream:
    """The response of one request, as far as it is an event stream.

    Args:
        opening: the request.
        start_response: the server's.
    """

    __slots__ = ("_has_output", "_opening", "_start_response", "_write", "is_gone")

    def __init__(self, opening: Opening, start_response: Callable[..., Any]) -> None:
        self._opening = opening
        self._start_response = start_response
        self._write: Callable[[bytes], object] | None = None
        self._has_output = False
        self.is_gone = False
        """Whether the client has left."""

    @property
    def is_open(self) -> bool:
        """Whether the response is an event stream: nothing else may be sent on it."""
        return self._write is not None

    @property
    def socket(self) -> RequestSocket:
        """How the request's socket can be had."""
        return self._opening.socket

    def forbid_stream(self) -> None:
        """Note that an ordinary response has begun; it can't become a stream any more."""
        self._has_output = True

    def send(self, event: bytes) -> None:
        """Send one encoded event.

        Raises:
            ResponseStarted: an ordinary response is under way.
            ClientGone: nobody is there to read it.
        """
        if self._has_output:
            raise ResponseStarted(
                "this response has begun with ordinary output; call write_event() before that"
            )
        if self.is_gone or (self.is_open and self._opening.socket.is_client_gone()):
            self.is_gone = True
            raise ClientGone("the client has left")
        if self._write is None:
            self._write = self._start_response("200 OK", list(STREAM_HEADERS))
        if self._opening.is_head:
            return
        try:
            self._write(event)
        except OSError as error:
            self.is_gone = True
            raise ClientGone(f"the client has left: {error}") from error


def write_event(
    name: str, data: Any = None, *, id: str | None = None, retry: int | None = None
) -> None:
    """Send one event to the client of the current request, at once.

    Args:
        name: the event's type.
        data: encoded as JSON, a `str` too.
        id: what the client sends as `Last-Event-ID` when it reconnects.
        retry: milliseconds after which it should.

    Switches: yes, while the client's buffer is full.

    Raises:
        ValueError, TypeError: a name is empty, a name or id has a line break or NUL, or
            `data` is not JSON; nothing has been sent.
        ResponseStarted: the view's ordinary output has begun.
        ClientGone: the client has left; let it end the view.
        NoEventStream: there is no request around, or its app has no GreenRelay.
    """
    event = _encode(name, data, id, retry)
    stream = request.environ.get(STREAM_KEY) if has_request_context() else None
    if not isinstance(stream, DirectStream):
        raise NoEventStream(
            "write_event() works in a view of an app with GreenRelay(app), and nowhere else"
        )
    stream.send(event)


def event_stream(events: Iterable[tuple[str, Any]]) -> Response:
    """Return a response that sends `(name, data)` pairs as they come.

        return event_stream(("progress", {"percent": p}) for p in work())

    The iterable runs in the request's context. When the client has left, which shows with
    the next event, a generator is closed, and its `finally` blocks run.

    Args:
        events: pairs of a name and what is encoded as JSON.
    """
    if has_request_context():
        chunks = stream_with_context(_encode_all(events, _socket_of(request.environ)))
    else:
        chunks = _encode_all(events, NO_SOCKET)
    return Response(chunks, headers=list(STREAM_HEADERS))


def _socket_of(environ: dict[str, Any]) -> RequestSocket:
    stream = environ.get(STREAM_KEY)
    # This is for apps without GreenRelay, too; then nobody has looked for it yet.
    return stream.socket if isinstance(stream, DirectStream) else find_socket(environ)


def _encode_all(
    events: Iterable[tuple[str, Any]], sock: RequestSocket
) -> Generator[bytes, None, None]:
    try:
        for name, data in events:
            if sock.is_client_gone():
                return
            yield _encode(name, data, None, None)
    finally:
        # Somebody may hold it, so that it would not be closed by being forgotten.
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _encode(name: str, data: Any, id: str | None, retry: int | None) -> bytes:
    check_name(name)
    return encode_event(name, encode_json(data).decode(), id=id, retry=retry)
