"""`environ["wsgi.websocket"]` for views that were written against gevent-websocket.

The object is there for every request that asks for a WebSocket, and upgrades it when the view
first uses it: a view that answers with a relay's header does not, and is relayed instead.

It subclasses gevent-websocket's object, so that views find its interface and its errors, and
replaces what reads and writes: that one takes unmasked frames and messages of any size, never
sends a close code, and mixes the frames of two greenlets up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import gevent.lock
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
from greenrelay.protocol.frameparser import Close, FrameEvent, FrameParser, Ping
from greenrelay.protocol.frames import (
    OP_BINARY,
    OP_PONG,
    OP_TEXT,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.wire import CLOSE_NO_STATUS, CLOSE_NORMAL, READ_BYTES

FRAMES_PER_TURN = 32
"""After so many frames a view lets other greenlets run: a read can hold thousands, and a client
that never stops sending would otherwise keep them from it."""


class LegacyRefused(WebSocketError, Forbidden):  # type: ignore[misc]  # no types
    """The request can't become a WebSocket, and has had its answer.

    A view can catch it as gevent-websocket's error. If it does not, Flask takes it for an ordinary
    403, and logs no traceback.
    """

    def __init__(self) -> None:
        Forbidden.__init__(self, "this WebSocket was refused")


class LegacyClosed(WebSocketError, BadRequest):  # type: ignore[misc]  # no types
    """The client has left, or was closed before; see `LegacyRefused`."""

    def __init__(self, text: str) -> None:
        BadRequest.__init__(self, text)
        self.args = (text,)


class LegacyHandler(Protocol):
    """What a WebSocket of an older view asks of the request's handler."""

    rfile: Any
    socket: Any
    """gevent's."""

    @property
    def rotation(self) -> Rotation:
        """The turns of views that serve a `wsgi.websocket`."""


def _be_closed() -> NoReturn:
    raise LegacyClosed(MSG_ALREADY_CLOSED)


class LegacyWebSocket(WebSocket):  # type: ignore[misc]  # gevent-websocket has no types
    """A WebSocket whose greenlet waits for it, as gevent-websocket's.

    Args:
        environ: the request's.
        handler: of the request.
        upgrade: sends the 101, and returns the bytes that one message may have; raises
            `WebSocketError` when it has refused instead.
    """

    _parser: FrameParser
    _events: Iterator[FrameEvent | None]
    """What is left of the last read, not parsed yet."""
    _share: int

    def __init__(
        self, environ: dict[str, Any], handler: LegacyHandler, upgrade: Callable[[], int]
    ) -> None:
        self.environ = environ
        self.handler = handler
        self.closed = False
        self.stream = None
        self.is_upgraded = False
        """Whether the view has used it."""
        self._upgrade = upgrade

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
                    self._share = FRAMES_PER_TURN
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
                pass  # the client is gone
        self.closed = True

    def expire(self) -> None:
        """Let go of a request that is over, if it was no WebSocket: they hold each other."""
        if not self.is_upgraded:
            self.closed = True
            self.environ, self._upgrade = {}, _be_closed

    def _require_open(self) -> None:
        if self.closed:
            raise LegacyClosed(MSG_ALREADY_CLOSED)
        if not self.is_upgraded:
            self._begin(self._upgrade())

    def _begin(self, max_message_size: int) -> None:
        # Not before the view uses it: every upgrade request has one of these, for nothing mostly.
        self._parser = FrameParser(max_message_size)
        self._events = iter(())
        self._rotation = self.handler.rotation
        self._share = FRAMES_PER_TURN
        self._lock = gevent.lock.BoundedSemaphore(1)
        self.is_upgraded = True

    def _send(self, data: bytes) -> None:
        try:
            with self._lock:
                self.handler.socket.sendall(data)
        except OSError:
            raise LegacyClosed(MSG_SOCKET_DEAD) from None
