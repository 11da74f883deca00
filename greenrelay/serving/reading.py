"""Reading request heads from a client, each in its time and size.

The time for a head begins with its first byte; before that a kept connection has the
server's patience for idle ones, and ends without a word.
"""

from __future__ import annotations

import io
from typing import Any

import gevent

from greenrelay.errors import RefusedError
from greenrelay.protocol.head import bad_request
from greenrelay.wire import MAX_HEAD_BYTES

MAX_REQUEST_LINE_BYTES = 8 * 1024
"""As pywsgi, which would answer without a word."""
MAX_HEAD_LINES = 100
"""The request line included: the standard library's parser, which pywsgi uses, takes no more."""
_TOO_LARGE = f"a request head has {MAX_HEAD_BYTES >> 10} KiB and {MAX_HEAD_LINES} lines at most"
_QUIETLY: Any = False
"""As a `gevent.Timeout`'s exception: leave the block, raise nothing."""


class HeadReader:
    """The heads of one client's requests, one after the other.

    Args:
        file: of the connection.
        server: the `RelayServer`, which says how long to wait.
    """

    __slots__ = ("_file", "_has_read", "_server", "has_spoken")

    def __init__(self, file: io.BufferedReader, server: Any) -> None:
        self._file = file
        self._server = server
        self._has_read = False
        self.has_spoken = False
        """Whether anything has come of the head that was asked for last."""

    def read(self) -> list[bytes] | None:
        """Return the lines of the next head, `None` when there will be none.

        Switches: yes.

        Raises:
            RefusedError: it is too late or too large.
            OSError: the client has left.
        """
        if self._has_read and (
            self._server.closed or not self._await_byte(self._server.keep_alive)
        ):
            return None
        timeout = gevent.Timeout.start_new(self._server.head_timeout)
        try:
            lines = self._read_lines() if self._has_read or self._await_byte(None) else None
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise RefusedError("408 Request Timeout", "the request head took too long") from None
        finally:
            timeout.close()
        self._has_read = True
        return lines

    def _await_byte(self, seconds: float | None) -> bool:
        """Wait for the first byte of a head; `False`: there will be none."""
        idle = self._server.idle
        with gevent.Timeout(seconds, _QUIETLY) as waiting:
            idle[gevent.getcurrent()] = waiting
            try:
                self.has_spoken = bool(self._file.peek(1))
                return self.has_spoken
            finally:
                del idle[gevent.getcurrent()]
        return False

    def _read_lines(self) -> list[bytes] | None:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._file.readline(MAX_HEAD_BYTES - size + 1)
            size += len(line)
            if size > MAX_HEAD_BYTES or len(lines) > MAX_HEAD_LINES:
                raise RefusedError("431 Request Header Fields Too Large", _TOO_LARGE)
            if not line.endswith(b"\n"):
                return None
            if line not in (b"\r\n", b"\n"):
                lines.append(line)
            elif lines:
                if lines[0].endswith(b"\r\n") and line == b"\n":
                    raise bad_request("the head's lines end in different ways")
                return lines
            # An empty line before a request is a relic to be ignored (RFC 9112 §2.2).
