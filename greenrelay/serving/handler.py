"""One client of our server: gevent's WSGI handler with the guards it lacks.

A request head has a deadline and a size, and is checked before pywsgi parses it; a
body's fault ends the connection, whatever the app makes of it; a client that resets
costs one line of log at most, one that reads nothing is given up; a relay takes the
socket from here, and `wsgi.websocket` is there for views that use it. What would go out by
mistake does not: a relay's header, or HTTP behind somebody else's upgrade.
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

from greenrelay.errors import RefusedError
from greenrelay.logs import escape, log_now, report_failure
from greenrelay.protocol.handshake import (
    SWITCHING,
    encode_head,
    encode_refusal,
    is_upgrade,
    refusal_body,
    refusal_headers,
    upgrade_headers,
)
from greenrelay.protocol.head import bad_request, check_head, split_target
from greenrelay.relay.tls import say_goodbye
from greenrelay.serving.legacy import LegacyRefused, LegacyWebSocket, count_written, see_off
from greenrelay.serving.reading import MAX_REQUEST_LINE_BYTES, HeadReader
from greenrelay.web.body import BodyFault, RequestBody, send_all
from greenrelay.web.middleware import find_rule
from greenrelay.web.opening import read_opening
from greenrelay.web.routers import Rule
from greenrelay.web.servers import SOCKET_KEY, OwnSocket
from greenrelay.web.taking import Taken, has_closed, send_at_once, take_file
from greenrelay.wire import (
    CLOSE_INTERNAL_ERROR,
    CLOSE_TIMEOUT_SECONDS,
    SSE_RELAY_HEADER,
    WS_RELAY_HEADER,
)

log = logging.getLogger("greenrelay.server")

LINGER_SECONDS = 1.0
"""How long a refused client may go on sending, so that it reads why before a reset."""
READ_BYTES = 64 * 1024
_RELAY_HEADERS = {name.lower().encode(): name for name in (WS_RELAY_HEADER, SSE_RELAY_HEADER)}
_QUIETLY: Any = False
"""As a `gevent.Timeout`'s exception: leave the block, raise nothing."""

# pywsgi's seams are not in its type stubs.
_WSGIHandler: Any = gevent.pywsgi.WSGIHandler


class RelayHandler(_WSGIHandler):  # type: ignore[misc]  # see above
    """One client of the server, for as many requests as it keeps alive."""

    server: Any
    """The `RelayServer`."""
    socket: Any
    path: Any
    response_headers: Any
    _orig_status: str | None
    _heads: HeadReader
    _lines: list[bytes]
    _is_lost = False
    _target_host = ""
    _is_answered = False
    """Whether what the app still writes is dropped: the client has got another answer."""
    _written: int | None = None
    """Bytes on the connection before the view of an upgrade request."""
    body: RequestBody | None = None
    """The request's; `None` where the socket is the app's to read, behind a handshake."""
    websocket: LegacyWebSocket | None = None
    """What an upgrade request's view may use as `wsgi.websocket`."""
    taken: Taken | None = None
    """The connection, when a relay has taken it."""

    def handle(self) -> None:
        """Serve the client until it or the server has enough."""
        send_at_once(self.socket)
        rfile = self.rfile
        self._heads = HeadReader(rfile, self.server)
        try:
            with contextlib.suppress(OSError):  # it went away in the middle of an answer
                super().handle()
        finally:
            if self.taken is None:  # now, not when the collector comes by: the loop may be gone
                rfile.close()

    def handle_one_request(self) -> Any:
        """Read and check a head, then let pywsgi do the rest."""
        self.requestline = ""
        self._orig_status = None
        self.response_length = 0
        self.body = None
        try:
            lines = self._heads.read()
            if lines is None:
                return None
            self.requestline = lines[0].decode("latin-1").rstrip()
            if len(lines[0]) >= MAX_REQUEST_LINE_BYTES:
                raise RefusedError("414 URI Too Long", "a request line has 8 KiB at most")
            check_head(lines)
            self._lines = lines
            goes_on = super().handle_one_request()
        except RefusedError as refusal:
            self._refuse(refusal)
            return None
        except OSError:
            return None  # reset before there was anything to answer
        return self._end_request() and goes_on

    def _end_request(self) -> bool | None:
        """Get to the end of the body; `None`: no request can follow."""
        body = self.body
        if body is None or self.taken is not None:
            return True
        if not self.close_connection:
            body.discard()
        if body.fault is not None:
            log_now(log, logging.INFO, "bad request from %s: %s", self.client_address, body.fault)
        if body.is_over or self._is_lost:
            return True
        self._linger()
        return None

    def _refuse(self, refusal: RefusedError) -> None:
        answer = encode_refusal(refusal)
        self._orig_status = refusal.status
        self.response_length = len(refusal.body) + 1
        if self._heads.has_spoken:  # browsers open spare connections that nobody uses
            self.log_request()
        send_all(self.socket, answer, self.server.write_timeout)
        self._linger()

    def _linger(self) -> None:
        """Read what still comes: closing with unread input resets, and the answer is lost."""
        with gevent.Timeout(LINGER_SECONDS, _QUIETLY), contextlib.suppress(OSError):
            say_goodbye(self.socket)
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

    def read_request(self, raw_requestline: str) -> Any:
        """Parse the head."""
        is_good = super().read_request(raw_requestline)
        self._target_host, self.path = split_target(self.path)
        return is_good

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ, with the way to take the socket in it."""
        environ: dict[str, Any] = super().get_environ()
        environ[SOCKET_KEY] = OwnSocket(self)
        if self._target_host:
            environ["HTTP_HOST"] = self._target_host  # RFC 9112 §3.2.2: the other is ignored
        self.websocket = None
        self._is_answered = False
        if is_upgrade(environ):
            self._written = count_written(self.socket)
            environ["wsgi.websocket"] = self._legacy_websocket(environ)
            environ["wsgi.websocket_version"] = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        else:
            self.body = self.wsgi_input = self._make_body(environ)
            environ.update({"wsgi.input": self.body, "wsgi.input_terminated": True})
        return environ

    def _make_body(self, environ: dict[str, Any]) -> RequestBody:
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        is_awaited = (
            environ.get("HTTP_EXPECT", "").lower() == "100-continue"
            and self.request_version != "HTTP/1.0"
        )
        length = None if is_chunked else self.content_length or 0
        return RequestBody(
            self.rfile, self.socket, length, self.server.body_timeout, is_awaited=is_awaited
        )

    def _legacy_websocket(self, environ: dict[str, Any]) -> LegacyWebSocket:
        rule = find_rule(self.server.application, environ.get("PATH_INFO", ""))
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
        opening = read_opening(environ)
        try:
            handshake = opening.require_handshake()
            opening.check_origin(rule.origins)
        except RefusedError as refusal:
            status, answer = refusal.status, encode_refusal(refusal)
        else:
            status, answer = SWITCHING, encode_head(SWITCHING, upgrade_headers(handshake, ()))
        self._sendall(answer)
        self.mark_answered(status)  # what the view answers besides is dropped
        if status != SWITCHING:
            raise LegacyRefused
        self.server.clients[self.client_address] = Client(self.client_address, self.websocket)

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
            self._see_off()

    def _see_off(self, seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        # It has answered by itself, on the socket, or not at all: no other request can follow.
        self.close_connection = True
        if self.websocket is not None:
            self._orig_status = SWITCHING
            see_off(self.socket, seconds)

    def _has_foreign_bytes(self) -> bool:
        """Tell whether a view has sent on a duplicate of an upgrade request's socket."""
        if self.websocket is None or self.headers_sent or self.taken is not None:
            return False
        written = count_written(self.socket)
        return written is not None and self._written is not None and written > self._written

    def _send_error_response_if_possible(self, error_code: int) -> None:
        if self._has_foreign_bytes():
            self._see_off()
        elif self.websocket is not None and self.headers_sent:
            self.websocket.close(CLOSE_INTERNAL_ERROR, "internal error")
            self.close_connection = True
        else:
            super()._send_error_response_if_possible(error_code)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Begin the response, unless a WebSocket has been it."""
        if self.websocket is not None and self.headers_sent:
            return lambda data: None
        return super().start_response(status, headers, exc_info)

    def finalize_headers(self) -> None:
        """Say that the connection will end, if what the body leaves can't be read."""
        super().finalize_headers()
        body = self.body
        if body is not None and not body.is_worth_reading():
            others = [item for item in self.response_headers if item[0].lower() != b"connection"]
            self.response_headers = [*others, (b"Connection", b"close")]
            self.close_connection = True
            body.answer_instead()

    def write(self, data: bytes) -> None:
        """Send a piece of the response's body, unless the client has got another answer."""
        if not self._is_answered:
            super().write(data)

    def _write_with_headers(self, data: bytes) -> None:
        """Send the head and the first of the body, unless they must not go out."""
        if self.body is not None and self.body.fault is not None:
            raise BodyFault(self.body.fault)  # which the app has swallowed
        if self._has_foreign_bytes():
            self._is_answered = True
            return
        for name, _ in self.response_headers:
            if name.lower() in _RELAY_HEADERS:
                data = self._withhold(_RELAY_HEADERS[name.lower()], data)
                break
        super()._write_with_headers(data)

    def _withhold(self, header: str, data: bytes) -> bytes:
        """Keep a relay's header here, and return the body's first piece without it."""
        self.server.mistakes.tell_unwrapped(self.environ.get("PATH_INFO"), header)
        if self.code // 100 != 2:  # an answer that asks for no relay
            kept = [item for item in self.response_headers if item[0].lower() not in _RELAY_HEADERS]
            self.response_headers = kept
            return data
        refusal = RefusedError("500 Internal Server Error", "invalid relay configuration")
        self.start_response(refusal.status, refusal_headers(refusal))
        self._is_answered = True
        return b"" if self.command == "HEAD" else refusal_body(refusal)

    def process_result(self) -> None:
        """Send the response's body, unless a WebSocket has been it."""
        if self.websocket is not None and self.headers_sent:
            self.websocket.close()
            return
        super().process_result()
        if self._is_answered and not self.headers_sent:
            self._see_off()

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

    def mark_answered(self, status: str) -> None:
        """Act as if the head had been sent: somebody else has done so, or nobody is there."""
        self.status, self._orig_status = status.encode(), status
        self.headers_sent, self.response_headers = True, []

    # All of them are looked at: the app may have lost a connection of its own.
    ignored_socket_errors = ()

    def _sendall(self, data: Any) -> None:
        if self._is_lost:
            raise BrokenPipeError("the client has left")  # not waited for a second time
        try:
            send_all(self.socket, data, self.server.write_timeout)
        except OSError:
            self._is_lost = self.close_connection = True
            raise
        self.response_length += len(data)

    def handle_error(self, kind: Any, error: Any, trace: Any) -> None:
        """Report an app's error; a client's disappearance is none, nor is its malformed body."""
        if self.body is not None and self.body.fault is not None:
            self.close_connection = True
            if not self.headers_sent:
                self._answer(self.body.fault)
        elif isinstance(error, OSError) and (
            self._is_lost or isinstance(error, WebSocketError) or self._is_client_gone()
        ):
            self.close_connection = True
            level = logging.INFO if isinstance(error, TimeoutError) else logging.DEBUG
            log_now(log, level, "%s went away: %s", self.client_address, error)
        elif isinstance(error, gevent.GreenletExit) and self._has_foreign_bytes():
            self._see_off(0)  # the server stops, and has waited for long enough
        else:
            super().handle_error(kind, error, trace)

    def _answer(self, refusal: RefusedError) -> None:
        """Send a refusal instead of what the app would have answered."""
        self._orig_status, self.headers_sent = refusal.status, True
        with contextlib.suppress(OSError):  # it is in `_is_lost`
            self._sendall(encode_refusal(refusal))

    def log_request(self) -> None:
        """Write the access log's line; the answer does not depend on it."""
        try:
            super().log_request()
        except Exception as error:  # whatever the log's handlers raise
            report_failure(error)

    def format_request(self) -> Any:
        """Return the access log's line; what the client has sent can't break out of it."""
        sent = self.requestline
        self.requestline = escape(sent or "")
        try:
            return super().format_request()
        finally:
            self.requestline = sent

    def _is_client_gone(self) -> bool:
        # Of the plain socket, also with TLS: it does not wait.
        return has_closed(self.socket._sock)

    def _handle_client_error(self, error: Exception) -> Any:
        log_now(log, logging.INFO, "bad request from %s: %s", self.client_address, error)
        # The rest of pywsgi's text quotes the request.
        fault = str(error.args[0] if error.args else type(error).__name__).partition(":")[0]
        raise bad_request(fault)
