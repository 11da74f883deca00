"""`environ["wsgi.websocket"]` for views that were written against gevent-websocket.

The object is there for every request that asks for a WebSocket, and upgrades it when
the view first uses it: beside it, relayed views work on the same server. It has the
interface of gevent-websocket's, and the checks that lacks: masking, message size,
Origin, whole handshakes, close codes that are sent, and frames that don't interleave.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.lock
import gevent.ssl
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import (
    MSG_ALREADY_CLOSED,
    MSG_CLOSED,
    MSG_SOCKET_DEAD,
    WebSocket,
)
from werkzeug.exceptions import BadRequest, Forbidden

from greenrelay.errors import ProtocolError
from greenrelay.processes.fairness import Rotation
from greenrelay.protocol.frames import (
    OP_BINARY,
    OP_PONG,
    OP_TEXT,
    Close,
    FrameEvent,
    FrameParser,
    Ping,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.web.taking import has_closed
from greenrelay.wire import CLOSE_NO_STATUS, CLOSE_NORMAL, CLOSE_TIMEOUT_SECONDS, READ_BYTES

POLL_SECONDS = 0.02

_TCP_INFO = struct.Struct("=144xI52xQQ")
"""`tcpi_notsent_bytes`, `tcpi_bytes_sent`, `tcpi_bytes_retrans`. Source: Linux, `linux/tcp.h`;
it has grown at its end only, up to the last of them in 4.19."""

SHARE = 32
"""After so many frames a view looks whether it is the others' turn: a read can hold thousands,
and a client that never stops sending would never let it wait."""


class LegacyRefused(WebSocketError, Forbidden):  # type: ignore[misc]  # no types
    """The request can't become a WebSocket, and has had its answer.

    To a view it is gevent-websocket's error; to Flask, if the view lets it through, an
    ordinary refusal instead of a crash to be logged.
    """

    def __init__(self) -> None:
        Forbidden.__init__(self, "this WebSocket was refused")


class LegacyClosed(WebSocketError, BadRequest):  # type: ignore[misc]  # no types
    """The client has left, or was closed before; see `LegacyRefused`."""

    def __init__(self, text: str) -> None:
        BadRequest.__init__(self, text)
        self.args = (text,)


class LegacyWebSocket(WebSocket):  # type: ignore[misc]  # gevent-websocket has no types
    """A WebSocket whose greenlet waits for it, as gevent-websocket's.

    Args:
        environ: the request's.
        handler: the server's, with `rfile` and `socket`.
        upgrade: sends the 101; raises `WebSocketError` when it has refused instead.
        max_message_size: bytes of one message; 0 is off.
    """

    def __init__(
        self,
        environ: dict[str, Any],
        handler: Any,
        upgrade: Callable[[], None],
        max_message_size: int,
    ) -> None:
        self.environ = environ
        self.handler = handler
        self.closed = False
        self.stream = None
        self.is_upgraded = False
        """Whether the view has used it."""
        self._upgrade = upgrade
        self._parser = FrameParser(max_message_size)
        self._events: Iterator[FrameEvent | None] = iter(())
        """What is left of the last read, not parsed yet."""
        self._rotation: Rotation = handler.server.rotation
        self._share = SHARE
        self._lock = gevent.lock.BoundedSemaphore(1)

    def __del__(self) -> None:
        """Nothing: the server closes what it has opened."""

    def receive(self) -> str | bytearray | None:
        """Return the next message; `None`: the client has closed, or broken the protocol.

        Raises:
            WebSocketError: it was closed before.
        """
        self._require_open()
        try:
            return self._receive()
        except ProtocolError as error:
            self.close(error.close_code, error.reason)
            return None

    def _receive(self) -> str | bytearray | None:
        while True:
            for event in self._events:  # goes on where it has stopped
                self._share -= 1
                if not self._share:
                    self._share = SHARE
                    self._rotation.begin()
                if isinstance(event, str):
                    return event
                if isinstance(event, bytes):
                    return bytearray(event)
                if event is not None and not self._handle(event):
                    return None
            if not self._read():
                self.closed = True
                self.current_app.on_close(MSG_CLOSED)
                return None

    def _read(self) -> bool:
        try:
            data = self.handler.rfile.read1(READ_BYTES)
        except OSError:
            return False
        self._events = self._parser.steps(data)
        return bool(data)

    def _handle(self, event: Any) -> bool:
        """Deal with a control frame; `False`: it was the last."""
        if isinstance(event, Ping):
            self.send_frame(event.data, OP_PONG)
        elif isinstance(event, Close):
            self.close(CLOSE_NORMAL if event.code == CLOSE_NO_STATUS else event.code)
            return False
        return True

    def send(self, message: Any, binary: bool | None = None) -> None:
        """Send a text or binary message.

        Raises:
            WebSocketError: it is closed, or the client is gone.
        """
        is_binary = not isinstance(message, str) if binary is None else binary
        self.send_frame(message, OP_BINARY if is_binary else OP_TEXT)

    def send_frame(self, message: Any, opcode: int) -> None:
        """Send one frame; from several greenlets, one after the other.

        Raises:
            WebSocketError: it is closed, or the client is gone.
        """
        self._require_open()
        data = message.encode() if isinstance(message, str) else bytes(message or b"")
        self._send(encode_frame(opcode, data))

    def close(self, code: int = CLOSE_NORMAL, message: Any = b"") -> None:
        """Send a close frame with its code; closing twice is no error."""
        if self.closed:
            return
        if self.is_upgraded:
            text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
            try:
                self._send(encode_close(code if is_close_code(code) else CLOSE_NORMAL, text or ""))
            except WebSocketError:
                pass  # nobody is there to be told
        self.closed = True

    def _require_open(self) -> None:
        if self.closed:
            raise LegacyClosed(MSG_ALREADY_CLOSED)
        if not self.is_upgraded:
            self._upgrade()
            self.is_upgraded = True

    def _send(self, data: bytes) -> None:
        try:
            with self._lock:
                self.handler.socket.sendall(data)
        except OSError:
            raise LegacyClosed(MSG_SOCKET_DEAD) from None


def count_written(sock: Any) -> int | None:
    """Return how many bytes have been written to a connection so far, by whomever.

    Only Linux tells, and only of plain TCP: else `None`. (TLS writes by itself, too, and there a
    duplicate of the socket would be of no use to a view.)

    Args:
        sock: gevent's.
    """
    if sys.platform != "linux" or isinstance(sock, gevent.ssl.SSLSocket):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unsent, sent, again = _TCP_INFO.unpack(info)
    except (OSError, struct.error):  # no TCP, or an older kernel
        return None
    # What waits in the buffer counts, and what is sent once more does not: it was before.
    return int(unsent + sent - again)


def see_off(sock: Any, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
    """Close the socket of a view that has taken it, and has returned.

    Libraries like simple-websocket serve a duplicate of the socket, and a greenlet of theirs
    still reads from it: what comes is left to that one, and the connection ends when the client
    has closed it, or the time is up. Switches: yes.

    Args:
        sock: gevent's, ready to be closed by whoever owns it.
        seconds: which a client has for closing its side.
    """
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # the client was faster
        sock.shutdown(socket.SHUT_WR)
        while not has_closed(sock._sock) and time.monotonic() < deadline:
            gevent.sleep(POLL_SECONDS)
        sock.shutdown(socket.SHUT_RDWR)
