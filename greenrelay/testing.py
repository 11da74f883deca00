"""What an app's authors need to test relayed views, over a real server on loopback.

    def test_echo(relay_server):
        server = relay_server(app)
        with server.connect_ws("/ws") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"

Everything runs in one thread, on gevent: a client that waits lets the server work.
The sockets are gevent's own, so it makes no difference whether the test patched.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import gevent
import gevent.socket
import simplejson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from greenrelay.drain import drain
from greenrelay.errors import GreenRelayError
from greenrelay.fakes import FakeClock, FakeTransport, fake_websocket
from greenrelay.node import Node
from greenrelay.server import RelayServer, find_node

__all__ = [
    "ConnectionClosed",
    "FakeClock",
    "FakeTransport",
    "ServedApp",
    "UpgradeRefused",
    "WebSocketClient",
    "fake_websocket",
    "leaks",
    "serving",
    "wait_until",
]

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Far longer than anything on loopback takes, and short enough to wait for a failure."""
POLL_SECONDS = 0.005
READ_BYTES = 64 * 1024

Result = TypeVar("Result")
ServerFactory = Callable[..., "ServedApp"]


class UpgradeRefused(GreenRelayError):
    """The server has answered an opening handshake with something else than 101.

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
        self._open()

    def _open(self) -> None:
        self._flush()
        deadline = time.monotonic() + DEFAULT_TIMEOUT_SECONDS
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            self._read(deadline)
        error = self._protocol.handshake_exc
        if error is None:
            return
        self._socket.close()
        response = self.response
        if response is None or response.status_code == 101:
            raise error  # not refused, but broken: nothing a server of ours does
        headers = dict(response.headers.raw_items())
        raise UpgradeRefused(response.status_code, headers, bytes(response.body or b""))

    # -- talking -------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Send a text (`str`) or binary (`bytes`) message."""
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
        return simplejson.loads(self.receive(timeout))

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
        try:
            with gevent.Timeout(max(0.0, deadline - time.monotonic()), TimeoutError):
                data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            raise TimeoutError("the server has sent nothing in time") from None
        except OSError:
            data = b""
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


class ServedApp:
    """A WSGI app on a real server, on a free port of 127.0.0.1.

    Args:
        app: any WSGI app.
        options: further arguments of `RelayServer`.
    """

    server_class: Any = RelayServer

    def __init__(self, app: Any, **options: Any) -> None:
        options = {"log": None, **options}
        self.server = self.server_class(("127.0.0.1", 0), app, **options)
        self.node: Node = find_node(app)
        """Where the app's connections and processes live."""
        self.server.start()
        scheme = "https" if self.server.ssl_enabled else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        """Without a slash at its end."""

    def connect_ws(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        subprotocols: list[str] | None = None,
        ssl_context: Any = None,
    ) -> WebSocketClient:
        """Return a connected WebSocket, which is a context manager; see `WebSocketClient`.

        Raises:
            UpgradeRefused: the server would not have it.
        """
        url = self.url.replace("http", "ws", 1) + path
        return WebSocketClient(url, headers, origin, subprotocols, ssl_context)

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Stop the server, its connections and the processes of its node."""
        self.server.close()
        drain(self.node, drain_seconds)
        self.server.stop(timeout=drain_seconds)
        self.node.is_draining = False


@contextlib.contextmanager
def serving() -> Iterator[ServerFactory]:
    """Give a function that serves an app, and stop all servers at the end of the block."""
    servers: list[ServedApp] = []

    def start(app: Any, **options: Any) -> ServedApp:
        servers.append(ServedApp(app, **options))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.stop()


def wait_until(condition: Callable[[], Result], timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Result:
    """Return the condition's value as soon as it is true.

    Raises:
        AssertionError: it is not true in `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true in {timeout} s: {condition}; last value {value!r}")
        gevent.sleep(POLL_SECONDS)
    return value


def leaks(node: Node) -> list[str]:
    """Return what is left on a node, a line each; an empty list is what a test wants to see."""
    found = [f"{entity!r}" for entity in node]
    for kind, table in (("names", node.registry), ("groups", node.groups)):
        if len(table):
            found.append(f"{len(table)} {kind}")
    if not node.topology.is_empty():
        found.append("monitors or links")
    if node.count_timers():
        found.append(f"{node.count_timers()} timers")
    return found
