"""Stopping a node in good order: connections first, then processes, then by force.

Connections are told in batches, so that the clients of a large node do not all
reconnect in the same instant. A small one is done at once.
"""

from __future__ import annotations

import math
import time

import gevent

from greenrelay.node import Node
from greenrelay.websocket import WebSocketSession
from greenrelay.wire import KILLED, SHUTDOWN

BATCH_SECONDS = 0.1
"""Between two batches."""
BATCH_CONNECTIONS = 100
"""At least so many are told at once: fewer would only make a small node slow."""
GOODBYE_SHARE = 0.5
"""Of the drain time for telling connections; the rest is for them to answer."""
POLL_SECONDS = 0.02


def drain(node: Node, seconds: float) -> None:
    """Close every connection with 1012, end every process; return when nothing is left.

    Args:
        seconds: until what is left is terminated.

    Switches: yes.
    """
    deadline = time.monotonic() + seconds
    node.is_draining = True
    _close_connections(node, seconds * GOODBYE_SHARE)
    _wait_for(node, deadline, WebSocketSession)
    for entity in node:
        entity.cancel(None, SHUTDOWN)
    _wait_for(node, deadline, object)
    for entity in node:
        entity.kill(KILLED)
    gevent.sleep(0)


def _close_connections(node: Node, seconds: float) -> None:
    sessions = [entity for entity in node if isinstance(entity, WebSocketSession)]
    batches = max(1, int(seconds / BATCH_SECONDS))
    size = max(BATCH_CONNECTIONS, math.ceil(len(sessions) / batches))
    for start in range(0, len(sessions), size):
        if start:
            gevent.sleep(BATCH_SECONDS)
        for session in sessions[start : start + size]:
            session.drain()


def _wait_for(node: Node, deadline: float, kind: type) -> None:
    while time.monotonic() < deadline and any(isinstance(entity, kind) for entity in node):
        gevent.sleep(POLL_SECONDS)
