"""Mistakes of an app or its deployment that only show while it serves, told with what to write.

A refusal is one line, whatever it is: the first of its kind in a while at WARNING with its
most frequent causes, the others at INFO, so that clients can't fill a log with warnings.
What comes from a client is quoted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import gevent.monkey

from greenrelay.errors import RefusedError
from greenrelay.logs import log_now
from greenrelay.web.taking import RequestSocket

log = logging.getLogger("greenrelay.relay")

QUIET_SECONDS: Final = 60.0
"""Between two warnings of one kind."""


class Mistakes:
    """What one middleware, or one server, has told its operator.

    Args:
        clock: seconds, and only forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._has_looked = False
        self._has_told_workers = False

    def tell_refusal(self, path: str | None, refusal: RefusedError) -> None:
        """Log that a relay was refused.

        Args:
            path: the request's.
        """
        fault = f"{path!r}: {refusal.status}: {refusal.detail}"
        if refusal.advice and self._is_due(refusal.body):
            log_now(log, logging.WARNING, "%s. %s", fault, refusal.advice)
        else:
            log_now(log, logging.INFO, "%s", fault)

    def tell_unwrapped(self, path: str | None, header: str) -> None:
        """Log that a server has been given a relay's header, which no middleware has taken.

        Args:
            path: the request's.
            header: its name.
        """
        level = logging.ERROR if self._is_due(header) else logging.INFO
        log_now(
            log,
            level,
            "%r: %s has come to the server without a relay around the app, and is not sent. Call "
            "GreenRelay(app) or relay.init_app(app) last, after every other middleware; without "
            "Flask serve RelayMiddleware(app)",
            path,
            header,
        )

    def note_test(self) -> None:
        """Tell nothing of the server: all that its views can block is a test."""
        self._has_looked = True

    def look_at_server(self, sock: RequestSocket) -> None:
        """Tell once if the server is gevent's and what it calls is not patched for it.

        Args:
            sock: of a request.
        """
        if self._has_looked:
            return
        self._has_looked = True
        if gevent.monkey.is_module_patched("socket") or not sock.can_take:
            return
        log_now(
            log,
            logging.WARNING,
            "the standard library is not monkey-patched: a view or process that waits for a "
            "database or a service stops every connection; start with `from gevent import monkey; "
            "monkey.patch_all()` before any other import, or run the app with greenrelay serve",
        )

    def tell_workers(self, is_told: bool) -> None:
        """Tell once what several workers mean.

        Args:
            is_told: somebody else does, or they are joined.
        """
        if not (self._has_told_workers or is_told):
            log_now(
                log,
                logging.WARNING,
                "this server has several workers, and each is a node by itself: a process, name "
                "or group of one is unknown in the others, so that a room is split. Join them: "
                "serve with gunicorn -c python:greenrelay.gunicorn or greenrelay serve --workers, "
                "and leave GREENRELAY_CLUSTER unset or write 'local:'; or run one worker",
            )
        self._has_told_workers = True

    def _is_due(self, kind: str) -> bool:
        now = self._clock()
        if now < self._told.get(kind, now):
            return False
        self._told[kind] = now + QUIET_SECONDS
        return True
