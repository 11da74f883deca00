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
from greenrelay.processes.registry import Registry, Scope, check_name, check_scope
from greenrelay.processes.turn import Turn
from greenrelay.wire import HOST_PROCESS, NOPROC


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
    scope: Scope = "cluster"
    """Among whom the name is unique."""


class SpawnNode(ProcessNode, Protocol):
    """What a start asks of a node, besides what the process does."""

    name: str
    registry: Registry

    def take_name(self, name: str, pid: PID, scope: Scope) -> PID:
        """Give a name to what lives under `pid`, unless it is held; return who holds it."""

    def make_pid(self, host: str) -> PID:
        """Return a PID that nobody has."""

    def add(self, entity: Entity) -> None:
        """Enter something that has a PID."""

    def link(self, entity: Entity, pid: PID) -> None:
        """Link an entity with `pid`."""


def start_on(node: SpawnNode, start: Start) -> tuple[PID, bool]:
    """Start a process, unless its name is held. Switches: yes, if it has a name in a cluster.

    Returns:
        Its PID, or the holder's; and whether it is new.

    Raises:
        TypeError: the target can't be called.
        ValueError: the target names nothing, or the name is no name.
        InvalidPID: the host can't stand in a PID.
        ClusterError: whether the name is held can't be found out just now.
    """
    function = resolve_target(start.target)
    name, starter = start.name, None if start.link is None else start.link.pid
    if name is not None:
        holder = _find_holder(node, name, start.scope)
        if holder is not None:
            _tie(node, holder, start)
            return holder, False
    pid = node.make_pid(start.host)
    process = Process(node, pid, (function, start.args, start.kwargs), start.turn, starter)
    node.add(process)
    if name is not None:
        holder = _take_name(node, process, name, start.scope)
        if holder != pid:
            _tie(node, holder, start)
            return holder, False
    if start.link is not None or start.monitor is not None:
        _tie(node, pid, start)
    process.start()
    return pid, True


def _find_holder(node: SpawnNode, name: str, scope: Scope) -> PID | None:
    check_name(name)
    check_scope(scope)
    holder = node.registry.lookup(name)
    if holder is not None and scope == "node" and holder.node != node.name:
        return None
    return holder


def _take_name(node: SpawnNode, process: Process, name: str, scope: Scope) -> PID:
    """Name a process that has not begun, or end it; return who has the name."""
    try:
        holder = node.take_name(name, process.pid, scope)
    except BaseException:  # also the spawner's own end, while it waited
        process.kill(NOPROC)
        raise
    if holder != process.pid:
        process.kill(NOPROC)
    return holder


def _tie(node: SpawnNode, pid: PID, start: Start) -> None:
    if start.link is not None:
        node.link(start.link, pid)
    if start.monitor is not None:
        start.monitor.monitor(pid)
