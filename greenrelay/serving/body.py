"""A request's body on our server, and the sending of what answers it: neither waits for ever.

    body = chunk-size [ chunk-ext ] CRLF data CRLF … "0" CRLF *( field-line CRLF ) CRLF
         | as many bytes as Content-Length says                     (RFC 9112 §6, §7.1)

Two rules. A body that breaks its grammar stays broken: whatever the app makes of the error,
no byte behind it is ever taken for data or for a request. And who waits, waits for the next
byte, not for the whole: a slow client is no dead one.

By hand, because pywsgi's `Input` waits for ever, and reads on behind a fault.
"""

from __future__ import annotations

import io
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from greenrelay.errors import RefusedError
from greenrelay.protocol import refusals
from greenrelay.protocol.head import check_field_line, parse_chunk_size
from greenrelay.protocol.refusals import bad_request
from greenrelay.web.taking import BodyFault
from greenrelay.wire import MAX_HEAD_BYTES, READ_BYTES

MAX_DISCARD_BYTES = 256 * 1024
"""What is read of a body that the app has left, to keep the connection; Go's server does so."""
MAX_FRAMING_BYTES = MAX_HEAD_BYTES
"""Of chunk extensions beyond twice the data, and of trailers; else they could go on for ever."""
_BARE_SIZE_LINE_BYTES = len(b"0123456789abcdef\r\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time."""


class RequestBody:
    """`wsgi.input`: a request's body, and nothing behind it.

    Args:
        file: of the connection, behind the request's head.
        sock: the file's, on which a client that has asked is told to continue.
        length: in bytes; `None`: it comes in chunks.
        patience: seconds without progress after which the client is given up; 0 is off.
        is_awaited: whether the client sends it only when it is told to.
    """

    def __init__(
        self,
        file: io.BufferedReader,
        sock: Any,
        length: int | None,
        patience: float,
        is_awaited: bool = False,
    ) -> None:
        self.rfile = file
        """pywsgi's name, by which others find the socket."""
        self.fault: RefusedError | None = None
        """What was wrong with it, and the request's answer; nothing behind it may be read."""
        self.is_over = length == 0
        """Whether the next byte is the next request's."""
        # Whether the client still waits for a 100, so that nobody knows what it sends next.
        self._is_awaited = is_awaited and not self.is_over
        self._sock = sock
        self._patience = patience or None
        self._is_chunked = length is None
        self._left = length or 0  # of the whole, or of the chunk
        self._spare = MAX_FRAMING_BYTES
        self._is_torn = False  # inside of the framing, perhaps in the middle of a line
        self._has_begun = False

    def read(self, size: int | None = None) -> bytes:
        """Return `size` bytes, or what there is until the body's end.

        Raises:
            BodyFault: let it pass, the request has no other answer.
        """
        wanted = sys.maxsize if size is None or size < 0 else size
        pieces = []
        while wanted and (piece := self._read_piece(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = None) -> bytes:
        """Return the next line, `size` bytes of it at most; raises as `read()`."""
        wanted = sys.maxsize if size is None or size < 0 else size
        line = bytearray()
        while len(line) < wanted and not line.endswith(b"\n") and self._seek_data():
            piece = self._take_line(min(wanted - len(line), self._left, READ_BYTES))
            self._count(piece)
            line += piece
        return bytes(line)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Return all lines; raises as `read()`."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def is_worth_reading(self) -> bool:
        """Tell whether the connection can be kept by reading what the app has left."""
        return self.is_over or not (
            self.fault is not None
            or self._is_awaited
            or self._is_torn
            or (not self._is_chunked and self._left > MAX_DISCARD_BYTES)
        )

    def answer_instead(self) -> None:
        """Let the client wait no longer for a 100: nothing but the answer may be sent now."""
        self._is_awaited = False

    def discard(self) -> bool:
        """Read what the app has left, if that is little; `False`: no request can follow."""
        spare = MAX_DISCARD_BYTES
        try:
            while spare > 0 and not self.is_over and self.is_worth_reading():
                spare -= len(self._read_piece(READ_BYTES))
        except BodyFault:
            pass  # it is kept in `fault`
        return self.is_over

    def _discard(self) -> None:
        """Nothing: pywsgi asks for it before the request has been logged."""

    # -- data and framing ------------------------------------------------------------

    def _read_piece(self, size: int) -> bytes:
        """Return up to `size` bytes as they come; empty at the body's end."""
        if not self._seek_data():
            return b""
        data = self._receive(self.rfile.read1, min(size, self._left, READ_BYTES))
        self._count(data)
        return data

    def _seek_data(self) -> bool:
        """Get to where data comes next; `False`: there is none any more."""
        if self.fault is not None:
            raise BodyFault(self.fault)
        if self._is_awaited:
            self._ask()
        if not (self._left or self.is_over):
            if self._is_torn:
                raise self._fail(bad_request("the body was left in the middle of a line"))
            self._is_torn = True
            try:
                self._seek_chunk()
            except RefusedError as refusal:
                raise self._fail(refusal) from None
            self._is_torn = False
        return not self.is_over

    def _seek_chunk(self) -> None:
        if self._has_begun and self._take_line(2) != b"\r\n":
            raise bad_request("a chunk does not end where its size says")
        self._has_begun = True
        limit = _BARE_SIZE_LINE_BYTES + self._spare
        line = self._take_line(limit)
        if len(line) == limit:
            raise bad_request("the chunks' extensions are too long")
        self._left = parse_chunk_size(line)
        # Data pays for its framing, as in Go's server; signatures of long uploads stand there.
        self._spare = min(MAX_FRAMING_BYTES, limit - len(line) + 2 * self._left)
        if not self._left:
            self._skip_trailers()
            self.is_over = True

    def _skip_trailers(self) -> None:
        while (line := self._take_line(self._spare)) != b"\r\n":
            self._spare -= len(line)
            if not self._spare:
                raise bad_request("the trailers are too long")
            check_field_line(line)

    def _count(self, data: bytes) -> None:
        self._left -= len(data)
        self.is_over = not (self._left or self._is_chunked)

    # -- waiting ---------------------------------------------------------------------

    def _take_line(self, size: int) -> bytes:
        """Return up to `size` bytes, and nothing behind a line feed."""
        line = b""
        while len(line) < size and not line.endswith(b"\n"):
            waiting = self._receive(self.rfile.peek, 1)
            end = waiting.find(b"\n") + 1 or len(waiting)
            line += self.rfile.read(min(end, size - len(line)))
        return line

    def _ask(self) -> None:
        """Tell the client to send it."""
        self._is_awaited = False
        try:
            send_all(self._sock, _CONTINUE, self._patience or 0)
        except OSError:
            raise self._fail(refusals.BODY_NOT_SENT.error()) from None

    def _receive(self, call: Any, size: int) -> bytes:
        """Return what `call` gives; it waits for the client at most once."""
        self._sock.settimeout(self._patience)
        try:
            data: bytes = call(size)
        except TimeoutError:
            raise self._fail(refusals.BODY_TOO_SLOW.error()) from None
        except OSError:
            data = b""
        finally:
            self._sock.settimeout(None)
        if not data:
            raise self._fail(refusals.BODY_BROKEN_OFF.error())
        return data

    def _fail(self, refusal: RefusedError) -> BodyFault:
        self.fault = refusal
        return BodyFault(refusal)


def send_all(sock: Any, data: Any, patience: float) -> None:
    """Send everything, however slowly the client takes it.

    Args:
        patience: seconds in which it has to take something; 0 is off.

    Switches: yes.

    Raises:
        TimeoutError: it has not. What it has not taken is dropped when the socket is closed.
    """
    sock.settimeout(patience or None)
    try:
        left = memoryview(data)
        while left:
            left = left[sock.send(left) :]
    except TimeoutError:
        # Else the kernel would go on holding what nobody reads.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise
    finally:
        sock.settimeout(None)
