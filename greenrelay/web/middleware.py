"""The WSGI middleware: a response header in, a connection out.

    environ ─► door: opening ─► route ─► app(environ) ─► header? ─ no ─► the response goes its way
                                                            │ yes: the response is withheld,
                                                            ▼      the request ends
       the loop: session.begin() ◄─ join ◄─ take the socket ◄─ admission

Each of them passes the request on, or refuses it with a status of its own; none sees it twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import gevent
import gevent.event
import simplejson

from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.current import on_node
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.node import Node
from greenrelay.processes.turn import Turn
from greenrelay.protocol.origins import OriginPolicy
from greenrelay.protocol.refusals import BAD_CONFIGURATION
from greenrelay.relay.config import DEFAULT_LIMITS, Limits
from greenrelay.relay.session import Session
from greenrelay.web.admission import Admission, Admitted, RelayRequest
from greenrelay.web.answer import Answer, refuse
from greenrelay.web.direct import STREAM_KEY, DirectStream
from greenrelay.web.membership import Membership
from greenrelay.web.mistakes import Mistakes
from greenrelay.web.opening import Opening, read_opening
from greenrelay.web.quota import Quota
from greenrelay.web.routers import Router, Rule, default_router, find_router, load_routers
from greenrelay.web.scope import close_body, scoped
from greenrelay.web.taking import BodyFault, Taken
from greenrelay.wire import BODY_TIMEOUT_SECONDS, DRAIN_SECONDS, WS_RELAY_HEADER

log = logging.getLogger("greenrelay.relay")

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REJECTED_KEY = "greenrelay.rejected"
"""The target for which a view has asked for a relay whose fields are malformed."""


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
        cluster: URL of the cluster that its server's node joins; `""`: none, whatever else says
            so; by default what the server was told.
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
        cluster: str | None = None,
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
        self.use_cluster(cluster)
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
        """Say once that the processes of several workers can't reach each other, if that is so.

        Args:
            is_told: another worker says it.
        """
        self._mistakes.tell_workers(is_told or self.node.table.elsewhere is not None)

    def use_cluster(self, url: str | None) -> None:
        """Name the cluster that the node joins; see the argument `cluster`."""
        self.cluster = url
        self.membership = Membership(url) if url else None
        """What makes the node a member, with its first request if its server does not."""

    def note_test(self) -> None:
        """Say nothing of a standard library that is not monkey-patched: a test serves the app."""
        self._mistakes.note_test()

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
        if self.membership is not None:
            self.membership.require(self.node)
        opening = read_opening(environ, start_response)
        router = find_router(self.routers, opening.path)
        try:
            if router is not None:
                router.check_first(opening)
        except RefusedError as refusal:
            return self._refuse(refusal, opening, start_response)
        self._mistakes.look_at_server(opening.socket)
        stream = environ[STREAM_KEY] = DirectStream(opening, start_response)
        answer = Answer(opening.path, start_response, stream, router)
        scope = on_node(self.node, self.make_turn)
        with scope as started:
            try:
                body = self.app(environ, answer.start)
                if not answer.has_begun:
                    body = answer.start_body(body)
            finally:
                if REJECTED_KEY in environ and not answer.is_good:
                    self._cancel_unused_target(environ[REJECTED_KEY], started)
            if answer.relay is not None or stream.is_open:
                close_body(body)
        if answer.relay is not None:
            opening = opening.restated(environ)
            return self._relay(opening, start_response, answer.relay, started)
        # What write_event() has sent has been the response.
        return () if stream.is_open else scoped(body, environ.get("wsgi.file_wrapper"), scope)

    def _relay(
        self,
        opening: Opening,
        start_response: Callable[..., Any],
        relay: RelayRequest,
        started: list[PID],
    ) -> Iterable[bytes]:
        """Turn the request into a connection, or answer with what stands against it."""
        try:
            admitted = self._admission.admit(opening, relay)
        except (RefusedError, ConfigurationError) as error:
            self._cancel_unused_target(named_target(relay.value), started)
            return self._refuse(error, opening, start_response)
        except BaseException as error:  # while the request's body was still arriving
            self._cancel_unused_target(named_target(relay.value), started)
            if not isinstance(error, OSError) or isinstance(error, BodyFault):
                raise
            _log(logging.INFO, opening, "the client left in the middle of it")
            opening.socket.abandon()
            return ()
        try:
            taken = opening.socket.take(admitted.status)
        except BaseException:
            self._admission.withdraw(admitted)
            self._cancel_unused_target(named_target(relay.value), started)
            raise
        if opening.is_multiprocess:
            self.note_workers()
        return _begin(admitted, taken)

    def _refuse(
        self,
        error: RefusedError | ConfigurationError,
        opening: Opening,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """Tell the operator all that stands against a relay, and the client what it may know."""
        if isinstance(error, RefusedError):
            self._mistakes.tell_refusal(opening.path, error)
            return refuse(error, opening, start_response)
        _log(logging.ERROR, opening, error)
        return refuse(BAD_CONFIGURATION.error(), opening, start_response)

    def _cancel_unused_target(self, target: Any, started: list[PID]) -> None:
        """Cancel a target that this request has started and that nobody is connected to."""
        if target not in started:
            return
        watchers = self.node.watchers(target)
        if not any(isinstance(watcher, Session) for watcher in watchers):
            self.node.cancel(target, reason="relay refused")


def _log(level: int, opening: Opening, what: object) -> None:
    log_now(log, level, "%r: %s", opening.path, what)


def _begin(admitted: Admitted, taken: Taken) -> Iterable[bytes]:
    """Join now; let the loop do the rest when the request has ended."""
    admitted.connect(taken.sock)
    session = admitted.session
    session.join()
    gevent.get_hub().loop.run_callback(session.begin, taken.early)
    if taken.must_wait:
        closed = gevent.event.Event()
        session.transport.when_closed(closed.set)
        closed.wait()
    if taken.must_stop:
        raise StopIteration  # gunicorn's way to end a request without an answer
    return ()


def named_target(header: str) -> PID | None:
    """Return the target that a relay header names, if it names one; the rest may be wrong."""
    try:
        return PID.parse(simplejson.loads(header)["target_pid"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def find_middleware(application: Any) -> RelayMiddleware | None:
    """Return the relay middleware of a WSGI app, `None` if it has none."""
    # Flask's apps have extensions; of any other all that is known is that it can be called.
    extensions = getattr(application, "extensions", {})
    middleware = extensions.get("greenrelay", application)
    return middleware if isinstance(middleware, RelayMiddleware) else None


def find_node(application: Any) -> Node:
    """Return the node on which an app's connections live."""
    middleware = find_middleware(application)
    return default_node() if middleware is None else middleware.node


def find_rule(application: Any, path: str) -> Rule:
    """Return the limits and origins that hold for a WebSocket request.

    Args:
        path: its, as `PATH_INFO` has it.
    """
    middleware = find_middleware(application)
    if middleware is not None:
        router = find_router(middleware.routers, path)
        if router is not None and WS_RELAY_HEADER in router.rules:
            return router.rules[WS_RELAY_HEADER]
    return Rule(DEFAULT_LIMITS, OriginPolicy(), is_checked_first=False)
