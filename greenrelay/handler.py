"""One client of our server: gevent's WSGI handler with the guards it lacks.

A request head has a deadline and a size, and is checked before pywsgi parses it; a
client that resets costs one line of log at most; a relay takes the socket from here,
and `wsgi.websocket` is there for views that use it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
from typing import Any

import gevent
import gevent.pywsgi
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import Client

from greenrelay.admission import SWITCHING, check_origin
from greenrelay.errors import RefusedError
from greenrelay.handshake import (
    check_handshake,
    encode_head,
    is_upgrade,
    refusal_body,
    refusal_headers,
    upgrade_headers,
)
from greenrelay.head import bad_request, check_head
from greenrelay.hijack import TAKE_KEY, Taken, has_closed, send_at_once, take_file
from greenrelay.legacy import LegacyRefused, LegacyWebSocket, see_off
from greenrelay.middleware import find_rule
from greenrelay.routers import Rule
from greenrelay.wire import CLOSE_INTERNAL_ERROR, MAX_HEAD_BYTES

log = logging.getLogger("greenrelay.server")

LINGER_SECONDS = 1.0
"""How long a refused client may go on sending, so that it reads why before a reset."""
READ_BYTES = 64 * 1024
MAX_REQUEST_LINE_BYTES = 8 * 1024
"""As pywsgi, which would answer without a word."""
MAX_HEAD_LINES = 100
"""The request line included: the standard library's parser, which pywsgi uses, takes no more."""
_TOO_LARGE = f"a request head has {MAX_HEAD_BYTES >> 10} KiB and {MAX_HEAD_LINES} lines at most"
_QUIETLY: Any = False
"""As a `gevent.Timeout`'s exception: leave the block, raise nothing."""

# pywsgi's seams are not in its type stubs.
_WSGIHandler: Any = gevent.pywsgi.WSGIHandler


class RelayHandler(_WSGIHandler):  # type: ignore[misc]  # see above
    """One client of the server, for as many requests as it keeps alive."""

    server: Any
    """The `RelayServer`."""
    socket: Any
    _orig_status: str | None
    _lines: list[bytes]
    _has_served = False
    _has_spoken = False
    _is_lost = False
    websocket: LegacyWebSocket | None = None
    """What an upgrade request's view may use as `wsgi.websocket`."""
    taken: Taken | None = None
    """The connection, when a relay has taken it."""

    def handle(self) -> None:
        """Serve the client until it or the server has enough."""
        send_at_once(self.socket)
        with contextlib.suppress(OSError):  # it went away in the middle of an answer
            super().handle()

    def handle_one_request(self) -> Any:
        """Read and check a head, then let pywsgi do the rest."""
        self.requestline = ""
        self._orig_status = None
        self.response_length = 0
        try:
            lines = self._read_head()
            if lines is None:
                return None
            self.requestline = lines[0].decode("latin-1").rstrip()
            if len(lines[0]) >= MAX_REQUEST_LINE_BYTES:
                raise RefusedError("414 URI Too Long", "a request line has 8 KiB at most")
            check_head(lines)
        except RefusedError as refusal:
            self._refuse(refusal)
            return None
        except OSError:
            return None  # reset before there was anything to answer
        self._lines = lines
        self._has_served = True
        return super().handle_one_request()

    def _read_head(self) -> list[bytes] | None:
        """Return the lines of the next head, `None` when there will be none.

        Raises:
            RefusedError: it is too late or too large.
        """
        if self._has_served and (
            self.server.closed or not self._await_byte(self.server.keep_alive)
        ):
            return None
        timeout = gevent.Timeout.start_new(self.server.head_timeout)
        try:
            return self._read_lines() if self._has_served or self._await_byte(None) else None
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise RefusedError("408 Request Timeout", "the request head took too long") from None
        finally:
            timeout.close()

    def _await_byte(self, seconds: float | None) -> bool:
        """Wait for the first byte of a head; `False`: there will be none."""
        with gevent.Timeout(seconds, _QUIETLY) as waiting:
            self.server.idle[gevent.getcurrent()] = waiting
            try:
                self._has_spoken = bool(self.rfile.peek(1))
                return self._has_spoken
            finally:
                del self.server.idle[gevent.getcurrent()]
        return False

    def _read_lines(self) -> list[bytes] | None:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self.rfile.readline(MAX_HEAD_BYTES - size + 1)
            size += len(line)
            if size > MAX_HEAD_BYTES or len(lines) > MAX_HEAD_LINES:
                raise RefusedError("431 Request Header Fields Too Large", _TOO_LARGE)
            if not line.endswith(b"\n"):
                return None
            if line not in (b"\r\n", b"\n"):
                lines.append(line)
            elif lines:
                return lines
            # An empty line before a request is a relic to be ignored (RFC 9112 §2.2).

    def _refuse(self, refusal: RefusedError) -> None:
        answer = _encode_refusal(refusal)
        self._orig_status = refusal.status
        self.response_length = len(refusal.body) + 1
        if self._has_spoken:  # browsers open spare connections that nobody uses
            self.log_request()
        self.socket.sendall(answer)
        # Closing with unread input resets the connection, and the answer is lost.
        with gevent.Timeout(LINGER_SECONDS, _QUIETLY), contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(READ_BYTES):
                pass

    # -- pywsgi's seams ------------------------------------------------------------

    def read_requestline(self) -> str:
        """Return the request line of the head that has been read."""
        return self._lines[0].decode("latin-1")

    def MessageClass(self, *args: Any) -> Any:  # noqa: N802  # pywsgi's name
        """Parse the header lines that have been read."""
        return super().MessageClass(io.BytesIO(b"".join(self._lines[1:]) + b"\r\n"), 0)

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ, with the way to take the socket in it."""
        environ: dict[str, Any] = super().get_environ()
        environ[TAKE_KEY] = self.take
        self.websocket = None
        if is_upgrade(environ):
            environ["wsgi.websocket"] = self._legacy_websocket(environ)
            environ["wsgi.websocket_version"] = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        return environ

    def _legacy_websocket(self, environ: dict[str, Any]) -> LegacyWebSocket:
        rule = find_rule(self.server.application, environ)
        self.websocket = LegacyWebSocket(
            environ, self, lambda: self._upgrade(environ, rule), rule.limits.max_message_size
        )
        return self.websocket

    def _upgrade(self, environ: dict[str, Any], rule: Rule) -> None:
        """Switch protocols for a view that uses `wsgi.websocket`.

        Raises:
            WebSocketError: the request was refused, and has its answer.
        """
        self.close_connection = True
        try:
            handshake = check_handshake(environ)
            check_origin(environ, rule.origins)
        except RefusedError as refusal:
            self.socket.sendall(_encode_refusal(refusal))
            status = refusal.status
        else:
            status = SWITCHING
            self.socket.sendall(encode_head(status, upgrade_headers(handshake, ())))
            self.server.clients[self.client_address] = Client(self.client_address, self.websocket)
        # What the view answers besides is dropped, as gevent-websocket does.
        self.status, self._orig_status, self.headers_sent = status.encode(), status, True
        if status != SWITCHING:
            raise LegacyRefused

    @property
    def active_client(self) -> Client:
        """This connection's entry in `server.clients`; gevent-websocket's name."""
        return self.server.clients[self.client_address]

    @property
    def logger(self) -> logging.Logger:
        """Where gevent-websocket's objects log."""
        return log

    def run_application(self) -> None:
        """Run the app; a WebSocket that it used is closed and forgotten when it returns."""
        try:
            super().run_application()
        finally:
            self.server.clients.pop(self.client_address, None)
        if self.status is None and self.taken is None:
            # It has answered by itself, on the socket, or not at all: no other request can follow.
            self.close_connection = True
            if self.websocket is not None:
                self._orig_status = SWITCHING
                see_off(self.socket)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        if self.websocket is not None and self.headers_sent:
            self.websocket.close(CLOSE_INTERNAL_ERROR, "internal error")
            self.close_connection = True
        else:
            super()._send_error_response_if_possible(error_code)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Begin the response, unless a WebSocket has been it."""
        if self.websocket is not None and self.headers_sent:
            return lambda data: None
        return super().start_response(status, headers, exc_info)

    def process_result(self) -> None:
        """Send the response's body, unless a WebSocket has been it."""
        if self.websocket is not None and self.headers_sent:
            self.websocket.close()
        else:
            super().process_result()

    def take(self, status: str) -> Taken:
        """Hand the socket over; this handler will not touch it again.

        Args:
            status: of the response that somebody else sends, for the access log.
        """
        self.taken = take_file(self.rfile)._replace(must_wait=False)
        self.socket = None
        self.close_connection = True
        self._orig_status = status
        return self.taken

    # All of them are looked at: the app may have lost a connection of its own.
    ignored_socket_errors = ()

    def _sendall(self, data: bytes) -> None:
        try:
            super()._sendall(data)
        except OSError:
            self._is_lost = True
            raise

    def handle_error(self, kind: Any, error: Any, trace: Any) -> None:
        """Report an app's error; a client's disappearance is none."""
        if isinstance(error, OSError) and (
            self._is_lost or isinstance(error, WebSocketError) or self._is_client_gone()
        ):
            self.close_connection = True
            log.debug("%s went away: %s", self.client_address, error)
        else:
            super().handle_error(kind, error, trace)

    def _is_client_gone(self) -> bool:
        # Of the plain socket, also with TLS: it does not wait.
        return has_closed(self.socket._sock)

    def _handle_client_error(self, error: Exception) -> Any:
        log.info("bad request from %s: %s", self.client_address, error)
        # The rest of pywsgi's text quotes the request.
        fault = str(error.args[0] if error.args else type(error).__name__).partition(":")[0]
        return ("400", _encode_refusal(bad_request(fault)))


def _encode_refusal(refusal: RefusedError) -> bytes:
    headers = refusal_headers(refusal)
    if "Connection" not in dict(headers):
        headers.append(("Connection", "close"))
    return encode_head(refusal.status, headers) + refusal_body(refusal)
