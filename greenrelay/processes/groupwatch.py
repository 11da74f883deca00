"""Who watches groups: each gets the members once, and then every change, as messages.

    watch ─► group.state {"group", "members": {pid: meta}}
    a change in the group ─► group.join or group.leave {"group", "pid", "meta"}

Rule: between the state and the changes nothing is missing and nothing is told twice. That holds
because nothing here blocks or switches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from greenrelay.message import Message
from greenrelay.pid import PID
from greenrelay.processes.groups import Change, Groups, copied
from greenrelay.wire import GROUP_JOIN, GROUP_LEAVE, GROUP_STATE

_TOPICS: Final = {"join": GROUP_JOIN, "leave": GROUP_LEAVE}


class GroupWatch:
    """Who watches the groups of one node.

    Args:
        groups: the node's.
        deliver: hands a message to a PID; one that is dead is passed over.
    """

    def __init__(self, groups: Groups, deliver: Callable[[PID, Message], object]) -> None:
        self._all = groups
        self._deliver = deliver
        self._watchers: dict[str, dict[PID, None]] = {}
        self._groups: dict[PID, set[str]] = {}
        groups.add_hook(self._on_change)

    def watch(self, group: str, pid: PID) -> None:
        """Tell `pid` who is in a group, and then who comes and goes; again is a new state."""
        self._watchers.setdefault(group, {})[pid] = None
        self._groups.setdefault(pid, set()).add(group)
        members: dict[PID, Any] = copied(self._all.details(group))
        self._deliver(pid, Message(GROUP_STATE, {"group": group, "members": members}))

    def unwatch(self, group: str, pid: PID) -> bool:
        """Tell `pid` no more of a group; `False`: it did not watch it."""
        watchers = self._watchers.get(group, {})
        if pid not in watchers:
            return False
        del watchers[pid]
        if not watchers:
            del self._watchers[group]
        groups = self._groups[pid]
        groups.discard(group)
        if not groups:
            del self._groups[pid]
        return True

    def remove(self, pid: PID) -> None:
        """Forget a watcher that has ended."""
        for group in tuple(self._groups.get(pid, ())):
            self.unwatch(group, pid)

    def __len__(self) -> int:
        return len(self._watchers)

    def _on_change(self, change: Change) -> None:
        watchers = self._watchers.get(change.group)
        if not watchers:
            return
        kind, group, pid, meta = change
        payload = {"group": group, "pid": pid, "meta": copied(meta)}
        message = Message(_TOPICS[kind], payload, pid)
        for watcher in tuple(watchers):
            self._deliver(watcher, message)
