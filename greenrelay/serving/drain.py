"""Stopping a node: connections are closed first, then processes are cancelled, then killed.

Connections are closed in batches, so that the clients of a large node do not all reconnect in
the same instant. Those of a small node are one batch.
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
from greenrelay.relay.connections import Connections
from greenrelay.relay.session import Session
from greenrelay.wire import KILLED, SHUTDOWN

log = logging.getLogger("greenrelay.server")

BATCH_SECONDS = 0.1
"""From one batch to the next."""
BATCH_CONNECTIONS = 100
"""The least that a batch has: with fewer, a small node would take longer for nothing."""
CLOSING_SHARE = 0.5
"""Of the drain time for closing connections, batch by batch; the rest is for their answers."""
CONNECTIONS_SHARE = 0.75
"""Of the drain time for connections: some clients never answer, and processes need some too."""
PATIENCE_SECONDS = 1.0
"""A process that has not ended so long after it was cancelled is named in the log."""
MAX_NAMED = 20
"""So many have a line of their own in the log."""
KILL_SECONDS = 1.0
"""For the `finally` blocks of what was killed."""
POLL_SECONDS = 0.02


def drain(node: Node, seconds: float, spare: Set[PID] = frozenset()) -> None:
    """Close every connection with 1012 or `done`, then cancel every process; wait for their ends.

    Args:
        seconds: which they have; what is left then is killed. One that even that does not end, as
            it never waits, is named in the log and left behind.
        spare: PIDs of processes that stay.

    Switches: yes.
    """
    begun = time.monotonic()
    deadline = begun + seconds
    node.note_draining(True)
    _close_connections(node, seconds * CLOSING_SHARE)
    while time.monotonic() < begun + seconds * CONNECTIONS_SHARE and (late := _connections(node)):
        for session in late:
            session.drain()  # for those that were admitted before, and have joined since
        gevent.sleep(POLL_SECONDS)

    def left() -> list[Entity]:
        return [entity for entity in node if entity.pid not in spare]

    _cancel(left, deadline, is_told=seconds > 0)
    _kill(left)
    # Those that have ended, but whose client still reads what it was sent.
    _wait(lambda: node.shared(Connections).are_delivered, deadline)


def _cancel(left: Callable[[], list[Entity]], deadline: float, is_told: bool) -> None:
    """Ask what is left to end, and wait; log the names of those that take long."""
    for entity in left():
        entity.cancel(None, SHUTDOWN)
    has_ended = _wait(lambda: not left(), min(deadline, time.monotonic() + PATIENCE_SECONDS))
    if not has_ended and is_told:
        _name(left(), deadline - time.monotonic())
    _wait(lambda: not left(), deadline)


def _kill(left: Callable[[], list[Entity]]) -> None:
    """End what is left; log the names of those that even so do not end."""
    for entity in left():
        # A connection has been closed, and only its client did not answer.
        entity.kill(SHUTDOWN if isinstance(entity, Session) else KILLED)
    gevent.sleep(0)
    if not _wait(lambda: not left(), time.monotonic() + KILL_SECONDS):
        for entity in left()[:MAX_NAMED]:
            log_now(
                log, logging.WARNING,
                "process %s has not ended, in %s; the stop goes on without it",
                entity.pid, entity.info().get("function"),
            )  # fmt: skip


def _wait(is_done: Callable[[], bool], until: float) -> bool:
    """Wait for a condition; `False`: it is not true by then."""
    while not is_done():
        if time.monotonic() >= until:
            return False
        gevent.sleep(POLL_SECONDS)
    return True


def _name(entities: list[Entity], seconds: float) -> None:
    """Log which processes delay the stop, and when they are killed."""
    late = [entity for entity in entities if isinstance(entity, Process)]
    when = f"in {seconds:.0f} s" if seconds > 0 else "now"
    for process in late[:MAX_NAMED]:
        log_now(
            log, logging.WARNING,
            "process %s delays the stop: it has been cancelled, is in %s, and is terminated %s",
            process.pid, process.info()["function"], when,
        )  # fmt: skip
    if len(late) > MAX_NAMED:
        more = len(late) - MAX_NAMED
        log_now(log, logging.WARNING, "and %d more processes delay the stop", more)


def _close_connections(node: Node, seconds: float) -> None:
    """Close all connections, in batches that are spread over so many seconds at most."""
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
