"""An app on a real server on loopback, for as long as a test lasts.

The server has an event loop in an OS thread of its own, so a test may block its thread as it
likes. Two kinds of tests share their thread with it instead: those that have monkey-patched the
standard library, in which nothing blocks; and those that have begun to use the app's node in
their own thread, by a process that they have spawned there, or by `on_node()`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, TypeVar

import gevent
import gevent.monkey
from werkzeug.test import TestResponse

from greenrelay.cluster.joining import leave
from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.current import on_node
from greenrelay.processes.interpreter import this_interpreter
from greenrelay.processes.node import Node, default_name
from greenrelay.serving.drain import drain
from greenrelay.serving.server import RelayServer
from greenrelay.testing.checks import POLL_SECONDS
from greenrelay.testing.clients import DEFAULT_TIMEOUT_SECONDS
from greenrelay.testing.httpclient import HttpSession
from greenrelay.testing.loopthread import LoopThread, ThreadEnded
from greenrelay.testing.rescue import Rescue
from greenrelay.testing.sseclient import EventStreamClient
from greenrelay.testing.wsclient import WebSocketClient
from greenrelay.web.middleware import RelayMiddleware, find_middleware

log = logging.getLogger("greenrelay.testing")

END_SECONDS = 1.0
"""For processes that were killed and have something to do first, in their `finally`."""
MAX_WRAPPERS = 20
"""So deep an app may be wrapped in middleware."""
_WRAPPED = ("wsgi_app", "app", "application", "__wrapped__")
"""Where middleware keeps what it is around: Werkzeug's, and most others."""

Result = TypeVar("Result")


class ServedApp:
    """A WSGI app on a real server, on a free port of 127.0.0.1.

    Args:
        app: any WSGI app.
        thread: where the server runs; by default in the caller's thread.
        options: further arguments of `RelayServer`.
    """

    server_class: Any = RelayServer

    def __init__(self, app: Any, thread: LoopThread | None = None, **options: Any) -> None:
        self.thread = thread
        """The server's own; none: it shares the test's."""
        self._middleware = find_wrapped(app)
        self._given_node = node_of(self._middleware)
        self.node: Node = self._given_node
        """Where the app's connections and processes live while it is served: a node of its
        own, unless the app was given one, or has started processes on the interpreter's."""
        self._older: frozenset[PID] = frozenset()
        self._rescue: Rescue | None = None
        self._in_loop(self._start, app, {"log": None, **options})
        scheme = "https" if self.server.ssl_enabled else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        """Without a slash at its end."""

    def _start(self, app: Any, options: dict[str, Any]) -> None:
        self.server: Any = self.server_class(("127.0.0.1", 0), app, **options)
        self.server.start()
        given = self._given_node
        if self._middleware is not None:
            if this_interpreter().has_made(given) and not len(given):
                # Made here: the loop of this thread is the one that it knows.
                own = f"{default_name()}-{secrets.token_hex(4)}"
                name = own if given.has_default_name else given.name
                self.node = Node(name, max_mailbox=given.max_mailbox)
            self.node.settle_here()
            self._middleware.note_test()
            self._middleware.move(self.node)  # also to the same: this loop may be another one
            if self._middleware.membership is not None:
                self._middleware.membership.join(self.node)
        self._older = frozenset(entity.pid for entity in self.node)
        if self.thread is None and not is_patched():
            self._rescue = Rescue(self.server.socket, self.server.loop)

    def _in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args) if self.thread is None else self.thread.run(function, *args)

    def run(
        self,
        function: Callable[..., Result],
        *args: Any,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Result:
        """Call `function(*args)` where the server runs, on its node; return what it returns.

        For what has to happen in the loop of its processes: `server.run(process.info, pid)`.

        Args:
            timeout: seconds; not looked at where server and test share a thread.

        Raises:
            TimeoutError: it took longer.
        """

        def call() -> Result:
            with on_node(self.node):
                return function(*args)

        return call() if self.thread is None else self.thread.run(call, timeout=timeout)

    # -- clients ---------------------------------------------------------------------

    def session(
        self,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        use_cookies: bool = True,
        ssl_context: Any = None,
    ) -> HttpSession:
        """Return a visitor who keeps cookies between requests; see `HttpSession`."""
        return HttpSession(self.url, timeout, use_cookies, ssl_context)

    def get(self, path: str = "/", **arguments: Any) -> TestResponse:
        """Send a GET request, without cookies; arguments and response are Flask's test client's.

        Raises:
            TimeoutError: the response was not there in time; `session(timeout=…)` waits longer.
        """
        return self.session(use_cookies=False).get(path, **arguments)

    def post(self, path: str = "/", **arguments: Any) -> TestResponse:
        """Send a POST request: `data=` for a form, `json=` for JSON; otherwise as `get()`."""
        return self.session(use_cookies=False).post(path, **arguments)

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

        Raises:
            SystemExit, KeyboardInterrupt: in the server's thread, and it has ended that.
        """
        if self._rescue is not None:
            self._rescue.end()  # before the listener's number is another socket's
        try:
            self._in_loop(self._stop, drain_seconds)
        except ThreadEnded as ended:
            if ended.__cause__ is not None:
                raise ended.__cause__ from None
        if self._middleware is not None:
            self._middleware.move(self._given_node)

    def _stop(self, drain_seconds: float) -> None:
        self.server.close()
        drain(self.node, drain_seconds, self._older)
        self.server.stop(timeout=drain_seconds)
        leave(self.node)
        self.node.note_draining(False)
        if self.thread is not None:  # its loop ends with it, and nothing goes on
            await_end(self.node, self._older)


def await_end(node: Node, spare: Set[PID] = frozenset()) -> None:
    """Wait until all processes but those to be spared have ended; log if one has not in time."""
    deadline = time.monotonic() + END_SECONDS
    while left := [entity for entity in node if entity.pid not in spare]:
        if time.monotonic() > deadline:
            text = "%r does not end with its test, %d in all"
            log_now(log, logging.WARNING, text, left[0], len(left))
            return
        gevent.sleep(POLL_SECONDS)


def is_patched() -> bool:
    """Tell whether nothing in this interpreter blocks: the standard library waits on gevent."""
    return any(map(gevent.monkey.is_module_patched, ("socket", "threading")))


def node_of(middleware: RelayMiddleware | None) -> Node:
    """Return where an app's processes live, also if it has no relay."""
    return this_interpreter().likely_node() if middleware is None else middleware.node


def find_wrapped(app: Any) -> RelayMiddleware | None:
    """Return the relay middleware of a WSGI app, also from within other middleware."""
    for _ in range(MAX_WRAPPERS):
        middleware = find_middleware(app)
        if middleware is not None:
            return middleware
        inner = [vars(app)[name] for name in _WRAPPED if name in getattr(app, "__dict__", ())]
        if not inner:
            return None
        app = inner[0]
    return None
