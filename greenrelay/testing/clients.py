"""Clients of a server under test: a WebSocket, and an event stream.

Their sockets are gevent's own, so a client that waits lets the server work in the same
thread. No method waits longer than it is told to.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import gevent
import gevent.socket
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidMessage
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from greenrelay.errors import GreenRelayError
from greenrelay.protocol.eventstream import EventParser, ServerSentEvent
from greenrelay.protocol.jsontext import decode_json

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Far longer than anything on loopback takes, and short enough to wait for a failure."""
READ_BYTES = 64 * 1024


class UpgradeRefused(GreenRelayError):
    """The server has answered with something else than a WebSocket or an event stream.

    Args:
        status: HTTP status code.
        headers: of the response.
        body: of the response.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{status}: {body.decode('utf-8', 'replace').strip()}")
        self.status = status
        self.headers = headers
        self.body = body


class ConnectionClosed(GreenRelayError):
    """The WebSocket is closed.

    Args:
        code: the server's close code; 1005: it gave none, 1006: it sent no close frame.
        reason: the server's text.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code
        self.reason = reason


class WebSocketClient:
    """One WebSocket to a server under test.

    Args:
        url: `ws://127.0.0.1:PORT/path`.
        headers: further request headers.
        origin: what a browser would send as `Origin`.
        subprotocols: offered to the server.
        ssl_context: a `gevent.ssl.SSLContext` that trusts the server, for `wss://`.

    Raises:
        UpgradeRefused: the server would not have it.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        subprotocols: list[str] | None = None,
        ssl_context: Any = None,
    ) -> None:
        uri = parse_uri(url)
        self._protocol = ClientProtocol(
            uri,
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(name) for name in subprotocols or ()] or None,
            max_size=None,
        )
        self._messages: deque[str | bytes] = deque()
        self._pieces: list[Frame] = []
        self._socket = gevent.socket.create_connection((uri.host, uri.port))
        if ssl_context is not None:
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=uri.host)
        request = self._protocol.connect()
        for name, value in (headers or {}).items():
            request.headers.pop(name, None)
            request.headers[name] = value
        self._protocol.send_request(request)
        self.response: Response | None = None
        """The server's 101, with the headers the view has set."""
        try:
            self._open()
        except BaseException:
            self._socket.close()
            raise

    def _open(self) -> None:
        self._flush()
        deadline = time.monotonic() + DEFAULT_TIMEOUT_SECONDS
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            self._read(deadline)
        error = self._protocol.handshake_exc
        if error is None:
            return
        response = self.response
        if response is None or response.status_code == 101:
            # Not refused, but broken: nothing a server of ours does. Before websockets 14 the
            # error is whatever the parser met.
            raise error if isinstance(error, InvalidHandshake) else InvalidMessage(str(error))
        headers = dict(response.headers.raw_items())
        raise UpgradeRefused(response.status_code, headers, bytes(response.body or b""))

    # -- talking -------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Send a text (`str`) or binary (`bytes`) message.

        Raises:
            ConnectionClosed: the connection is closed, or about to be.
        """
        if self._protocol.state is not State.OPEN:
            raise self._closed()
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def receive(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> str | bytes:
        """Return the next message.

        Raises:
            TimeoutError: none has come in `timeout` seconds.
            ConnectionClosed: none will come any more.
        """
        deadline = time.monotonic() + timeout
        while not self._messages:
            if self._protocol.state is State.CLOSED:
                raise self._closed()
            self._read(deadline)
        return self._messages.popleft()

    def receive_json(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Any:
        """Return the next message, decoded from JSON."""
        return decode_json(self.receive(timeout))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the server's close frame; closing twice is no error."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        deadline = time.monotonic() + DEFAULT_TIMEOUT_SECONDS
        with contextlib.suppress(TimeoutError):
            while self._protocol.state is not State.CLOSED:
                self._read(deadline)
        self._socket.close()

    def abort(self) -> None:
        """Drop the connection without a word, as a client that loses its network does."""
        self._socket.close()

    def wait_closed(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> ConnectionClosed:
        """Wait until the server has closed, and return how; messages in between are dropped.

        Raises:
            TimeoutError: it has not.
        """
        deadline = time.monotonic() + timeout
        while self._protocol.state is not State.CLOSED:
            self._read(deadline)
        return self._closed()

    def __enter__(self) -> WebSocketClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- bytes ---------------------------------------------------------------------

    def _closed(self) -> ConnectionClosed:
        code, reason = self._protocol.close_code, self._protocol.close_reason
        return ConnectionClosed(1006 if code is None else code, reason or "")

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            with contextlib.suppress(OSError):  # the read that follows finds out what happened
                self._socket.sendall(data)

    def _read(self, deadline: float) -> bool:
        """Take the next bytes; `False`: there will be none."""
        data = _receive(self._socket, deadline)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame):
                self._take(event)
        return bool(data)

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._pieces.append(frame)
        if frame.fin:
            data = b"".join(bytes(piece.data) for piece in self._pieces)
            is_text = self._pieces[0].opcode is Opcode.TEXT
            self._pieces = []
            self._messages.append(data.decode() if is_text else data)


class EventStreamClient:
    """One event stream from a server under test; iterate it until the server ends it.

        with server.connect_sse("/news") as stream:
            for event in stream:
                print(event.event, event.data)

    Args:
        url: `http://127.0.0.1:PORT/path`.
        headers: further request headers.
        method: of the request.
        body: of the request.
        ssl_context: a `gevent.ssl.SSLContext` that trusts the server, for `https://`.

    Raises:
        UpgradeRefused: the answer is not 200, or no event stream.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
        ssl_context: Any = None,
    ) -> None:
        parts = urlsplit(url)
        path = url.partition(parts.netloc)[2] or "/"
        fields = {"Host": parts.netloc, "Accept": "text/event-stream", **(headers or {})}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        self._socket = gevent.socket.create_connection((parts.hostname, parts.port or 80))
        if ssl_context is not None:
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=parts.hostname)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self._parser = EventParser()
        self._events: deque[ServerSentEvent] = deque()
        try:
            early = self._open(method)
        except BaseException:
            self._socket.close()
            raise
        if early:
            self._events.extend(self._parser.feed(self._body.feed(early)))

    def _open(self, method: str) -> bytes:
        """Read the response's head; return what came behind it."""
        deadline = time.monotonic() + DEFAULT_TIMEOUT_SECONDS
        head = b""
        while b"\r\n\r\n" not in head:
            data = _receive(self._socket, deadline)
            if not data:
                raise ConnectionError(f"the server has hung up, having said {head!r}")
            head += data
        head, _, early = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        self.headers = Headers()
        """Of the response; the case of a name does not matter."""
        for line in lines:
            name, _, value = line.partition(": ")
            self.headers[name] = value  # once more is one more
        self._body = _Body(self.headers, has_any=method != "HEAD")
        if self.status == 200 and "text/event-stream" in self.headers.get("Content-Type", ""):
            return early
        body = self._body.feed(early) if early else b""
        while not self._body.is_over:
            body += self._body.feed(_receive(self._socket, deadline))
        raise UpgradeRefused(self.status, dict(self.headers.raw_items()), body)

    def receive(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> ServerSentEvent:
        """Return the next event.

        Raises:
            TimeoutError: none has come in `timeout` seconds.
            EOFError: none will come any more: the server has ended the stream.
        """
        deadline = time.monotonic() + timeout
        while not self._events:
            if self._body.is_over:
                raise EOFError("the server has ended the event stream")
            data = self._body.feed(_receive(self._socket, deadline))
            self._events.extend(self._parser.feed(data))
        return self._events.popleft()

    def __iter__(self) -> Iterator[ServerSentEvent]:
        with contextlib.suppress(EOFError):
            while True:
                yield self.receive()

    def close(self) -> None:
        """Leave, as a browser does whose page is closed; closing twice is no error."""
        self._socket.close()

    def __enter__(self) -> EventStreamClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Body:
    """A response's body without what frames it. Source: RFC 9112 §6.3."""

    def __init__(self, headers: Headers, has_any: bool) -> None:
        self._is_chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        self._left = int(headers.get("Content-Length", -1)) if has_any else 0
        self._rest = b""
        self.is_over = not has_any or (not self._is_chunked and not self._left)

    def feed(self, data: bytes) -> bytes:
        """Return what belongs to the body; no data at all is the end of the connection."""
        if not data:
            self.is_over = True
        elif self._is_chunked:
            return self._join_chunks(data)
        elif self._left >= 0:
            data = data[: self._left]
            self._left -= len(data)
            self.is_over = not self._left
        return data

    def _join_chunks(self, data: bytes) -> bytes:
        self._rest += data
        found = b""
        while not self.is_over:
            size_line, line_end, rest = self._rest.partition(b"\r\n")
            size = int(size_line.split(b";")[0], 16) if line_end else 0
            if not line_end or len(rest) < size + 2:
                break  # the rest of this chunk is on its way
            found += rest[:size]
            self._rest = rest[size + 2 :]
            self.is_over = size == 0
        return found


def _receive(sock: Any, deadline: float) -> bytes:
    """Return the next bytes, none at the end of the connection.

    Raises:
        TimeoutError: none have come in time.
    """
    try:
        with gevent.Timeout(max(0.0, deadline - time.monotonic()), TimeoutError):
            data: bytes = sock.recv(READ_BYTES)
    except TimeoutError:
        raise TimeoutError("the server has sent nothing in time") from None
    except OSError:
        return b""
    return data
