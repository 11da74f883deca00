"""One client of our server: relays take its socket, older views use it as `wsgi.websocket`.

    take         a relay's way to the socket; the request ends without an answer from here
    _upgrade     `wsgi.websocket` is used: the 101 is the answer, the app's own is not sent
    _is_bypassed the view has sent on the socket itself: nothing is sent here

What would go out by mistake does not: a relay's header that no middleware has taken, or HTTP
behind somebody's upgrade. All methods are pywsgi's seams, or called by one: see `guarded`.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import gevent
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import Client

from greenrelay.errors import RefusedError
from greenrelay.processes.fairness import Rotation
from greenrelay.protocol.handshake import (
    SWITCHING,
    encode_head,
    encode_refusal,
    refusal_body,
    refusal_headers,
    upgrade_headers,
)
from greenrelay.serving.answer import (
    UNWRAPPED,
    drop_relay_headers,
    find_relay_header,
)
from greenrelay.serving.body import RequestBody
from greenrelay.serving.bypass import Bypass
from greenrelay.serving.closing import await_client_close
from greenrelay.serving.exchange import Exchange
from greenrelay.serving.guarded import GuardedHandler, GuardedServer
from greenrelay.serving.legacy import LegacyRefused, LegacyWebSocket
from greenrelay.web.middleware import find_rule
from greenrelay.web.opening import read_opening
from greenrelay.web.servers import SOCKET_KEY, OwnSocket
from greenrelay.web.taking import Taken, take_file
from greenrelay.wire import CLOSE_INTERNAL_ERROR, CLOSE_TIMEOUT_SECONDS

log = logging.getLogger("greenrelay.server")


class HandlerServer(GuardedServer, Protocol):
    """What a client that may become a relay's or a view's asks of the server."""

    application: Any
    rotation: Rotation
    clients: dict[Any, Client]

    def add_websocket(self, address: Any, websocket: LegacyWebSocket) -> None:
        """Note that a view serves this client as `wsgi.websocket`."""

    def remove_websocket(self, address: Any) -> None:
        """Note that the view of this client has returned."""

    def tell_unwrapped(self, path: str | None, header: str) -> None:
        """Log that an app without a relay around it asks for one."""


class RelayHandler(GuardedHandler):
    """One client of the server, whose socket may become a relay's or a view's."""

    server: HandlerServer

    taken: Taken | None = None
    """The connection, when a relay has taken it."""

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ, with the way to take the socket in it."""
        environ = super().get_environ()
        environ[SOCKET_KEY] = OwnSocket(self)
        if self.body is None:
            websocket = self._legacy_websocket(environ)
            self._exchange = Exchange(None, websocket, Bypass(self.socket, self._has_sent))
            environ["wsgi.websocket"] = websocket
            environ["wsgi.websocket_version"] = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        return environ

    def _legacy_websocket(self, environ: dict[str, Any]) -> LegacyWebSocket:
        return LegacyWebSocket(environ, self, lambda: self._upgrade(environ))

    def _upgrade(self, environ: dict[str, Any]) -> int:
        """Switch protocols for a view that uses `wsgi.websocket`.

        Returns:
            The bytes that one message may have; 0 is off.

        Raises:
            WebSocketError: the request was refused, and has its answer.
        """
        self.close_connection = True
        rule = find_rule(self.server.application, environ.get("PATH_INFO", ""))
        opening = read_opening(environ)
        try:
            handshake = opening.require_handshake()
            opening.check_origin(rule.origins)
        except RefusedError as refusal:
            self._sendall(encode_refusal(refusal))
            status = refusal.status
        else:
            status = SWITCHING
            self._sendall(encode_head(status, upgrade_headers(handshake, ())))
            websocket = self._exchange.websocket
            assert websocket is not None  # it is what the view uses
            self.server.add_websocket(self.client_address, websocket)
        # What the view answers besides is dropped, as gevent-websocket does.
        self.mark_answered(status)
        if status != SWITCHING:
            raise LegacyRefused
        return rule.limits.max_message_size

    @property
    def body(self) -> RequestBody | None:
        """The request's body; `None` behind a handshake."""
        return self._exchange.body

    def mark_answered(self, status: str) -> None:
        """Act as if the head had been sent: somebody else has done so, or nobody is there."""
        self.status, self._orig_status = status.encode(), status
        self.headers_sent, self.response_headers = True, []

    @property
    def active_client(self) -> Client:
        """This connection's entry in `server.clients`; gevent-websocket's name."""
        return self.server.clients[self.client_address]

    @property
    def rotation(self) -> Rotation:
        """The turns of views that serve a `wsgi.websocket`."""
        return self.server.rotation

    @property
    def logger(self) -> logging.Logger:
        """Where gevent-websocket's objects log."""
        return log

    def run_application(self) -> None:
        """Run the app; a WebSocket that it used is closed and forgotten when it returns."""
        try:
            super().run_application()
        finally:
            self.server.remove_websocket(self.client_address)
        if self.status is None and self.taken is None:
            self._end_unanswered()

    def _end_unanswered(self, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Let no request follow: the view has answered past the server, or not at all."""
        self.close_connection = True
        if self._exchange.websocket is not None:
            self._orig_status = SWITCHING
            await_client_close(self.socket, seconds)

    def _is_bypassed(self) -> bool:
        """Tell whether the view has answered on a duplicate of an upgrade request's socket."""
        is_ours_to_answer = not self.headers_sent and self.taken is None
        return is_ours_to_answer and self._exchange.is_bypassed()

    def _answered_websocket(self) -> LegacyWebSocket | None:
        """Return the WebSocket that is the answer of an upgrade request, once there is one."""
        return self._exchange.websocket if self.headers_sent else None

    def _send_error_response_if_possible(self, error_code: int) -> None:
        if self.taken is not None:
            return  # the client is the relay's, and gets its answer there
        websocket = self._answered_websocket()
        if self._is_bypassed():
            self._end_unanswered()
        elif websocket is not None:
            websocket.close(CLOSE_INTERNAL_ERROR, "internal error")
            self.close_connection = True
        else:
            super()._send_error_response_if_possible(error_code)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Begin the response, unless a WebSocket has been it."""
        if self._answered_websocket() is not None:
            return lambda data: None
        return super().start_response(status, headers, exc_info)

    def write(self, data: bytes) -> None:
        """Send a piece of the response's body, unless the client has got another answer."""
        if not self._exchange.drops_answer:
            super().write(data)

    def _write_with_headers(self, data: bytes) -> None:
        """Send the head and the first of the body, unless they must not go out."""
        if self._is_bypassed():
            self._exchange.drop_answer()
            return
        is_refused = self._exchange.fault is not None
        header = None if is_refused else find_relay_header(self.response_headers)
        if header is not None:
            self.server.tell_unwrapped(self.environ.get("PATH_INFO"), header)
            data = self._withhold_relay(data)
        super()._write_with_headers(data)

    def _withhold_relay(self, data: bytes) -> bytes:
        """Keep a relay's header from the client; return the first piece of what it gets."""
        if self.code // 100 != 2:  # an answer that asks for no relay
            self.response_headers = drop_relay_headers(self.response_headers)
            return data
        self.start_response(UNWRAPPED.status, refusal_headers(UNWRAPPED))
        self._exchange.drop_answer()
        return b"" if self.command == "HEAD" else refusal_body(UNWRAPPED)

    def process_result(self) -> None:
        """Send the response's body, unless a WebSocket has been it."""
        websocket = self._answered_websocket()
        if websocket is not None:
            websocket.close()
            return
        super().process_result()
        if self._exchange.drops_answer and not self.headers_sent:
            self._end_unanswered()

    def take(self, status: str) -> Taken:
        """Hand the socket over; this handler will not touch it again.

        Args:
            status: of the response that somebody else sends, for the access log.
        """
        taken = take_file(self.rfile)
        # With TLS, too, the request may end: it closes nothing.
        self.taken = Taken(taken.sock, taken.early) if taken.must_wait else taken
        self.socket = None
        self.close_connection = True
        self._orig_status = status
        return self.taken

    def handle_error(self, kind: Any, error: Any, trace: Any) -> None:
        """Report an app's error; that the server stops is none."""
        if isinstance(error, gevent.GreenletExit) and self._is_bypassed():
            self._end_unanswered(0)  # the server stops, and has waited for long enough
        else:
            super().handle_error(kind, error, trace)

    def _is_client_gone(self, error: OSError) -> bool:
        return isinstance(error, WebSocketError) or super()._is_client_gone(error)
