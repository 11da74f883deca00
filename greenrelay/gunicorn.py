"""gunicorn's hooks, under their public name: `gunicorn -k gevent -c python:greenrelay.gunicorn`.

In a configuration file of your own, import the five names below.
"""

from greenrelay.serving.gunicorn import (
    post_fork,
    post_request,
    post_worker_init,
    when_ready,
    worker_exit,
)

__all__ = ["post_fork", "post_request", "post_worker_init", "when_ready", "worker_exit"]
