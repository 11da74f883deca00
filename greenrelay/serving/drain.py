"""Stopping a node in good order: connections first, then processes, then by force.

Connections are told in batches, so that the clients of a large node do not all
reconnect in the same instant. A small one is done at once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Set

import gevent

from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.node import Node
from greenrelay.relay.session import Session
from greenrelay.wire import KILLED, SHUTDOWN

log = logging.getLogger("greenrelay.server")

BATCH_SECONDS = 0.1
"""Between two batches."""
BATCH_CONNECTIONS = 100
"""At least so many are told at once: fewer would only make a small node slow."""
GOODBYE_SHARE = 0.5
"""Of the drain time for telling connections; the rest is for them to answer."""
CONNECTIONS_SHARE = 0.75
"""Of the drain time for connections; processes have the rest, though a client never answers."""
PATIENCE_SECONDS = 1.0
"""A process that has not ended so long after it was asked is named in the log."""
NAMED = 20
"""So many have a line of their own."""
KILL_SECONDS = 1.0
"""For the `finally` blocks of what was terminated."""
POLL_SECONDS = 0.02


def drain(node: Node, seconds: float, spare: Set[PID] = frozenset()) -> None:
    """End every connection with 1012 or `done`, then every process; return when nothing is left.

    Args:
        seconds: until what is left is terminated.
        spare: PIDs of processes that stay.

    Switches: yes.
    """
    begun = time.monotonic()
    deadline = begun + seconds
    node.note_draining(True)
    _close_connections(node, seconds * GOODBYE_SHARE)
    while time.monotonic() < begun + seconds * CONNECTIONS_SHARE and (late := _connections(node)):
        for session in late:
            session.drain()  # for those that were let in before, and joined after
        gevent.sleep(POLL_SECONDS)
    for entity in _others(node, spare):
        entity.cancel(None, SHUTDOWN)

    def is_done() -> bool:
        return not _others(node, spare)

    if not _wait(is_done, min(deadline, time.monotonic() + PATIENCE_SECONDS)) and seconds:
        _name(_others(node, spare), deadline - time.monotonic())
    _wait(is_done, deadline)
    for entity in _others(node, spare):
        # A connection has been told, and only did not answer.
        entity.kill(SHUTDOWN if isinstance(entity, Session) else KILLED)
    gevent.sleep(0)
    if not _wait(is_done, time.monotonic() + KILL_SECONDS):
        for entity in _others(node, spare)[:NAMED]:
            log_now(
                log, logging.WARNING,
                "process %s has not ended, in %s; the stop goes on without it",
                entity.pid, entity.info().get("function"),
            )  # fmt: skip
    # Those that have ended, but whose client still reads what it was sent.
    _wait(lambda: not any(one.transport.undelivered for one in node.lingering), deadline)


def _wait(is_done: Callable[[], bool], until: float) -> bool:
    """Wait for a condition; `False`: it is not true by then."""
    while not is_done():
        if time.monotonic() >= until:
            return False
        gevent.sleep(POLL_SECONDS)
    return True


def _name(entities: list[Entity], seconds: float) -> None:
    """Tell whose processes delay the stop."""
    late = [entity for entity in entities if isinstance(entity, Process)]
    when = f"in {seconds:.0f} s" if seconds > 0 else "now"
    for process in late[:NAMED]:
        log_now(
            log, logging.WARNING,
            "process %s delays the stop: it has been cancelled, is in %s, and is terminated %s",
            process.pid, process.info()["function"], when,
        )  # fmt: skip
    if len(late) > NAMED:
        more = len(late) - NAMED
        log_now(log, logging.WARNING, "and %d more processes delay the stop", more)


def _others(node: Node, spare: Set[PID]) -> list[Entity]:
    return [entity for entity in node if entity.pid not in spare]


def _close_connections(node: Node, seconds: float) -> None:
    sessions = _connections(node)
    batches = max(1, int(seconds / BATCH_SECONDS))
    size = max(BATCH_CONNECTIONS, math.ceil(len(sessions) / batches))
    for start in range(0, len(sessions), size):
        if start:
            gevent.sleep(BATCH_SECONDS)
        for session in sessions[start : start + size]:
            session.drain()


def _connections(node: Node) -> list[Session]:
    return [entity for entity in node if isinstance(entity, Session)]
