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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import gevent

from greenrelay.clients import (
    DEFAULT_TIMEOUT_SECONDS,
    ConnectionClosed,
    EventStreamClient,
    UpgradeRefused,
    WebSocketClient,
)
from greenrelay.drain import drain
from greenrelay.eventstream import ServerSentEvent
from greenrelay.fakes import FakeClock, FakeTransport, fake_event_stream, fake_websocket
from greenrelay.middleware import find_node
from greenrelay.node import Node
from greenrelay.server import RelayServer

__all__ = [
    "ConnectionClosed",
    "EventStreamClient",
    "FakeClock",
    "FakeTransport",
    "ServedApp",
    "ServerSentEvent",
    "UpgradeRefused",
    "WebSocketClient",
    "fake_event_stream",
    "fake_websocket",
    "leaks",
    "serving",
    "wait_until",
]

POLL_SECONDS = 0.005

Result = TypeVar("Result")
ServerFactory = Callable[..., "ServedApp"]


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
        self._older = frozenset(entity.pid for entity in self.node)
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

    def connect_sse(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
        origin: str | None = None,
        ssl_context: Any = None,
    ) -> EventStreamClient:
        """Return an open event stream, which is a context manager; see `EventStreamClient`.

        Raises:
            UpgradeRefused: the server would not have it.
        """
        headers = {**(headers or {}), **({} if origin is None else {"Origin": origin})}
        return EventStreamClient(self.url + path, headers, method, body, ssl_context)

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Stop the server, its connections, and the processes started since it began.

        Those that the app has started when it was imported are there for the next test.
        """
        self.server.close()
        drain(self.node, drain_seconds, self._older)
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
