"""Who watches whom: monitors and links, as plain tables.

A monitor has one direction and a ref of its own; they stack. A link has no
direction and is there once or not at all. Both name PIDs, local or not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from greenrelay.message import Exit, MonitorRef
from greenrelay.pid import PID


class Watcher(Protocol):
    """Whoever can monitor: processes, connections, calls."""

    def on_exit(self, exit: Exit) -> None:
        """Take the news of an end. Must not block or raise."""


class Topology:
    """The monitors and links of one node."""

    def __init__(self) -> None:
        self._watchers: dict[PID, dict[MonitorRef, Watcher]] = {}
        self._links: dict[PID, dict[PID, None]] = {}

    def monitor(self, ref: MonitorRef, watcher: Watcher) -> None:
        """Tell `watcher` when `ref.pid` ends."""
        self._watchers.setdefault(ref.pid, {})[ref] = watcher

    def unmonitor(self, ref: MonitorRef) -> bool:
        """Forget a monitor; `False`: it is not there, or has fired."""
        watchers = self._watchers.get(ref.pid)
        if watchers is None or watchers.pop(ref, None) is None:
            return False
        if not watchers:
            del self._watchers[ref.pid]
        return True

    def link(self, one: PID, other: PID) -> None:
        """Let an abnormal end of either reach the other."""
        self._links.setdefault(one, {})[other] = None
        self._links.setdefault(other, {})[one] = None

    def unlink(self, one: PID, other: PID) -> None:
        """Forget the link, if there is one."""
        for here, there in ((one, other), (other, one)):
            linked = self._links.get(here)
            if linked is not None:
                linked.pop(there, None)
                if not linked:
                    del self._links[here]

    def linked(self, pid: PID) -> tuple[PID, ...]:
        """Return who is linked to `pid`, in the order in which they were."""
        return tuple(self._links.get(pid, ()))

    def watchers(self, pid: PID) -> list[Watcher]:
        """Return who monitors `pid`, once for each monitor."""
        return list(self._watchers.get(pid, {}).values())

    def entries(self, pid: PID) -> list[tuple[MonitorRef, Watcher]]:
        """Return the monitors of `pid`, each with who watches, in order."""
        return list(self._watchers.get(pid, {}).items())

    def refs(self, pid: PID) -> Collection[MonitorRef]:
        """Return the monitors of `pid`."""
        return self._watchers.get(pid, {}).keys()

    def remove(self, pid: PID) -> tuple[dict[MonitorRef, Watcher], tuple[PID, ...]]:
        """Take `pid` out; return who monitored it, in order, and who was linked to it."""
        linked = self.linked(pid)
        for other in linked:
            self.unlink(pid, other)
        return self._watchers.pop(pid, {}), linked

    def is_empty(self) -> bool:
        """Tell whether nobody watches anybody."""
        return not self._watchers and not self._links
