"""A WebSocket to a server under test.

The protocol is the library `websockets`' own, which does no I/O: its own clients wait in
threads or in asyncio, and would block the loop of a server that shares their thread.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import gevent.socket
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from greenrelay.errors import GreenRelayError
from greenrelay.protocol.jsontext import decode_json
from greenrelay.testing.clients import DEFAULT_TIMEOUT_SECONDS, UpgradeRefused, receive_bytes


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
        data = receive_bytes(self._socket, deadline)
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
