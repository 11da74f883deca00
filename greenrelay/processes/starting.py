"""Making processes: what is to be started, and the steps in which it is.

    Start(target, …) ─► start_on(node, …) ─► a process that runs from the next turn of the loop
                                             on, or the one that holds the name

Rule: it is in the table, named, linked and monitored before its first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from greenrelay.pid import PID
from greenrelay.processes.entity import Entity, ProcessNode
from greenrelay.processes.functions import resolve_target
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.registry import Registry, check_name
from greenrelay.processes.turn import Turn
from greenrelay.wire import HOST_PROCESS


class Start(NamedTuple):
    """How a process is to be started."""

    target: Callable[..., Any] | str
    """A callable, or `"package.module:function"`."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    host: str = HOST_PROCESS
    """What stands before the `@` of its PID."""
    name: str | None = None
    """Registered at once; if it is held, nothing is started."""
    link: Process | None = None
    """Linked with the new process before its first step, or with the holder."""
    monitor: Process | None = None
    """Monitors the new process before its first step, or the holder."""
    turn: Turn | None = None
    """What surrounds the handling of each message."""


class SpawnNode(ProcessNode, Protocol):
    """What a start asks of a node, besides what the process does."""

    registry: Registry

    def make_pid(self, host: str) -> PID:
        """Return a PID that nobody has."""

    def add(self, entity: Entity) -> None:
        """Enter something that has a PID."""

    def link(self, entity: Entity, pid: PID) -> None:
        """Link an entity with `pid`."""


def start_on(node: SpawnNode, start: Start) -> tuple[PID, bool]:
    """Start a process, unless its name is held.

    Returns:
        Its PID, or the holder's; and whether it is new.

    Raises:
        TypeError: the target can't be called.
        ValueError: the target names nothing, or the name is no name.
        InvalidPID: the host can't stand in a PID.
    """
    target, args, kwargs, host, name, link, monitor, turn = start
    function = resolve_target(target)
    if name is not None:
        check_name(name)
        holder = node.registry.lookup(name)
        if holder is not None:
            _tie(node, holder, link, monitor)
            return holder, False
    pid = node.make_pid(host)
    starter = None if link is None else link.pid
    process = Process(node, pid, (function, args, kwargs), turn, starter)
    node.add(process)
    if name is not None:
        node.registry.register(name, pid)
    if link is not None or monitor is not None:
        _tie(node, pid, link, monitor)
    process.start()
    return pid, True


def _tie(node: SpawnNode, pid: PID, link: Process | None, monitor: Process | None) -> None:
    if link is not None:
        node.link(link, pid)
    if monitor is not None:
        monitor.monitor(pid)
