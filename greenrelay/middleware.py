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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gevent
import gevent.event
import simplejson
from werkzeug.wsgi import ClosingIterator

from greenrelay.admission import Admission, Quota
from greenrelay.config import DEFAULT_LIMITS, Limits
from greenrelay.current import default_node, on_node
from greenrelay.direct import STREAM_KEY, DirectStream
from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.frames import encode_close
from greenrelay.handshake import Headers, is_upgrade, refusal_body, refusal_headers
from greenrelay.hijack import (
    Taken,
    abandon,
    adopt,
    find_upgraded,
    is_client_gone,
    take,
)
from greenrelay.node import Node
from greenrelay.origins import OriginPolicy
from greenrelay.pid import PID
from greenrelay.routers import Router, Rule, default_router, find_router, load_routers
from greenrelay.session import Session
from greenrelay.turn import Turn
from greenrelay.wire import DRAIN_SECONDS, SSE_RELAY_HEADER, WS_RELAY_HEADER

log = logging.getLogger("greenrelay.relay")

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MISCONFIGURED_KEY = "greenrelay.misconfigured"
"""Set where a view has asked for a relay with fields that are none."""

_RELAY_HEADERS = {name.lower(): name for name in (WS_RELAY_HEADER, SSE_RELAY_HEADER)}


class RelayMiddleware:
    """Relay the connections that a WSGI app asks for; put it outermost.

    Args:
        app: any WSGI application. (Flask routes an upgrade request to rules with
            `websocket=True` only; `GreenRelay(app)` mends that, this class alone does not.)
        node: where the connections live, by default the interpreter's.
        routers: which relays a URL prefix has, a YAML file or its entries; by default
            both, everywhere.
        limits: what holds where a relay header says nothing, and no router is given.
        origins: patterns of foreign web pages that may connect, where no router is given.
        trusted_proxies: addresses or networks whose `X-Forwarded-*` are believed.
        quota: how many connections there may be.
        drain_seconds: how long clients and processes have to end when the server stops.
        make_turn: gives what surrounds each message of the processes that views spawn.
    """

    def __init__(
        self,
        app: WSGIApp,
        *,
        node: Node | None = None,
        routers: str | Sequence[Mapping[str, Any]] = (),
        limits: Limits = DEFAULT_LIMITS,
        origins: str | Sequence[str] = (),
        trusted_proxies: str | Sequence[str] = (),
        quota: Quota | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        make_turn: Callable[[], Turn] | None = None,
    ) -> None:
        self.app = app
        self.node = default_node() if node is None else node
        self.trusted_proxies = trusted_proxies
        policy = OriginPolicy(origins, trusted_proxies)
        self.routers: list[Router] = [default_router(limits, policy)]
        self.use_routers(routers)
        self.make_turn = make_turn
        self.drain_seconds = drain_seconds
        self._admission = Admission(self.node, quota or Quota())
        self.knows_workers = False
        """Whether somebody has been told what several workers mean."""

    def warn_of_workers(self) -> None:
        """Say once that the processes of several workers can't reach each other."""
        if not self.knows_workers:
            self.knows_workers = True
            log.warning(
                "this server has several workers, and each is a node by itself: a process, name "
                "or group of one is unknown in the others, so that a room is split. Nodes can't "
                "be joined in this version: run one worker, as gunicorn -w 1 does"
            )

    def use_routers(self, source: str | Sequence[Mapping[str, Any]]) -> None:
        """Replace the routers by those of a YAML file, or of such entries.

        Raises:
            ConfigurationError: names the entry and the key.
        """
        self.routers = load_routers(source, self.trusted_proxies) or self.routers

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        self.node.settle_here()
        router = find_router(self.routers, environ.get("PATH_INFO", ""))
        try:
            self._check_first(environ, router)
        except RefusedError as refusal:
            log.info("%s: %s: %s", environ.get("PATH_INFO"), refusal.status, refusal.detail)
            return refuse(refusal, environ, start_response)
        stream = environ[STREAM_KEY] = DirectStream(environ, start_response)
        answer = _Answer(start_response, stream, router)
        with on_node(self.node, self.make_turn) as spawned:
            body = self.app(environ, answer.start)
            if answer.status is None and not stream.is_open:
                # An app may call start_response only when it is iterated.
                body = _start_body(body, answer)
        if environ.get(MISCONFIGURED_KEY):
            self._cancel_orphans(spawned)
        if answer.relay is None and not stream.is_open:
            return body
        close = getattr(body, "close", None)
        if close is not None:
            close()
        if answer.relay is None:
            return ()  # write_event() has been the response
        return self._relay(environ, start_response, answer, spawned)

    def _check_first(self, environ: dict[str, Any], router: Router | None) -> None:
        """Under a configured router, look at handshake and origin before the handler runs."""
        if router is None:
            return
        rules = router.rules
        if WS_RELAY_HEADER in rules and is_upgrade(environ):
            header = WS_RELAY_HEADER
        elif len(rules) == 1 and router.prefix:
            (header,) = rules
        else:
            # Perhaps an ordinary page: under both relays, or under "/", nothing is meant for
            # one relay alone. The handler's answer will tell.
            return
        if rules[header].is_checked_first:
            self._admission.check_first(environ, header, rules[header])

    def _relay(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        answer: _Answer,
        spawned: list[PID],
    ) -> Iterable[bytes]:
        """Turn the request into a connection, or answer with what stands against it."""
        assert answer.relay is not None  # the caller has looked
        assert answer.router is not None  # else there would be no relay
        rule = answer.router.rules[answer.relay[0]]
        try:
            session, status, connect = self._admission.admit(
                environ, answer.relay, rule, answer.headers
            )
        except RefusedError as error:
            refusal = error
            log.info("%s: %s: %s", environ.get("PATH_INFO"), refusal.status, refusal.detail)
        except ConfigurationError as error:
            refusal = RefusedError("500 Internal Server Error", "invalid relay configuration")
            log.error("%s: %s", environ.get("PATH_INFO"), error)
        else:
            try:
                taken = take(environ, start_response, status)
            except BaseException as error:  # the rest of a body may be malformed, or break off
                self._admission.withdraw(session)
                self._cancel_orphan(answer.relay[1], spawned)
                if not isinstance(error, OSError) or not is_client_gone(environ):
                    raise
                log.info("%s: the client left in the middle of it", environ.get("PATH_INFO"))
                abandon(environ, start_response)
                return ()
            if environ.get("wsgi.multiprocess"):
                self.warn_of_workers()
            connect(taken.sock)
            _begin(session, taken)
            if taken.must_stop:
                raise StopIteration  # gunicorn's way to end a request without an answer
            return ()
        self._cancel_orphan(answer.relay[1], spawned)
        return refuse(refusal, environ, start_response)

    def _cancel_orphan(self, header: str, spawned: list[PID]) -> None:
        """Cancel a target that this request has spawned and that nobody is connected to."""
        try:
            target = PID.parse(simplejson.loads(header)["target_pid"])
        except (ValueError, LookupError, TypeError):  # no target, so no orphan
            return
        if target in spawned:
            self._cancel_orphans([target])

    def _cancel_orphans(self, spawned: list[PID]) -> None:
        """Cancel processes that nobody is connected to."""
        for pid in spawned:
            watchers = self.node.topology.watchers(pid)
            if not any(isinstance(watcher, Session) for watcher in watchers):
                self.node.cancel(pid, reason="relay refused")


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
    """Answer a request with a refusal: one line of text, or a close frame if it is upgraded."""
    upgraded = find_upgraded(environ)
    if upgraded is not None:
        upgraded.handler.socket.sendall(encode_close(refusal.close_code, refusal.body))
        adopt(upgraded)
        return ()
    body, headers = refusal_body(refusal), refusal_headers(refusal)
    if refusal.status.startswith("2"):  # an event stream that ends at once, with its own headers
        body, headers = refusal.body.encode(), list(refusal.headers)
    start_response(refusal.status, headers)
    return () if environ.get("REQUEST_METHOD") == "HEAD" else (body,)


class _Answer:
    """What the app answers: passed on, unless it asks for a relay."""

    def __init__(
        self, start_response: Callable[..., Any], stream: DirectStream, router: Router | None
    ) -> None:
        self._start_response = start_response
        self._stream = stream
        self.router = router
        self.status: str | None = None
        self.headers: Headers = []
        self.relay: tuple[str, str] | None = None
        """The relay header's name and value, when the response is withheld."""

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[..., Any]:
        """Stand in for the server's `start_response`."""
        self.status = status
        self.headers = [item for item in headers if item[0].lower() not in _RELAY_HEADERS]
        self.relay = None
        if self._stream.is_open:
            return _drop
        for name, value in headers:
            header = _RELAY_HEADERS.get(name.lower())
            if header is not None and status.startswith("2") and self._is_on(header):
                self.relay = header, value
                return _drop
        self._stream.close_door()
        if exc_info is not None:
            return self._start_response(status, self.headers, exc_info)  # type: ignore[no-any-return]  # WSGI
        return self._start_response(status, self.headers)  # type: ignore[no-any-return]  # WSGI

    def _is_on(self, header: str) -> bool:
        is_on = self.router is not None and header in self.router.rules
        if not is_on:
            log.error("%s is ignored: no router switches this relay on for the URL", header)
        return is_on


def _drop(data: bytes) -> None:
    """Take the body of a withheld response."""


def _start_body(body: Iterable[bytes], answer: _Answer) -> Iterable[bytes]:
    """Take the first chunks, until a lazy app has called start_response."""
    chunks = iter(body)
    first = []
    for chunk in chunks:
        first.append(chunk)
        if answer.status is not None:
            break
    started = itertools.chain(first, chunks)
    close = getattr(body, "close", None)
    return started if close is None else ClosingIterator(started, close)


def find_middleware(application: Any) -> RelayMiddleware | None:
    """Return the relay middleware of a WSGI app, `None` if it has none."""
    extensions = getattr(application, "extensions", {})
    middleware = extensions.get("greenrelay", application)
    return middleware if isinstance(middleware, RelayMiddleware) else None


def find_node(application: Any) -> Node:
    """Return the node on which an app's connections live."""
    middleware = find_middleware(application)
    return default_node() if middleware is None else middleware.node


def find_rule(application: Any, environ: dict[str, Any]) -> Rule:
    """Return the limits and origins that hold for a WebSocket request."""
    middleware = find_middleware(application)
    if middleware is not None:
        router = find_router(middleware.routers, environ.get("PATH_INFO", ""))
        if router is not None and WS_RELAY_HEADER in router.rules:
            return router.rules[WS_RELAY_HEADER]
    return Rule(DEFAULT_LIMITS, OriginPolicy(), is_checked_first=False)
