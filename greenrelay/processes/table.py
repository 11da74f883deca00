"""The table of a node: what lives under each PID, and what hangs on it until it ends.

    add ─► find, names, groups, monitors, links, timed messages ─► end: all of it goes at once

Two rules: nothing here blocks or switches; what ends leaves nothing behind. Whoever hangs something
on a PID under which nobody lives is told so here (`_absence`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from greenrelay.errors import NameTaken, ProcessDown
from greenrelay.message import Exit, LinkDown, Message, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.elsewhere import Elsewhere
from greenrelay.processes.entity import Entity
from greenrelay.processes.groups import Groups, Meta
from greenrelay.processes.groupwatch import GroupWatch
from greenrelay.processes.registry import Registry, Scope
from greenrelay.processes.timers import Timers
from greenrelay.processes.topology import Ref, Topology, Watcher, told_ref
from greenrelay.wire import NOPROC, NORMAL


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
        self.groupwatch = GroupWatch(self.groups, self._tell)
        self.topology = Topology()
        self.timers = timers
        self.elsewhere: Elsewhere | None = None
        """The other nodes, where there is a cluster."""
        self._numbers = itertools.count(1)

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
        self.groupwatch.remove(pid)
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
        self.registry.remove(pid)
        self.groupwatch.remove(pid)
        self.groups.remove(pid)
        watchers, linked = self.topology.remove(pid)
        if not (watchers or linked):
            return
        at = time.time()
        for ref, watcher in watchers.items():
            watcher.on_exit(Exit(pid, reason, at, value, error, told_ref(ref)))
        if linked:
            self._tell_linked(linked, LinkDown(pid, reason, at, error))

    def _tell_linked(self, linked: Iterable[PID], news: LinkDown) -> None:
        for other in linked:
            peer = self.find(other)
            if peer is None:
                if self.elsewhere is not None:
                    self.elsewhere.tell_link(other, news)
            elif news.reason != NORMAL:
                peer.on_link_down(news)

    # -- what hangs on it ---------------------------------------------------------

    def take_name(self, name: str, pid: PID, scope: Scope = "cluster") -> PID:
        """Give a name to what lives under `pid`, unless it is held; return who holds it.

        Switches: yes, if there is a cluster.

        Raises:
            ClusterError: whether it is held can't be found out just now.
            NotPortable: the name can't be told to other nodes, and there are such.
        """
        if scope == "cluster" and self.elsewhere is not None:
            return self.elsewhere.claim(name, pid)
        try:
            self.registry.register(name, pid, scope)
        except NameTaken as taken:
            return PID(taken.holder)
        return pid

    def register(self, name: str, pid: PID, scope: Scope = "cluster") -> None:
        """Give `name` to a living process or connection. Switches: as `take_name()`.

        Raises:
            NameTaken: somebody else holds it.
            ProcessDown: `pid` is dead.
            ClusterError, NotPortable: as `take_name()`.
        """
        self.require_alive(pid)
        holder = self.take_name(name, pid, scope)
        if holder != pid:
            raise NameTaken(name, holder)
        self.require_alive(pid)

    def join(self, group: str, pid: PID, meta: Meta | None = None) -> None:
        """Make a living process or connection a member of a group; see `Groups.join()`.

        Raises:
            ProcessDown: `pid` is dead.
            NotPortable: the group's name, or `meta`, can't go to other nodes, and there are such.
        """
        self.require_alive(pid)
        if self.elsewhere is not None:
            self.elsewhere.check_portable(group, "group")
            self.elsewhere.check_portable(meta, "meta")
        self.groups.join(group, pid, meta)

    def watch_group(self, group: str, pid: PID) -> None:
        """Tell a living process who is in a group, and who comes and goes; see `GroupWatch`.

        Raises:
            ProcessDown: `pid` is dead.
        """
        self.require_alive(pid)
        self.groupwatch.watch(group, pid)

    def _tell(self, pid: PID, message: Message) -> None:
        entity = self.find(pid)
        if entity is not None:
            entity.deliver(message)

    def require_alive(self, pid: PID) -> None:
        """Raise `ProcessDown` for one that is dead."""
        if pid not in self.entities:
            raise ProcessDown(pid, self._absence(pid))

    def make_ref(self, pid: PID) -> MonitorRef:
        """Return a ref for a further monitor of `pid`."""
        return MonitorRef(pid, next(self._numbers))

    def monitor(self, watcher: Watcher, pid: PID, ref: MonitorRef | None = None) -> MonitorRef:
        """Have `watcher.on_exit` called when `pid` ends: at once if it is dead or unknown.

        Args:
            ref: of `make_ref()`, for a watcher that must know it first.
        """
        ref = self.make_ref(pid) if ref is None else ref
        self.monitor_as(ref, watcher)
        return ref

    def monitor_as(self, ref: Ref, watcher: Watcher) -> None:
        """Do what `monitor()` does for `ref.pid`, under a name that the watcher gives."""
        pid, elsewhere = ref.pid, self.elsewhere
        if pid in self.entities or (elsewhere is not None and elsewhere.watch(pid)):
            self.topology.monitor(ref, watcher)
        else:
            watcher.on_exit(Exit(pid, self._absence(pid), time.time(), ref=told_ref(ref)))

    def monitor_ahead(self, watcher: Watcher, pid: PID) -> MonitorRef:
        """Have `watcher.on_exit` called when what is about to be entered under `pid` ends."""
        ref = self.make_ref(pid)
        self.topology.monitor(ref, watcher)
        return ref

    def unmonitor(self, refs: Iterable[Ref]) -> None:
        """Forget monitors."""
        for ref in refs:
            self.topology.unmonitor(ref)
            if self.elsewhere is not None and ref.pid not in self.entities:
                self.elsewhere.unwatch(ref.pid)

    def link(self, entity: Entity, pid: PID) -> None:
        """Link an entity with `pid`; a dead one acts like its death."""
        if pid in self.entities:
            if pid != entity.pid and entity.pid in self.entities:
                self.topology.link(entity.pid, pid)
        elif self.elsewhere is not None and self.elsewhere.link(entity.pid, pid):
            self.topology.link(entity.pid, pid)
        else:
            entity.on_link_down(LinkDown(pid, self._absence(pid), time.time()))

    def unlink(self, one: PID, other: PID) -> None:
        """Forget the link, if there is one."""
        self.topology.unlink(one, other)
        if self.elsewhere is not None and other not in self.entities:
            self.elsewhere.unlink(one, other)

    def _absence(self, pid: PID) -> str:
        """Return why nobody lives under `pid`."""
        # Without a cluster no other node has ever been there to be lost.
        return NOPROC if self.elsewhere is None else self.elsewhere.absence(pid)

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
