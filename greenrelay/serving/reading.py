"""Reading request heads from a client, each in its time and size, and checked.

The time for a head begins with its first byte. Before that a client is idle: a connection that
was kept may be for as long as the server says, and then ends without an answer.

By hand, because pywsgi would read heads without a time-out, and parse them with the standard
library's parser for e-mail: slowly, and taking what others have been attacked through
(`protocol.head`).
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import gevent

from greenrelay.protocol import refusals
from greenrelay.protocol.head import HeaderFields, check_head
from greenrelay.protocol.refusals import MAX_HEAD_LINES, MAX_REQUEST_LINE_BYTES
from greenrelay.wire import MAX_HEAD_BYTES

LEAVE_SILENTLY: Any = False
"""As a `gevent.Timeout`'s exception: leave the block, raise nothing."""


class IdleClients:
    """The greenlets of a server that wait for the first byte of a request."""

    def __init__(self) -> None:
        self._waiting: dict[Any, gevent.Timeout] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def await_byte(self, file: io.BufferedReader, seconds: float | None) -> bool:
        """Wait for a byte, and leave it there; `False`: there will be none. Switches: yes.

        Args:
            file: of the connection.
            seconds: until it is given up; `None` waits for ever.
        """
        with gevent.Timeout(seconds, LEAVE_SILENTLY) as waiting:
            self._waiting[gevent.getcurrent()] = waiting
            try:
                return bool(file.peek(1))
            finally:
                del self._waiting[gevent.getcurrent()]
        return False

    def end(self) -> None:
        """End the waiting of all, as if their time were up; called by the hub."""
        for waiter, waiting in tuple(self._waiting.items()):
            waiter.throw(waiting)


class HeadServer(Protocol):
    """What the reader of a client's heads asks of the server."""

    idle: IdleClients
    head_timeout: float
    keep_alive: float

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests."""


class HeadReader:
    """The heads of one client's requests, one after the other.

    Args:
        file: of the connection.
        server: says how long to wait.
        has_spoken: whether bytes of the first head are in the file's buffer.
    """

    __slots__ = ("_file", "_has_read", "_server", "fields", "has_spoken", "request_line")

    def __init__(
        self, file: io.BufferedReader, server: HeadServer, has_spoken: bool = False
    ) -> None:
        self._file = file
        self._server = server
        self._has_read = False
        self.has_spoken = has_spoken
        """Whether anything has come of the head that was asked for last."""
        self.request_line = ""
        """Its first line, good or bad; empty while the head is not there as a whole."""
        self.fields: HeaderFields
        """Its other lines, as pywsgi asks for them; the last head's until this one is checked."""

    def read(self) -> list[bytes] | None:
        """Return the lines of the next head, `None` when there will be none.

        Switches: yes.

        Raises:
            RefusedError: it is too late, too large or malformed.
            OSError: the client has left.
        """
        self.request_line = ""
        if self._has_read and not self._await_next():
            return None
        lines = self._read_in_time()
        self._has_read = True
        if lines is not None:
            self.request_line = lines[0].decode("latin-1").rstrip()
            if len(lines[0]) >= MAX_REQUEST_LINE_BYTES:
                raise refusals.LINE_TOO_LONG.error()
            self.fields = check_head(lines)
        return lines

    def _await_next(self) -> bool:
        """Wait for a kept connection's next request; `False`: there will be none."""
        return not self._server.closed and self._await_byte(self._server.keep_alive)

    def _await_byte(self, seconds: float | None) -> bool:
        self.has_spoken = self._server.idle.await_byte(self._file, seconds)
        return self.has_spoken

    def _read_in_time(self) -> list[bytes] | None:
        if self.has_spoken and self._is_there():
            return self._read_lines()
        timeout = gevent.Timeout.start_new(self._server.head_timeout)
        try:
            return self._read_lines() if self._has_read or self._await_byte(None) else None
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise refusals.HEAD_TOO_SLOW.error() from None
        finally:
            timeout.close()

    def _is_there(self) -> bool:
        """Tell whether a whole head has come already, so that no time need be taken: often."""
        there = self._file.peek(1)  # does not wait: there is a byte
        return b"\r\n\r\n" in there and there[:1] not in (b"\r", b"\n")

    def _read_lines(self) -> list[bytes] | None:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._file.readline(MAX_HEAD_BYTES - size + 1)
            size += len(line)
            if size > MAX_HEAD_BYTES or len(lines) > MAX_HEAD_LINES:
                raise refusals.HEAD_TOO_LARGE.error()
            if not line.endswith(b"\n"):
                return None
            if line not in (b"\r\n", b"\n"):
                lines.append(line)
            elif lines:
                if lines[0].endswith(b"\r\n") and line == b"\n":
                    raise refusals.MIXED_LINE_ENDS.error()
                return lines
            # An empty line before a request is a relic to be ignored (RFC 9112 §2.2).
