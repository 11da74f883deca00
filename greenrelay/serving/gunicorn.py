"""gunicorn's hooks: `gunicorn -k gevent -c python:greenrelay.gunicorn app:app`.

A relayed connection holds none of gunicorn's slots, so gunicorn does not know of it:
it neither waits for it when a worker stops, nor logs its request. These hooks do.

    master   when_ready         a second signal ends the workers at once; names their cluster
    worker   post_fork          its node gets a name of its own
             post_worker_init   joins the others; waits for the worker's end beside its requests,
                                then drains and leaves
             post_request       the access log's line of a relayed request
             worker_exit        waits until the drain is over
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import logging
import os
import secrets
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import gevent
import gevent.socket
from gevent.baseserver import BaseServer

from greenrelay.cluster.joining import join
from greenrelay.errors import ClusterError, ConfigurationError
from greenrelay.logs import log_now
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.node import Node
from greenrelay.serving.drain import drain
from greenrelay.serving.joining import chosen_url
from greenrelay.serving.stopping import LoopWatch
from greenrelay.web.middleware import find_middleware, find_node
from greenrelay.web.servers import STATUS_KEY
from greenrelay.wire import DRAIN_SECONDS

if TYPE_CHECKING:
    from greenrelay.cluster.cluster import Cluster

log = logging.getLogger("greenrelay.server")

WORKERS_VARIABLE: Final = "GREENRELAY_WORKERS"
"""What the workers of one gunicorn inherit: the name of their own deployment."""
BOOT_ERROR: Final = 3
"""gunicorn's exit code of a worker that can't begin: all of it ends."""
RETRY_SECONDS = 1.0
"""Until the place of a worker that could not join is taken by another."""
GRACE_SECONDS = 2.0
"""What a worker needs of its time-outs besides draining."""
POLL_SECONDS = 0.1
"""How late a worker's connections may learn that it stops; gunicorn itself looks once a second."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

drains: Final[WeakKeyDictionary[Any, gevent.Greenlet[..., None]]] = WeakKeyDictionary()
"""What waits for a worker's end and then drains, from `post_worker_init` to `worker_exit`. Between
two hooks there is no other place: gunicorn hands over a worker object of its own, and no more."""


def when_ready(server: Any) -> None:
    """Have a second signal that stops gunicorn end the workers at once; name their cluster."""
    os.environ[WORKERS_VARIABLE] = f"gunicorn-{os.getpid()}-{secrets.token_hex(4)}"
    seen: list[int] = []
    for number in _STOPPING:
        signal.signal(number, partial(_on_masters_signal, server, seen))


def _on_masters_signal(server: Any, seen: list[int], number: int, frame: Any) -> None:
    if server.pid != os.getpid():
        os._exit(0)  # in a worker that has just been forked: gunicorn would take no notice
    server.signal(number, frame)
    seen.append(number)
    if len(seen) > 1:
        for pid in list(server.WORKERS):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)


def post_fork(server: Any, worker: Any) -> None:
    """Give the node of each worker a name of its own, also when the app was preloaded."""
    default_node().renew_name()


def post_worker_init(worker: Any) -> None:
    """Join the other workers; drain as soon as this one is told to stop, beside its requests."""
    if not isinstance(worker.sockets[0], gevent.socket.socket):
        return  # such workers relay nothing
    cluster = _join(worker)
    middleware = find_middleware(worker.wsgi)
    if middleware is not None and worker.cfg.workers > 1:
        middleware.note_workers(is_told=worker.age > 1)  # by the first of all
    drains[worker] = gevent.spawn(_drain_at_end, worker, cluster)
    watch, seen = LoopWatch(find_node(worker.wsgi)), set[int]()
    for number in _STOPPING:
        before = signal.getsignal(number)
        signal.signal(number, partial(_on_workers_signal, watch, seen, before))
    signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it


def _join(worker: Any) -> Cluster | None:
    """Join the cluster that was chosen, or else the other workers."""
    middleware = find_middleware(worker.wsgi)
    if middleware is None:
        return None
    url = chosen_url(middleware)
    deployment = os.environ.get(WORKERS_VARIABLE) if worker.cfg.workers > 1 else None
    if url is None and deployment is not None:
        return _join_others(worker, middleware.node, f"local:{deployment}")
    if not url:
        return None
    _number(middleware.node, worker)
    try:
        return join(middleware.node, url)
    except (ClusterError, ConfigurationError) as error:
        log_now(log, logging.ERROR, "can't join the cluster: %s", error)
    if worker.age <= worker.cfg.workers:
        raise SystemExit(BOOT_ERROR)
    time.sleep(RETRY_SECONDS)  # else it would be replaced at once, again and again
    raise SystemExit(1)


def _join_others(worker: Any, node: Node, url: str) -> Cluster | None:
    """Join what nobody has asked for; without it the workers serve as they are."""
    _number(node, worker)
    try:
        return join(node, url)
    except (ClusterError, ConfigurationError) as error:
        if worker.age == 1:
            log_now(log, logging.WARNING, "can't join the workers: %s", error)
        return None


def _number(node: Node, worker: Any) -> None:
    """Part the nodes of several workers that were all given one name."""
    if worker.cfg.workers > 1 and not node.has_default_name and not len(node):
        node.name = f"{node.name}-{worker.age}"


def _on_workers_signal(
    watch: LoopWatch, seen: set[int], before: Any, number: int, frame: Any
) -> None:
    """Begin to stop; end at once by a quick signal after another.

    gunicorn repeats SIGTERM while it waits, and Ctrl-C is a SIGINT and a SIGQUIT.
    """
    is_quick = number != signal.SIGTERM
    if is_quick and seen & {number, signal.SIGTERM}:
        os._exit(0)
    if not seen:
        watch.start()
    is_twin = is_quick and bool(seen)
    seen.add(number)
    if not is_twin:  # of one Ctrl-C: gunicorn's handler would cut the drain short
        before(number, frame)


def post_request(worker: Any, request: Any, environ: dict[str, Any], response: Any) -> None:
    """Write the access log's line of a relayed request, with the status that it got."""
    status = environ.get(STATUS_KEY)
    if status is None or response is None:
        return
    response.status = status
    worker.log.access(response, request, environ, datetime.timedelta(0))


def worker_exit(server: Any, worker: Any) -> None:
    """Wait until the worker's connections have ended, within its graceful time-out."""
    draining = drains.get(worker)
    # gunicorn calls this in the arbiter, too, for a worker that is dead already; and a child that
    # the app has forked comes by here when it exits.
    if draining is not None and worker.pid == os.getpid():
        worker.alive = False
        draining.join()


def _drain_at_end(worker: Any, cluster: Cluster | None) -> None:
    while worker.alive:
        gevent.sleep(POLL_SECONDS)
    _stop_accepting(worker)
    gevent.sleep(POLL_SECONDS)  # for requests already accepted: their relays open, and are drained
    middleware = find_middleware(worker.wsgi)
    seconds = DRAIN_SECONDS if middleware is None else middleware.drain_seconds
    drain(find_node(worker.wsgi), min(seconds, end_seconds(worker.cfg)))
    if cluster is not None:
        cluster.stop()


def _stop_accepting(worker: Any) -> None:
    """Leave new clients to the other workers.

    gunicorn does so itself, but up to a second later, or never when it ends quickly. It keeps its
    servers in a local variable, so they are looked for among all objects.
    """
    ours = {sock.fileno() for sock in worker.sockets}
    for item in gc.get_objects():
        is_server = issubclass(type(item), BaseServer)
        if is_server and not item.closed and item.socket.fileno() in ours:
            item.close()


def end_seconds(cfg: Any) -> float:
    """Return the seconds of a worker's end, before gunicorn kills it or takes it for hung."""
    ends: list[float] = [cfg.graceful_timeout, cfg.timeout or cfg.graceful_timeout]
    return max(0.0, min(ends) - GRACE_SECONDS)
