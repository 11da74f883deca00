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
from functools import partial
from typing import Any

import gevent
import gevent.event
import simplejson
from werkzeug.wsgi import ClosingIterator

from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.current import on_node
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.node import Node
from greenrelay.processes.turn import Turn
from greenrelay.protocol.frames import encode_close
from greenrelay.protocol.handshake import Headers, is_upgrade, refusal_body, refusal_headers
from greenrelay.protocol.origins import OriginPolicy
from greenrelay.relay.config import DEFAULT_LIMITS, Limits
from greenrelay.relay.session import Session
from greenrelay.web.admission import Admission, Quota
from greenrelay.web.body import BodyFault
from greenrelay.web.direct import STREAM_KEY, DirectStream
from greenrelay.web.hijack import (
    END_CONNECTION,
    Taken,
    abandon,
    adopt,
    end_connection,
    find_upgraded,
    is_test_client,
    take,
)
from greenrelay.web.mistakes import Mistakes
from greenrelay.web.routers import Router, Rule, default_router, find_router, load_routers
from greenrelay.web.scope import close_body, scoped
from greenrelay.wire import (
    BODY_TIMEOUT_SECONDS,
    DRAIN_SECONDS,
    SSE_RELAY_HEADER,
    WS_RELAY_HEADER,
)

log = logging.getLogger("greenrelay.relay")

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REJECTED_KEY = "greenrelay.rejected"
"""The target for which a view has asked for a relay with fields that are none."""

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
        body_timeout: seconds for which the body of a request that becomes a relay may not go on,
            where the server is not greenrelay's and has no time-out of its own; 0 is off.
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
        body_timeout: float = BODY_TIMEOUT_SECONDS,
    ) -> None:
        self.app = app
        self.node = default_node() if node is None else node
        self.trusted_proxies = trusted_proxies
        policy = OriginPolicy(origins, trusted_proxies)
        self.routers: list[Router] = [default_router(limits, policy)]
        self.use_routers(routers)
        self.make_turn = make_turn
        self.drain_seconds = drain_seconds
        self._admit_on = partial(Admission, quota=quota or Quota(), body_timeout=body_timeout)
        self._admission = self._admit_on(self.node)
        self._mistakes = Mistakes()

    def move(self, node: Node) -> None:
        """Let all further connections live on another node, perhaps of another thread's loop.

        What the connections so far have shared, their timer wheel above all, stays with them.
        """
        self.node = node
        self._admission = self._admit_on(node)

    def note_workers(self, is_told: bool = False) -> None:
        """Say once that the processes of several workers can't reach each other.

        Args:
            is_told: another worker says it.
        """
        self._mistakes.tell_workers(is_told)

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
            self._mistakes.tell_refusal(environ.get("PATH_INFO"), refusal)
            return refuse(refusal, environ, start_response)
        self._mistakes.look_at_server(environ)
        stream = environ[STREAM_KEY] = DirectStream(environ, start_response)
        answer = _Answer(environ, start_response, stream, router)
        scope = on_node(self.node, self.make_turn)
        with scope as started:
            try:
                body = self.app(environ, answer.start)
                if answer.status is None and not stream.is_open:
                    # An app may call start_response only when it is iterated.
                    body = _start_body(body, answer)
            finally:
                if REJECTED_KEY in environ and not answer.is_good:
                    self._cancel_orphan(environ[REJECTED_KEY], started)
            if answer.relay is not None or stream.is_open:
                close_body(body)
        if answer.relay is not None:
            return self._relay(environ, start_response, answer, started)
        # What write_event() has sent has been the response.
        return () if stream.is_open else scoped(body, environ, scope)

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
        started: list[PID],
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
            self._mistakes.tell_refusal(environ.get("PATH_INFO"), refusal)
        except ConfigurationError as error:
            refusal = RefusedError("500 Internal Server Error", "invalid relay configuration")
            _log(logging.ERROR, environ, error)
        except BaseException as error:  # while the request's body was still arriving
            self._cancel_orphan(named_target(answer.relay[1]), started)
            if not isinstance(error, OSError) or isinstance(error, BodyFault):
                raise
            _log(logging.INFO, environ, "the client left in the middle of it")
            abandon(environ, start_response)
            return ()
        else:
            try:
                taken = take(environ, start_response, status)
            except BaseException:
                self._admission.withdraw(session)
                self._cancel_orphan(named_target(answer.relay[1]), started)
                raise
            if environ.get("wsgi.multiprocess"):
                self.note_workers()
            connect(taken.sock)
            _begin(session, taken)
            if taken.must_stop:
                raise StopIteration  # gunicorn's way to end a request without an answer
            return ()
        self._cancel_orphan(named_target(answer.relay[1]), started)
        return refuse(refusal, environ, start_response)

    def _cancel_orphan(self, target: Any, started: list[PID]) -> None:
        """Cancel a target that this request has started and that nobody is connected to."""
        if target not in started:
            return
        watchers = self.node.topology.watchers(target)
        if not any(isinstance(watcher, Session) for watcher in watchers):
            self.node.cancel(target, reason="relay refused")


def _log(level: int, environ: dict[str, Any], what: object) -> None:
    log_now(log, level, "%r: %s", environ.get("PATH_INFO"), what)


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
    if refusal.headers == END_CONNECTION:
        end_connection(start_response)
    elif refusal.status[:3] in ("426", "501") and is_test_client(environ):
        refusal = _explain_testing(refusal, environ)
    body, headers = refusal_body(refusal), refusal_headers(refusal)
    if refusal.status.startswith("2"):  # an event stream that ends at once, with its own headers
        body, headers = refusal.body.encode(), list(refusal.headers)
    start_response(refusal.status, headers)
    return () if environ.get("REQUEST_METHOD") == "HEAD" else (body,)


def _explain_testing(refusal: RefusedError, environ: dict[str, Any]) -> RefusedError:
    """Return a refusal that tells how a relay is tested, as a test client can't."""
    connect = (
        "connect_ws" if refusal.status.startswith("426") or is_upgrade(environ) else "connect_sse"
    )
    text = (
        f"{refusal.body}; this is a test client, which has no socket: with greenrelay.testing it "
        f"is relay_server(app).{connect}({environ.get('PATH_INFO', '/')!r})"
    )
    return RefusedError(refusal.status, text, refusal.headers)


class _Answer:
    """What the app answers: passed on, unless it asks for a relay."""

    def __init__(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        stream: DirectStream,
        router: Router | None,
    ) -> None:
        self._environ = environ
        self._start_response = start_response
        self._stream = stream
        self.router = router
        self.status: str | None = None
        self.headers: Headers = []
        self.relay: tuple[str, str] | None = None
        """The relay header's name and value, when the response is withheld."""

    @property
    def is_good(self) -> bool:
        """Whether the app has answered, and not with an error."""
        return self.status is not None and self.status[:1] in "123"

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
            text = (
                "%r: %s is ignored: no router switches this relay on there; name it in "
                "post_middleware of one with such a prefix"
            )
            log_now(log, logging.ERROR, text, self._environ.get("PATH_INFO"), header)
        return is_on


def named_target(header: str) -> PID | None:
    """Return the target that a relay header names, if it names one; the rest may be wrong."""
    try:
        return PID.parse(simplejson.loads(header)["target_pid"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


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
