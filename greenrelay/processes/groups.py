"""Process groups: many processes under one name, each with metadata, left when they end.

    join(group, pid, meta) / leave / remove ─► the table ─► every hook is told, once per change

A plain table, of PIDs local or not: it asks nobody whether they live. Rules: a hook is told after
the change and in its order, of nothing that changes nothing; metadata is never changed in place, so
that who was given it has it for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from greenrelay.pid import PID

Meta = dict[str, Any]


class Change(NamedTuple):
    """What has happened in a group."""

    kind: Literal["join", "leave"]
    """A join of somebody who is a member already is new metadata, nothing else."""
    group: str
    pid: PID
    meta: Meta
    """Of a join the member's from now on, of a leave the last. To be copied, not to be changed."""


Hook = Callable[[Change], None]
"""Takes a change. Must not block, switch or raise, nor change a group itself."""


class Groups:
    """The groups of one node; a group exists while it has members."""

    def __init__(self) -> None:
        self._members: dict[str, dict[PID, Meta]] = {}
        self._groups: dict[PID, set[str]] = {}
        self._hooks: list[Hook] = []

    def add_hook(self, hook: Hook) -> None:
        """Have `hook` called after each change from now on."""
        self._hooks.append(hook)

    def remove_hook(self, hook: Hook) -> None:
        """Call it no more."""
        self._hooks.remove(hook)

    def join(self, group: str, pid: PID, meta: Meta | None = None) -> None:
        """Add `pid`, or give a member other metadata; the same once more changes nothing.

        Args:
            meta: kept as it is, so it has to be nobody else's; by default empty.
        """
        meta = {} if meta is None else meta
        members = self._members.setdefault(group, {})
        if pid in members and members[pid] == meta:
            return
        members[pid] = meta
        self._groups.setdefault(pid, set()).add(group)
        self._tell(Change("join", group, pid, meta))

    def leave(self, group: str, pid: PID) -> bool:
        """Remove `pid`; `False`: it was no member."""
        members = self._members.get(group, {})
        if pid not in members:
            return False
        meta = members.pop(pid)
        if not members:
            del self._members[group]
        groups = self._groups[pid]
        groups.discard(group)
        if not groups:
            del self._groups[pid]
        self._tell(Change("leave", group, pid, meta))
        return True

    def members(self, group: str) -> list[PID]:
        """Return the members in the order in which they joined."""
        return list(self._members.get(group, ()))

    def details(self, group: str) -> dict[PID, Meta]:
        """Return the members in the order in which they joined, each with its own metadata."""
        return dict(self._members.get(group, ()))

    def groups(self, pid: PID) -> frozenset[str]:
        """Return the groups that `pid` is in."""
        return frozenset(self._groups.get(pid, ()))

    def remove(self, pid: PID) -> None:
        """Let a process that has ended leave all its groups."""
        for group in tuple(self._groups.get(pid, ())):
            self.leave(group, pid)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def _tell(self, change: Change) -> None:
        for hook in self._hooks:
            hook(change)


def copied(value: Any) -> Any:
    """Return a value whose mappings, lists, tuples and sets are its own; the rest is the same.

    Not `copy.deepcopy`, which runs code of what it copies: this may be called in the hub.
    """
    if isinstance(value, Mapping):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [copied(each) for each in value]
    if type(value) is tuple:
        return tuple(copied(each) for each in value)
    return set(value) if isinstance(value, set) else value
