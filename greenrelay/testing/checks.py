"""What a test waits for, and what it looks for at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

from greenrelay.processes.node import Node
from greenrelay.testing.clients import DEFAULT_TIMEOUT_SECONDS

POLL_SECONDS = 0.005

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Result:
    """Return the condition's value as soon as it is true.

    Raises:
        AssertionError: it is not true in `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true in {timeout} s: {condition}; last value {value!r}")
        gevent.sleep(POLL_SECONDS)
    return value


def leaks(node: Node) -> list[str]:
    """Return what is left on a node, a line each; an empty list is what a test wants to see."""
    found = [f"{entity!r}" for entity in node]
    for kind, table in (("names", node.registry), ("groups", node.groups)):
        if len(table):
            found.append(f"{len(table)} {kind}")
    if len(node.table.groupwatch):
        found.append("watchers of groups")
    if not node.topology.is_empty():
        found.append("monitors or links")
    if len(node.table.timers):
        found.append(f"{len(node.table.timers)} timers")
    return found
