"""gunicorn's hooks: `gunicorn -k gevent -c python:greenrelay.gunicorn app:app`.

A relayed connection holds none of gunicorn's slots, so gunicorn does not know of it:
it neither waits for it when a worker stops, nor logs its request. These hooks do.
In a configuration file of your own, import the three names below.
"""

from __future__ import annotations

import datetime
from typing import Any

from greenrelay.current import default_node
from greenrelay.drain import drain
from greenrelay.entity import default_name
from greenrelay.hijack import STATUS_KEY
from greenrelay.server import find_middleware, find_node
from greenrelay.wire import DRAIN_SECONDS

GRACE_SECONDS = 2.0
"""What a worker needs of its graceful time-out besides draining."""


def post_fork(server: Any, worker: Any) -> None:
    """Give the node of each worker a name of its own, also when the app was preloaded."""
    node = default_node()
    if node.has_default_name:
        node.name = default_name()


def post_request(worker: Any, request: Any, environ: dict[str, Any], response: Any) -> None:
    """Write the access log's line of a relayed request, with the status that it got."""
    status = environ.get(STATUS_KEY)
    if status is None or response is None:
        return
    response.status = status
    worker.log.access(response, request, environ, datetime.timedelta(0))


def worker_exit(server: Any, worker: Any) -> None:
    """Close the worker's connections with 1012, within its graceful time-out."""
    app = getattr(worker, "wsgi", None)
    middleware = find_middleware(app)
    seconds = DRAIN_SECONDS if middleware is None else middleware.drain_seconds
    drain(find_node(app), min(seconds, max(0.0, worker.cfg.graceful_timeout - GRACE_SECONDS)))
