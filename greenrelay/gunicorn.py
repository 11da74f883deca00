"""gunicorn's hooks, under their public name: `gunicorn -k gevent -c python:greenrelay.gunicorn`.

In a configuration file of your own, import the five names below. `RelayWorker` is a worker that
runs our own server, in the place of gunicorn's: `-k greenrelay.gunicorn.RelayWorker`.
"""

from greenrelay.serving.gunicorn import (
    post_fork,
    post_request,
    post_worker_init,
    when_ready,
    worker_exit,
)
from greenrelay.serving.relayworker import RelayWorker

__all__ = [
    "RelayWorker",
    "post_fork",
    "post_request",
    "post_worker_init",
    "when_ready",
    "worker_exit",
]
