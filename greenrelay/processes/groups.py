"""Process groups: many processes under one name, left when they end."""

from __future__ import annotations

from greenrelay.pid import PID


class Groups:
    """The groups of one node; a group exists while it has members."""

    def __init__(self) -> None:
        self._members: dict[str, dict[PID, None]] = {}
        self._groups: dict[PID, set[str]] = {}

    def join(self, group: str, pid: PID) -> None:
        """Add `pid`; joining twice is joining once."""
        self._members.setdefault(group, {})[pid] = None
        self._groups.setdefault(pid, set()).add(group)

    def leave(self, group: str, pid: PID) -> bool:
        """Remove `pid`; `False`: it was no member."""
        members = self._members.get(group, {})
        if pid not in members:
            return False
        del members[pid]
        if not members:
            del self._members[group]
        groups = self._groups[pid]
        groups.discard(group)
        if not groups:
            del self._groups[pid]
        return True

    def members(self, group: str) -> list[PID]:
        """Return the members in the order in which they joined."""
        return list(self._members.get(group, ()))

    def groups(self, pid: PID) -> frozenset[str]:
        """Return the groups that `pid` is in."""
        return frozenset(self._groups.get(pid, ()))

    def remove(self, pid: PID) -> None:
        """Let a process that has ended leave all its groups."""
        for group in tuple(self._groups.get(pid, ())):
            self.leave(group, pid)

    def __len__(self) -> int:
        return len(self._members)
