"""An event stream from a server under test."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import gevent.socket
from websockets.datastructures import Headers

from greenrelay.protocol.eventstream import EventParser, ServerSentEvent
from greenrelay.testing.clients import DEFAULT_TIMEOUT_SECONDS, UpgradeRefused, receive_bytes


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
            data = receive_bytes(self._socket, deadline)
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
            body += self._body.feed(receive_bytes(self._socket, deadline))
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
            data = self._body.feed(receive_bytes(self._socket, deadline))
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
