"""What every test gets: a node of its own, and a look at what it leaves behind."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from greenrelay.process import on_node
from greenrelay.processes.lifecycle import ProcessGreenlet
from greenrelay.processes.node import Node
from greenrelay.testing import leaks, wait_until
from tests.sample_processes import Observer
from tests.targets import RecordingTarget


@pytest.fixture
def node() -> Iterator[Node]:
    """A fresh node, meant by all process calls of the test; it must be empty at the end."""
    node = Node("test")
    with on_node(node):
        yield node
        for entity in node:
            entity.kill("killed")
        wait_until(lambda: not leaks(node))


@pytest.fixture
def observer(node: Node) -> Observer:
    """Somebody who monitors processes of the test's node."""
    return Observer(node)


@pytest.fixture
def recorder(node: Node) -> RecordingTarget:
    """A target of connections that keeps what it gets."""
    return RecordingTarget(node)


@pytest.fixture
def in_process(node: Node) -> Callable[..., Any]:
    """Run a function as a process of the test's node, and return or raise what it does."""

    def run(function: Callable[..., Any], *args: Any, timeout: float = 5.0) -> Any:
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.append((function(*args), None))
            except Exception as error:  # handed to the test, whatever it is
                outcome.append((None, error))

        pid = node.spawn(body)
        wait_until(lambda: not node.is_alive(pid), timeout)
        assert outcome, "the process was killed before it was done"
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    return run


@pytest.fixture(scope="session", autouse=True)
def _frozen_modules() -> None:
    """Keep what was imported out of the searches of `nothing_left`: 3 ms a test, not 85."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test no greenlet of a process is left."""
    yield
    gevent.sleep(0)
    wait_until(lambda: not _living_greenlets())


def _living_greenlets() -> list[ProcessGreenlet]:
    gc.collect()
    return [
        item
        for item in gc.get_objects()
        # Not isinstance(): that asks weak proxies, which may have lost what they stood for.
        if issubclass(type(item), ProcessGreenlet) and item and not item.dead
    ]


@pytest.fixture(autouse=True)
def _quiet_access_log() -> None:
    logging.getLogger("greenrelay").setLevel(logging.DEBUG)
