"""gevent's WSGI server for the open internet, with `RelayHandler` for its clients.

accepting   goes on after the system was out of descriptors; pywsgi's would loop and log
TLS         one context for all connections; handshakes have a deadline
stopping    waits for requests under way; idle connections end at once, views that serve a
            `wsgi.websocket` see it close with 1012
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent
import gevent.pool
import gevent.pywsgi
import gevent.ssl
from geventwebsocket.handler import Client

from greenrelay.logs import log_now, log_soon
from greenrelay.processes.fairness import Rotation
from greenrelay.serving.handler import RelayHandler
from greenrelay.serving.legacy import LegacyWebSocket
from greenrelay.serving.reading import IdleClients
from greenrelay.web.mistakes import Mistakes
from greenrelay.web.taking import send_at_once
from greenrelay.wire import (
    BODY_TIMEOUT_SECONDS,
    CLOSE_SERVICE_RESTART,
    HEAD_TIMEOUT_SECONDS,
    KEEP_ALIVE_SECONDS,
    SHUTDOWN,
    WRITE_TIMEOUT_SECONDS,
)

log = logging.getLogger("greenrelay.server")

BACKLOG = 65_535
"""Connections that may wait to be accepted; the system cuts it to its own limit. Beyond it Linux
drops them, and their clients try again after 1, 3 and 7 seconds: gevent's 128 are soon passed when
all come back after a restart."""
ACCEPT_PAUSE_SECONDS = 0.1
"""Until the next try, when a connection could not be accepted."""
COMPLAINT_SECONDS = 1.0
"""From one line of log about it to the next."""

# pywsgi's seams are not in its type stubs.
_WSGIServer: Any = gevent.pywsgi.WSGIServer
_Group: Any = gevent.pool.Group
_Pool: Any = gevent.pool.Pool


class Greenlets(_Pool):  # type: ignore[misc]  # see above
    """The clients' greenlets: a pool without a bound, where gevent's asks whether there is room."""

    add = _Group.add
    _discard = _Group._discard

    def full(self) -> bool:
        """Return `False`."""
        return False


class RelayServer(_WSGIServer):  # type: ignore[misc]  # see above
    """A `gevent.pywsgi.WSGIServer` for the open internet.

    Takes the arguments of `WSGIServer`, and:

    Args:
        certfile, keyfile: serve TLS with this certificate and private key, PEM files.
        head_timeout: seconds in which a request head has to arrive.
        keep_alive: seconds after which an idle connection is closed.
        body_timeout: seconds for which a request's body may not go on; 0 is off.
        write_timeout: seconds for which nothing of an answer may be read; 0 is off.

    Raises:
        OSError: the files of a certificate can't be read, or don't match.
    """

    handler_class = RelayHandler
    backlog = BACKLOG

    def __init__(
        self,
        listener: Any,
        application: Any = None,
        *,
        certfile: str | None = None,
        keyfile: str | None = None,
        head_timeout: float = HEAD_TIMEOUT_SECONDS,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        body_timeout: float = BODY_TIMEOUT_SECONDS,
        write_timeout: float = WRITE_TIMEOUT_SECONDS,
        **kwargs: Any,
    ) -> None:
        if certfile is not None:
            kwargs["ssl_context"] = _tls_context(certfile, keyfile)
        kwargs.setdefault("spawn", Greenlets())
        super().__init__(listener, application, **kwargs)
        self.head_timeout = head_timeout
        self.keep_alive = keep_alive
        self.body_timeout = body_timeout
        self.write_timeout = write_timeout
        self._mistakes = Mistakes()
        """What its operator has been told of an app that was never wrapped."""
        self.rotation = Rotation()
        """The turns of views that serve a `wsgi.websocket` of their own."""
        self.clients: dict[Any, Client] = {}
        """Connections that a view serves as `wsgi.websocket`; gevent-websocket's name."""
        self.idle = IdleClients()
        """Those that have a connection, and no request under way."""
        self._next_complaint = 0.0
        self._no_log = self.log if kwargs.get("log", self) is None else None
        """What pywsgi has put in the place of a log."""

    @property
    def has_access_log(self) -> bool:
        """Whether anybody reads what is written for each request."""
        return self.log is not self._no_log

    def init_socket(self) -> None:
        """Begin to listen; the connections inherit what the listener's socket is told."""
        super().init_socket()
        send_at_once(self.socket)

    def stop(self, timeout: float | None = None) -> None:
        """Close the listener and idle connections; wait for requests under way, then end them."""
        self.close()
        gevent.get_hub().loop.run_callback(self.idle.end)
        for client in tuple(self.clients.values()):
            gevent.spawn(client.ws.close, CLOSE_SERVICE_RESTART, SHUTDOWN)
        super().stop(timeout)

    def add_websocket(self, address: Any, websocket: LegacyWebSocket) -> None:
        """Note that a view serves this client as `wsgi.websocket`."""
        self.clients[address] = Client(address, websocket)

    def remove_websocket(self, address: Any) -> None:
        """Note that the view of this client has returned; it may have used no WebSocket."""
        self.clients.pop(address, None)

    def tell_unwrapped(self, path: str | None, header: str) -> None:
        """Log that an app without a relay around it asks for one; see `Mistakes`."""
        self._mistakes.tell_unwrapped(path, header)

    def do_read(self) -> Any:
        """Accept a connection; if the system gives none, wait a little and say so."""
        try:
            return super().do_read()
        except OSError as error:
            if self.is_fatal_error(error):
                raise
            self._pause(error)
            return None

    def _pause(self, error: OSError) -> None:
        # Out of descriptors, above all: the listener stays readable, so asking again at once
        # would keep the loop busy, and pywsgi would print a traceback each time.
        self.stop_accepting()
        self._timer = self.loop.timer(ACCEPT_PAUSE_SECONDS)
        self._timer.start(self._start_accepting_if_started)
        now = time.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + COMPLAINT_SECONDS
            log_soon(log, logging.ERROR, "can't accept connections: %s; going on trying", error)

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> None:
        """Shake hands within the head's deadline; leave a taken socket open."""
        try:
            with gevent.Timeout(self.head_timeout, TimeoutError):
                ssl_socket = self.wrap_socket(client_socket, **self.ssl_args)
        except OSError as error:  # TLS errors and time-outs are OSErrors, and the client's affair
            log_now(log, logging.DEBUG, "no TLS with %s: %s", address, error)
            client_socket.close()
            return
        handler = self.handler_class(ssl_socket, address, self)
        try:
            handler.handle()
        finally:
            if handler.taken is None:
                ssl_socket.close()


def _tls_context(certfile: str, keyfile: str | None) -> Any:
    # Left to pywsgi, both files were read anew for every connection.
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile)
    context.set_alpn_protocols(["http/1.1"])
    return context
