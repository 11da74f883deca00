"""The Flask extension: `GreenRelay(app)` wraps the app and reads its configuration.

    app = Flask(__name__)
    relay = GreenRelay(app)

    @app.get("/ws")
    def ws():
        return relay.websocket(process.spawn(room))

It keeps no app on itself: one object may serve several apps, and what belongs to
an app is in `app.extensions["greenrelay"]`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, overload

from flask import Flask, Response, current_app, has_app_context, has_request_context, request
from werkzeug.datastructures import Headers
from werkzeug.local import LocalProxy

from greenrelay.errors import ClientGone, ClusterError, ConfigurationError
from greenrelay.fields import EventStreamFields, WebSocketFields
from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.interpreter import default_node, this_interpreter
from greenrelay.processes.node import Node
from greenrelay.processes.registry import Scope
from greenrelay.processes.spawning import Options, Parameters, spawn_in
from greenrelay.protocol.handshake import refusal_body, refusal_headers
from greenrelay.protocol.refusals import BAD_CONFIGURATION, NO_CLUSTER
from greenrelay.relay.config import EVENT_STREAM, WEBSOCKET, RelayKind
from greenrelay.relay.header import write_header
from greenrelay.web.appcontext import AppTurn
from greenrelay.web.direct import STREAM_KEY
from greenrelay.web.middleware import REJECTED_KEY, RelayMiddleware
from greenrelay.web.quota import Quota
from greenrelay.web.routing import accept_upgrades
from greenrelay.web.settings import read_settings
from greenrelay.wire import HOST_PROCESS

if TYPE_CHECKING:  # as in `processes.spawning`
    from typing_extensions import Unpack

    from greenrelay.processes.spawning import Arguments

log = logging.getLogger("greenrelay.relay")

_RELAY_HEADERS = (WEBSOCKET.header, EVENT_STREAM.header)


class GreenRelay:
    """Relays for a Flask app.

    Args:
        app: the app, or none, and `init_app(app)` later.
        node: where its connections and processes live; by default the node named in
            `GREENRELAY_NODE`, else the interpreter's own.
    """

    def __init__(self, app: Flask | None = None, *, node: Node | None = None) -> None:
        self._node = node
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Wrap `app.wsgi_app` with the relay middleware.

        Call it after every other middleware is in place: the relay must be outermost.

        Raises:
            ConfigurationError: a `GREENRELAY_*` key is unknown or malformed, or the app
                is wrapped already.
        """
        if "greenrelay" in app.extensions:
            raise ConfigurationError("this app has a GreenRelay already; call init_app() once")
        settings = read_settings(app)
        node = self._node
        if node is None:
            node = default_node(settings["GREENRELAY_NODE"])
        middleware = RelayMiddleware(
            app.wsgi_app,
            node=node,
            routers=settings["GREENRELAY_ROUTERS"],
            origins=settings["GREENRELAY_ALLOWED_ORIGINS"],
            trusted_proxies=settings["GREENRELAY_TRUSTED_PROXIES"],
            quota=Quota(
                settings["GREENRELAY_MAX_CONNECTIONS"],
                settings["GREENRELAY_MAX_CONNECTIONS_PER_ADDRESS"],
            ),
            drain_seconds=settings["GREENRELAY_DRAIN_SECONDS"],
            cluster=settings["GREENRELAY_CLUSTER"],
            make_turn=lambda: AppTurn(app),
        )
        app.extensions["greenrelay"] = middleware
        accept_upgrades(app)
        for error, handle in _HANDLERS:
            if error not in app.error_handler_spec[None][None]:
                app.register_error_handler(error, handle)
        is_chosen = self._node is not None or settings["GREENRELAY_NODE"] is not None
        _tell_sharing(app, this_interpreter().share_node(app, node, is_chosen))
        app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's documentation does

    @property
    def node(self) -> Node:
        """The current app's node."""
        return _middleware(current_app).node

    def websocket(self, target: str, **fields: Unpack[WebSocketFields]) -> Response:
        """Return the response that turns this request into a WebSocket.

        Args:
            target: PID of the process that receives the messages.
            fields: further fields of the relay header: `message_topic`, `metadata`,
                `heartbeat_interval="30s"`, `dialect`, `max_message_size`, …

        Raises:
            ConfigurationError: a field is unknown or malformed; the text says what to write.
        """
        return _answer(WEBSOCKET, {"target_pid": target, **fields})

    def sse(self, target: str | None = None, **fields: Unpack[EventStreamFields]) -> Response:
        """Return the response that turns this request into an event stream.

        Args:
            target: PID of the process that is told of the stream and with which it ends;
                none: the stream is detached, and its first event, `ready`, names its PID.
            fields: further fields of the relay header: `message_topic`, `metadata`,
                `heartbeat_interval="30s"`, `idle_timeout`, `hard_timeout`, `retry`, …

        Raises:
            ConfigurationError: a field is unknown or malformed; the text says what to write.
        """
        values: dict[str, Any] = {**fields}
        if target is not None:
            values["target_pid"] = target
        return _answer(EVENT_STREAM, values)

    # As process.spawn(), and `app`. No type says that: `Concatenate` adds no keyword to another
    # function's parameters, so that the overloads stand here once more.
    @overload
    def spawn(
        self,
        target: str,
        *args: Any,
        app: Flask | None = ...,
        host: str = ...,
        name: str | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        scope: Scope = ...,
        **kwargs: Any,
    ) -> PID: ...

    @overload
    def spawn(
        self,
        target: Callable[[Unpack[Arguments]], object],
        *args: Unpack[Arguments],
        app: Flask | None = ...,
        host: str = ...,
        name: str | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        scope: Scope = ...,
    ) -> PID: ...

    @overload
    def spawn(
        self,
        target: Callable[Parameters, object],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> PID: ...

    def spawn(  # type: ignore[misc]  # the target's parameters may have the options' names
        self,
        target: Callable[..., Any] | str,
        *args: Any,
        app: Flask | None = None,
        host: str = HOST_PROCESS,
        name: str | None = None,
        link: bool = False,
        monitor: bool = False,
        scope: Scope = "cluster",
        **kwargs: Any,
    ) -> PID:
        """Start a process that runs in the app's context; see `process.spawn()`.

        Args:
            app: whose context; by default the current app's.

        Raises:
            ConfigurationError: there is no current app, or it has no `GreenRelay`.
        """
        flask_app = _real_app(app)
        node, turn = _middleware(flask_app).node, AppTurn(flask_app)
        options = Options(host, name, link, monitor, scope)
        return spawn_in(node, turn, (target, args, kwargs), options)[0]


class RelayResponse(Response):
    """What asks for a relay: it has no body, and no other headers to be set right."""

    def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
        """Return the headers as they are; one that was made an answer of another kind as ever."""
        if self.status_code == 200:
            for name, _ in self.headers:
                if name in _RELAY_HEADERS:
                    if not self.response:  # for the client, where no router takes it
                        self.headers.setdefault("Content-Length", "0")
                    return self.headers
        return super().get_wsgi_headers(environ)


def _tell_sharing(app: Flask, others: list[Flask]) -> None:
    """Tell of apps on one node that nobody has chosen for all of them."""
    if others:
        log_now(
            log,
            logging.WARNING,
            "the apps %r and %r share one node: names, groups and processes of one are the "
            "other's too; write GreenRelay(app, node=Node('…')) to part them, or give both the "
            "same node or GREENRELAY_NODE to let them meet",
            others[0].name,
            app.name,
        )


def _end_view(error: ClientGone) -> str:
    """End a view that `write_event()` has told of its client's leaving: that is no failure."""
    return ""


def _report(error: ConfigurationError) -> Response:
    """Answer for a view that has asked for a relay whose fields are malformed."""
    if current_app.testing or current_app.debug:
        raise error  # whoever wrote it is looking
    log_now(log, logging.ERROR, "%r: %s", request.path, error)
    return Response(refusal_body(BAD_CONFIGURATION.error()), 500, mimetype="text/plain")


def _put_off(error: ClusterError) -> Response:
    """Answer for a view that needs what the cluster can't tell just now: come again."""
    log_now(log, logging.WARNING, "%r: %s", request.path, error)
    refusal = NO_CLUSTER.error()
    return Response(refusal_body(refusal), 503, refusal_headers(refusal))


_HANDLERS: Final[tuple[tuple[type[Exception], Callable[[Any], Any]], ...]] = (
    (ClientGone, _end_view),
    (ConfigurationError, _report),
    (ClusterError, _put_off),
)
"""For errors of ours that a view does not catch, unless the app has handlers of its own."""


def _answer(kind: RelayKind, values: dict[str, Any]) -> Response:
    """Return the response that asks for a relay."""
    _require_wrapped()
    try:
        return RelayResponse(headers={kind.header: write_header(values, kind)})
    except (TypeError, ValueError, RecursionError) as error:
        if has_request_context():
            request.environ[REJECTED_KEY] = values.get("target_pid")
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"{kind.header}: {error}; send what JSON has, or str() of it"
        ) from None


def _require_wrapped() -> None:
    """Raise `ConfigurationError` where nobody would read the header but the client."""
    if not has_request_context() or "greenrelay" in current_app.extensions:
        return
    if STREAM_KEY not in request.environ:  # else a RelayMiddleware is around all of it
        raise ConfigurationError(
            f"{current_app.name!r} is not wrapped: the relay's header, and the PID in it, would "
            "go out to the client; call GreenRelay(app), or relay.init_app(app), where the app "
            "is made"
        )


def _middleware(app: Any) -> RelayMiddleware:
    middleware = app.extensions.get("greenrelay")
    if not isinstance(middleware, RelayMiddleware):
        raise ConfigurationError(f"{app.name!r} has no GreenRelay; call GreenRelay(app) first")
    return middleware


def _real_app(app: Flask | None) -> Flask:
    """Return the app itself, also for `current_app`, which means nothing in another process."""
    if app is None and not has_app_context():
        raise ConfigurationError(
            "there is no current app here: name it, as in relay.spawn(function, app=app)"
        )
    real: Any = current_app if app is None else app
    flask_app: Flask = real._get_current_object() if isinstance(real, LocalProxy) else real
    return flask_app
