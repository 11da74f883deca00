"""Stopping a node in good order: connections first, then processes, then by force.

Connections are told in batches, so that the clients of a large node do not all
reconnect in the same instant. A small one is done at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Set

import gevent

from greenrelay.entity import Entity
from greenrelay.node import Node
from greenrelay.pid import PID
from greenrelay.session import Session
from greenrelay.wire import KILLED, SHUTDOWN

BATCH_SECONDS = 0.1
"""Between two batches."""
BATCH_CONNECTIONS = 100
"""At least so many are told at once: fewer would only make a small node slow."""
GOODBYE_SHARE = 0.5
"""Of the drain time for telling connections; the rest is for them to answer."""
POLL_SECONDS = 0.02


def drain(node: Node, seconds: float, spare: Set[PID] = frozenset()) -> None:
    """End every connection with 1012 or `done`, then every process; return when nothing is left.

    Args:
        seconds: until what is left is terminated.
        spare: PIDs of processes that stay.

    Switches: yes.
    """
    deadline = time.monotonic() + seconds
    node.is_draining = True
    _close_connections(node, seconds * GOODBYE_SHARE)
    while time.monotonic() < deadline and (late := _connections(node)):
        for session in late:
            session.drain()  # for those that were let in before, and joined after
        gevent.sleep(POLL_SECONDS)
    for entity in _others(node, spare):
        entity.cancel(None, SHUTDOWN)
    while time.monotonic() < deadline and _others(node, spare):
        gevent.sleep(POLL_SECONDS)
    for entity in _others(node, spare):
        # A connection has been told, and only did not answer.
        entity.kill(SHUTDOWN if isinstance(entity, Session) else KILLED)
    gevent.sleep(0)
    # Those that have ended, but whose client still reads what it was sent.
    while time.monotonic() < deadline and any(one.transport.undelivered for one in node.lingering):
        gevent.sleep(POLL_SECONDS)


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
