"""gunicorn's hooks: `gunicorn -k gevent -c python:greenrelay.gunicorn app:app`.

A relayed connection holds none of gunicorn's slots, so gunicorn does not know of it:
it neither waits for it when a worker stops, nor logs its request. These hooks do.
In a configuration file of your own, import the four names below.
"""

from __future__ import annotations

import datetime
import os
from typing import Any

import gevent
import gevent.socket

from greenrelay.current import default_node
from greenrelay.drain import drain
from greenrelay.entity import default_name
from greenrelay.hijack import STATUS_KEY
from greenrelay.middleware import find_middleware, find_node
from greenrelay.wire import DRAIN_SECONDS

GRACE_SECONDS = 2.0
"""What a worker needs of its time-outs besides draining."""
POLL_SECONDS = 0.1
"""How late a worker's connections may learn that it stops; gunicorn itself looks once a second."""


def post_fork(server: Any, worker: Any) -> None:
    """Give the node of each worker a name of its own, also when the app was preloaded."""
    node = default_node()
    if node.has_default_name:
        node.name = default_name()


def post_worker_init(worker: Any) -> None:
    """Begin to drain as soon as the worker is told to stop, beside the requests under way."""
    if isinstance(worker.sockets[0], gevent.socket.socket):  # other workers relay nothing
        worker.greenrelay_drain = gevent.spawn(_drain_at_end, worker)


def post_request(worker: Any, request: Any, environ: dict[str, Any], response: Any) -> None:
    """Write the access log's line of a relayed request, with the status that it got."""
    status = environ.get(STATUS_KEY)
    if status is None or response is None:
        return
    response.status = status
    worker.log.access(response, request, environ, datetime.timedelta(0))


def worker_exit(server: Any, worker: Any) -> None:
    """Wait until the worker's connections have ended, within its graceful time-out."""
    draining = getattr(worker, "greenrelay_drain", None)
    # gunicorn calls this in the arbiter, too, for a worker that is dead already.
    if draining is not None and worker.pid == os.getpid():
        worker.alive = False
        draining.join()


def _drain_at_end(worker: Any) -> None:
    while worker.alive:
        gevent.sleep(POLL_SECONDS)
    middleware = find_middleware(worker.wsgi)
    seconds = DRAIN_SECONDS if middleware is None else middleware.drain_seconds
    drain(find_node(worker.wsgi), min(seconds, _grace(worker.cfg)))


def _grace(cfg: Any) -> float:
    """Return the seconds a worker may drain: then it is killed, or taken for hung and aborted."""
    ends: list[float] = [cfg.graceful_timeout, cfg.timeout or cfg.graceful_timeout]
    return max(0.0, min(ends) - GRACE_SECONDS)
