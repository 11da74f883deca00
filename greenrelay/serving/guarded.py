"""gevent's WSGI handler with the guards it lacks: one client, and its requests.

    read a head (`reading`) ─► pywsgi parses it ─► environ ─► the app ─► its answer ─┐
          ▲                                                                          │
          └──────── the rest of the body, if it is little; else the connection ends ─┘

A malformed head or body is refused and ends the connection, whatever the app makes of it. A
client that resets costs one line of log at most. One that takes nothing of its answer is given
up. What it has sent can't forge a line of the access log.

pywsgi is changed by a subclass and in no other way: it makes the handler, and calls methods of
it by name. So the names of these, and of attributes without a meaning here (`_orig_status`,
`response_length`, `close_connection`), are pywsgi's. What is decided has modules of its own.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Protocol

import gevent.pywsgi

from greenrelay.errors import RefusedError
from greenrelay.logs import escape, log_now, report_failure
from greenrelay.protocol.handshake import encode_refusal, is_upgrade
from greenrelay.protocol.head import split_target
from greenrelay.protocol.refusals import bad_request
from greenrelay.serving.answer import end_connection
from greenrelay.serving.body import RequestBody, send_all
from greenrelay.serving.closing import linger, send_close_notify
from greenrelay.serving.exchange import Exchange
from greenrelay.serving.reading import HeadReader, HeadServer
from greenrelay.web.taking import BodyFault, has_closed, peek_now

log = logging.getLogger("greenrelay.server")

# pywsgi's seams are not in its type stubs.
_WSGIHandler: Any = gevent.pywsgi.WSGIHandler


class GuardedServer(HeadServer, Protocol):
    """What a guarded client asks of the server."""

    body_timeout: float
    write_timeout: float

    @property
    def has_access_log(self) -> bool:
        """Whether anybody reads what is written for each request."""


class GuardedHandler(_WSGIHandler):  # type: ignore[misc]  # see above
    """One client of the server, for as many requests as its connection is kept."""

    server: GuardedServer
    socket: Any
    """gevent's; `None`: it is not this handler's any more, and nothing more is read or sent."""
    environ: Any
    path: Any
    response_headers: Any
    _orig_status: str | None
    _heads: HeadReader
    _lines: list[bytes]
    """Of the request's head."""
    _target_host = ""
    """Of a request whose target is a whole URL; else empty."""
    _exchange: Exchange
    """The request that is being served."""
    _has_sent = False
    """Whether anything of an answer has gone out on this connection."""
    _is_lost = False
    """Whether the client takes no more of what it is sent."""

    def handle(self) -> None:
        """Serve the client until it or the server has enough."""
        rfile = self.rfile
        self._exchange = Exchange()
        try:
            self._heads = HeadReader(rfile, self.server, has_spoken=bool(peek_now(rfile)))
            super().handle()
        except OSError:
            pass  # it has left, before or in an answer
        finally:
            rfile.close()  # now, not when the collector comes by: the loop may be gone
            self._let_go()

    def _let_go(self) -> None:
        """Hold the last request no more: it holds this, and both would wait for the collector."""
        self._exchange.let_go()
        self._exchange, self.environ = Exchange(), None

    def handle_one_request(self) -> Any:
        """Serve the next request; pywsgi asks again unless this gives `None`."""
        self._orig_status = None
        self.response_length = 0
        self._exchange = Exchange()
        goes_on = self._read_and_answer()
        if goes_on is None:
            send_close_notify(self.socket)
        return goes_on

    def _read_and_answer(self) -> Any:
        try:
            lines = self._heads.read()
            if lines is None:
                return None
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
        if body is None or self.socket is None:
            return True
        if not self.close_connection:
            body.discard()
        if body.fault is not None:
            log_now(log, logging.INFO, "bad request from %s: %s", self.client_address, body.fault)
        if body.is_over or self._is_lost:
            return True
        linger(self.socket)
        return None

    def _refuse(self, refusal: RefusedError) -> None:
        answer = encode_refusal(refusal)
        self.requestline = self._heads.request_line
        self._orig_status = refusal.status
        self.response_length = len(refusal.body) + 1
        if self._heads.has_spoken:  # browsers open spare connections that nobody uses
            self.log_request()
        send_all(self.socket, answer, self.server.write_timeout)
        linger(self.socket)

    @property
    def body(self) -> RequestBody | None:
        """The request's; `None` where the socket is the app's to read, behind a handshake."""
        return self._exchange.body

    # -- pywsgi's seams: the request ---------------------------------------------------

    def read_requestline(self) -> str:
        """Return the request line of the head that has been read."""
        return self._lines[0].decode("latin-1")

    def MessageClass(self, *args: Any) -> Any:  # noqa: N802  # pywsgi's name
        """Return the header lines that have been read and checked."""
        return self._heads.fields

    def read_request(self, raw_requestline: str) -> Any:
        """Parse the head."""
        is_good = super().read_request(raw_requestline)
        self._target_host, self.path = split_target(self.path)
        return is_good

    def _check_http_version(self) -> Any:
        """Tell whether the request's version is one; nearly always it is one of these."""
        return self.request_version in ("HTTP/1.1", "HTTP/1.0") or super()._check_http_version()

    def _headers(self) -> Any:
        """Return the environ's keys and values, one for each header line."""
        return self.headers.for_environ()

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ; an upgrade request has no body, and `wsgi.input` is pywsgi's."""
        environ: dict[str, Any] = super().get_environ()
        if self._target_host:
            environ["HTTP_HOST"] = self._target_host  # RFC 9112 §3.2.2: the other is ignored
        if not is_upgrade(environ):
            body = self.wsgi_input = self._make_body(environ)
            self._exchange = Exchange(body)
            environ.update({"wsgi.input": body, "wsgi.input_terminated": True})
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

    def _handle_client_error(self, error: Exception) -> Any:
        log_now(log, logging.INFO, "bad request from %s: %s", self.client_address, error)
        # The rest of pywsgi's text quotes the request.
        fault = str(error.args[0] if error.args else type(error).__name__).partition(":")[0]
        raise bad_request(fault)

    # -- pywsgi's seams: the answer ----------------------------------------------------

    def finalize_headers(self) -> None:
        """Say that the connection will end, if what the body leaves can't be read."""
        super().finalize_headers()
        if self.command == "HEAD":
            self.response_use_chunked = False  # even the end of a body is one
        if self._exchange.ends_connection():
            self.response_headers = end_connection(self.response_headers)
            self.close_connection = True
            self._exchange.give_up_body()

    def _write_with_headers(self, data: bytes) -> None:
        """Send the head and the first of the body, unless the request's own body was malformed."""
        fault = self._exchange.fault
        if fault is not None:
            raise BodyFault(fault)  # which the app has swallowed
        super()._write_with_headers(data)

    def _write(self, data: bytes) -> None:
        """Send a piece of the body, unless the answer has none: it would be the next answer's."""
        if self.command != "HEAD":
            super()._write(data)

    # All of them are looked at: the app may have lost a connection of its own.
    ignored_socket_errors = ()

    def _sendall(self, data: Any) -> None:
        if self._is_lost:
            raise BrokenPipeError("the client has left")  # not waited for a second time
        self._has_sent = True
        try:
            send_all(self.socket, data, self.server.write_timeout)
        except OSError:
            self._is_lost = self.close_connection = True
            raise
        self.response_length += len(data)

    def handle_error(self, kind: Any, error: Any, trace: Any) -> None:
        """Report an app's error; a client's disappearance is none, nor is its malformed body."""
        fault = self._exchange.fault
        if fault is not None:
            self.close_connection = True
            if not self.headers_sent:
                self._answer_fault(fault)
        elif isinstance(error, OSError) and self._is_client_gone(error):
            self._drop_client(error)
        else:
            super().handle_error(kind, error, trace)

    def _answer_fault(self, refusal: RefusedError) -> None:
        """Send a refusal instead of what the app would have answered."""
        self._orig_status, self.headers_sent = refusal.status, True
        with contextlib.suppress(OSError):  # it is in `_is_lost`
            self._sendall(encode_refusal(refusal))

    def _drop_client(self, error: OSError) -> None:
        """Log in one line that the client is gone, and serve it no more."""
        self.close_connection = True
        level = logging.INFO if isinstance(error, TimeoutError) else logging.DEBUG
        log_now(log, level, "%s went away: %s", self.client_address, error)

    def _is_client_gone(self, error: OSError) -> bool:
        """Tell whether an error comes from the client's disappearance: the app has its own."""
        # Asked of the plain socket, also with TLS: it does not wait.
        return self._is_lost or (self.socket is not None and has_closed(self.socket._sock))

    def log_request(self) -> None:
        """Write the access log's line, if there is one; the answer does not depend on it."""
        try:
            if self.server.has_access_log:
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
