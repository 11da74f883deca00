"""The WSGI middleware: a response header in, a connection out.

    app(environ) ─► header? ─ no ─► the response goes its way
                       │ yes: the response is withheld, the request ends
                       ▼
    configuration, handshake, origin, target, server: each may refuse with its own status
                       ▼
    take the socket ─► session.join() ─► return nothing ─► the loop: session.begin()

The header is read from the response only, and removed from every response.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import gevent.event
import simplejson
from werkzeug.wsgi import ClosingIterator

from greenrelay.config import DEFAULT_LIMITS, Limits, parse_relay_header
from greenrelay.current import default_node, on_node
from greenrelay.dialect import FrameCache
from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.handshake import Headers, check_handshake, encode_head, upgrade_headers
from greenrelay.hijack import Taken, can_take, take
from greenrelay.mailbox import Turn
from greenrelay.node import Node
from greenrelay.origins import OriginPolicy, Verdict
from greenrelay.pid import PID
from greenrelay.session import Session
from greenrelay.websocket import WebSocketSession
from greenrelay.wheel import TimerWheel
from greenrelay.wire import WS_RELAY_HEADER

log = logging.getLogger("greenrelay.relay")

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_WS_HEADER = WS_RELAY_HEADER.lower()


class RelayMiddleware:
    """Relay the connections that a WSGI app asks for; put it outermost.

    Args:
        app: any WSGI application.
        node: where the connections live, by default the interpreter's.
        limits: what holds where a relay header says nothing.
        origins: decides which web pages may connect; by default the app's own.
        make_turn: gives what surrounds each message of the processes that views spawn.
    """

    def __init__(
        self,
        app: WSGIApp,
        *,
        node: Node | None = None,
        limits: Limits = DEFAULT_LIMITS,
        origins: OriginPolicy | None = None,
        make_turn: Callable[[], Turn] | None = None,
    ) -> None:
        self.app = app
        self.node = default_node() if node is None else node
        self.limits = limits
        self.origins = OriginPolicy() if origins is None else origins
        self.make_turn = make_turn
        self._wheel = TimerWheel()
        self._frames = FrameCache()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        answer = _Answer(start_response)
        with on_node(self.node, self.make_turn) as spawned:
            body = self.app(environ, answer.start)
            if answer.status is None:
                body = _start_body(body)  # an app may call start_response only when it is iterated
        if answer.relay is None:
            return body
        close = getattr(body, "close", None)
        if close is not None:
            close()
        try:
            return self._relay(environ, start_response, answer)
        except RefusedError as error:
            refusal = error
            log.info("%s: %s: %s", environ.get("PATH_INFO"), refusal.status, refusal.detail)
        except ConfigurationError as error:
            refusal = RefusedError("500 Internal Server Error", "invalid relay configuration")
            log.error("%s: %s", environ.get("PATH_INFO"), error)
        self._cancel_orphan(answer.relay, spawned)
        return refuse(refusal, environ, start_response)

    # -- deciding ----------------------------------------------------------------

    def _relay(
        self, environ: dict[str, Any], start_response: Callable[..., Any], answer: _Answer
    ) -> Iterable[bytes]:
        """Turn the request into a connection, or raise what is to be answered instead."""
        config = parse_relay_header(answer.relay or "", self.limits)
        handshake = check_handshake(environ)
        self._check_origin(environ)
        if self.node.is_draining:
            raise RefusedError("503 Service Unavailable", "server is stopping")
        if not self.node.is_alive(config.target_pid):
            raise RefusedError("503 Service Unavailable", "relay target is gone")
        headers = upgrade_headers(handshake, answer.headers)
        head = encode_head("101 Switching Protocols", headers)
        if not can_take(environ):
            raise RefusedError(
                "501 Not Implemented",
                "this server's sockets can't be taken; run the app with greenrelay serve, "
                "or on gevent.pywsgi",
            )
        session = WebSocketSession(self.node, self._wheel, config, self._frames)
        taken = take(environ, start_response)
        session.connect(taken.sock, head)
        _begin(session, taken)
        return ()

    def _check_origin(self, environ: dict[str, Any]) -> None:
        if self.origins.judge(environ) is Verdict.FOREIGN:
            own = self.origins.own_origin(environ)
            shown = (
                f"{own.scheme}://{own.host}:{own.port}" if own else "unknown, its Host is malformed"
            )
            raise RefusedError(
                "403 Forbidden",
                "origin not allowed",
                detail=f"{environ.get('HTTP_ORIGIN')!r} is not allowed; this site is {shown} "
                "(behind a proxy, name it in GREENRELAY_TRUSTED_PROXIES)",
            )

    def _cancel_orphan(self, header: str, spawned: list[PID]) -> None:
        """Cancel a target that this request has spawned and that nobody is connected to."""
        try:
            target = PID.parse(simplejson.loads(header)["target_pid"])
        except (ValueError, LookupError, TypeError):  # no target, so no orphan
            return
        if target in spawned and not any(
            isinstance(watcher, Session) for watcher in self.node.topology.watchers(target)
        ):
            self.node.cancel(target, reason="relay refused")


def _begin(session: Session, taken: Taken) -> None:
    """Join now; let the loop do the rest when the request has ended."""
    session.join()
    gevent.get_hub().loop.run_callback(session.begin, taken.early)
    if taken.must_wait:
        closed = gevent.event.Event()
        session.transport.on_closed = closed.set
        closed.wait()


def refuse(
    refusal: RefusedError, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answer a request with a refusal: one line of text."""
    body = (refusal.body + "\n").encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        *refusal.headers,
    ]
    start_response(refusal.status, headers)
    return () if environ.get("REQUEST_METHOD") == "HEAD" else (body,)


class _Answer:
    """What the app answers: passed on, unless it asks for a relay."""

    def __init__(self, start_response: Callable[..., Any]) -> None:
        self._start_response = start_response
        self.status: str | None = None
        self.headers: Headers = []
        self.relay: str | None = None
        """The relay header's value, when the response is withheld."""

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[..., Any]:
        """Stand in for the server's `start_response`."""
        self.status = status
        self.headers = [(name, value) for name, value in headers if name.lower() != _WS_HEADER]
        values = [value for name, value in headers if name.lower() == _WS_HEADER]
        if values and status.startswith("2"):
            self.relay = values[-1]
            return _drop
        self.relay = None
        if exc_info is not None:
            return self._start_response(status, self.headers, exc_info)  # type: ignore[no-any-return]  # WSGI
        return self._start_response(status, self.headers)  # type: ignore[no-any-return]  # WSGI


def _drop(data: bytes) -> None:
    """Take the body of a withheld response."""


def _start_body(body: Iterable[bytes]) -> Iterable[bytes]:
    """Take the first chunk, which makes a lazy app call start_response."""
    chunks = iter(body)
    first = list(itertools.islice(chunks, 1))
    started = itertools.chain(first, chunks)
    close = getattr(body, "close", None)
    return started if close is None else ClosingIterator(started, close)
