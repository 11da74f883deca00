"""The table of a node: what lives under each PID, and what hangs on it until it ends.

    add ─► find, names, groups, monitors, links, timed messages ─► end: all of it goes at once

Two rules: nothing here blocks or switches; what ends leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from greenrelay.message import Exit, LinkDown
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.groups import Groups
from greenrelay.processes.registry import Registry
from greenrelay.processes.timers import Timers
from greenrelay.processes.topology import Topology
from greenrelay.wire import NORMAL


class Table:
    """Everything that has a PID on one node.

    Args:
        timers: the messages that are sent to them later.
    """

    def __init__(self, timers: Timers) -> None:
        self.entities: dict[str, Entity] = {}
        """What has a PID, by it: for a node to look up, who does so for each message."""
        self.find: Callable[[str], Entity | None] = self.entities.get
        """Return what lives under a PID, `None` if nothing does. The dict's own: one call less."""
        self.registry = Registry()
        self.groups = Groups()
        self.topology = Topology()
        self.timers = timers

    def __contains__(self, pid: object) -> bool:
        return pid in self.entities

    def __len__(self) -> int:
        return len(self.entities)

    def __iter__(self) -> Iterator[Entity]:
        return iter(list(self.entities.values()))

    def add(self, entity: Entity) -> None:
        """Enter something that has a PID."""
        self.entities[entity.pid] = entity

    def remove(self, entity: Entity) -> None:
        """Take out what nobody watches."""
        self.entities.pop(entity.pid, None)

    def release(self, pid: PID) -> None:
        """Free the names and groups of a process that is as good as dead."""
        self.registry.remove(pid)
        self.groups.remove(pid)

    def end(
        self, entity: Entity, reason: str, value: Any = None, error: BaseException | None = None
    ) -> None:
        """Take an entity out and tell everyone who watches it; again is no error.

        Args:
            value: what its function returned.
            error: the exception that ended it.
        """
        pid = entity.pid
        if self.entities.pop(pid, None) is None:
            return
        self.timers.remove(pid)
        self.release(pid)
        watchers, linked = self.topology.remove(pid)
        if not (watchers or linked):
            return
        at = time.time()
        for ref, watcher in watchers.items():
            watcher.on_exit(Exit(pid, reason, at, value, error, ref))
        if reason != NORMAL:
            news = LinkDown(pid, reason, at, error)
            for other in linked:
                peer = self.find(other)
                if peer is not None:
                    peer.on_link_down(news)

    def info(self, pid: PID) -> dict[str, Any] | None:
        """Return what is known about an entity, `None` if it is dead."""
        entity = self.find(pid)
        if entity is None:
            return None
        return {
            "pid": entity.pid,
            "names": sorted(self.registry.names(pid)),
            "groups": sorted(self.groups.groups(pid)),
            "links": sorted(self.topology.linked(pid)),
            "watchers": len(self.topology.watchers(pid)),
            **entity.info(),
        }
