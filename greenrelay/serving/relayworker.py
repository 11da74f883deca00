"""A gunicorn worker that runs our server: `gunicorn -k greenrelay.gunicorn.RelayWorker`.

    gunicorn's arbiter   binds, forks, replaces, passes signals on
    gunicorn's worker    patches the standard library, loads the app
    run                  one `RelayServer` for each socket, until the worker is to end
    the hooks            join the other workers; say goodbye to relayed connections (`gunicorn`)

So what one process of `greenrelay serve` promises, each of several does: gunicorn's own parser and
writer see no request. One rule: a worker ends like the command with one worker does, by whatever
signal; only its second one, which the hooks see to, is quick.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import gevent
import gevent.pool
import gunicorn.sock
import gunicorn.workers.ggevent

from greenrelay.serving.gunicorn import POLL_SECONDS, end_seconds
from greenrelay.serving.server import RelayServer


class RelayWorker(gunicorn.workers.ggevent.GeventWorker):
    """One of gunicorn's workers, with our server in it.

    What of gunicorn's settings is the parser's, the writer's or counts requests has no meaning
    here: `limit_request_*`, `access_log_format`, `forwarded_allow_ips`, `max_requests`.
    """

    def init_signals(self) -> None:
        """Take gunicorn's signals; a terminal that closes is the arbiter's affair."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until this worker is to end; then wait for requests under way, and end them."""
        servers = [self._start(sock) for sock in self.sockets]
        try:
            while self.alive:
                self.notify()
                gevent.sleep(POLL_SECONDS)
        finally:  # also when the arbiter has gone
            self.alive = False  # for the hooks
            seconds = end_seconds(self.cfg)
            gevent.joinall([gevent.spawn(server.stop, seconds) for server in servers])

    def _start(self, sock: Any) -> RelayServer:
        log = self.log.access_log
        options: dict[str, Any] = {"log": log if log.hasHandlers() else None}
        if self.cfg.is_ssl:
            options["ssl_context"] = context = gunicorn.sock.ssl_context(self.cfg)
            context.set_alpn_protocols(["http/1.1"])
        server = RelayServer(
            sock,
            self.wsgi,
            keep_alive=self.cfg.keepalive,
            spawn=gevent.pool.Pool(self.worker_connections),
            environ={"wsgi.multiprocess": self.cfg.workers > 1},
            **options,
        )
        server.start()
        return server

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End as by SIGTERM: Ctrl-C, too, is a goodbye to the clients."""
        self.alive = False
        # Not here, between two byte codes: what it does may switch.
        gevent.spawn(self.cfg.worker_int, self)
