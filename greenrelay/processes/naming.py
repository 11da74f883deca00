"""Names and groups of processes; see `greenrelay.process`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from greenrelay.message import Message, check_topic
from greenrelay.pid import PID
from greenrelay.processes import anywhere
from greenrelay.processes.current import current_node, current_pid, require_process
from greenrelay.processes.groups import Meta, copied
from greenrelay.processes.registry import Scope

_NO_META: Final[Mapping[str, Any]] = MappingProxyType({})


class Names:
    """Names of processes: unique, and released when the process ends."""

    def register(self, name: str, pid: str | None = None, *, scope: Scope = "cluster") -> None:
        """Give `name` to `pid`, by default to the caller; again for the same one is no error.

        Switches: yes, in a cluster.

        Args:
            scope: among whom it is unique: `cluster`, all nodes that talk; or `node`, those who
                live on the holder's, and who alone find it.

        Raises:
            NameTaken: somebody else holds it.
            ClusterError: the cluster can't be asked just now.
            NotAProcess: no PID is given, and the caller is no process.
            ProcessDown: `pid` is dead.
            ValueError: `name` is empty or has an '@'.
        """
        node = current_node()
        holder = require_process("registry.register(name)").pid if pid is None else PID.parse(pid)
        node.thread.run_greenlet(anywhere.register, node, name, holder, scope)

    def lookup(self, name: str) -> PID | None:
        """Return who holds `name`, `None` if nobody does."""
        return current_node().registry.lookup(name)

    def unregister(self, name: str) -> bool:
        """Free `name`; `False`: nobody held it. Switches: yes, if another node's process does."""
        node = current_node()
        return node.thread.run_greenlet(anywhere.unregister, node, name)


class Group:
    """Many processes or connections under one name; it exists while it has members."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def join(self, pid: str | None = None, meta: Mapping[str, Any] = _NO_META) -> None:
        """Add `pid`, by default the caller, until it ends.

        Joining twice is joining once: the place in the group stays, the later metadata counts.

        Args:
            meta: what `details()` and watchers are to know of the member, `{"name": "Ada"}`. It
                is copied, with the mappings, lists, tuples and sets in it.

        Raises:
            NotAProcess: no PID is given, and the caller is no process.
            ProcessDown: `pid` is dead.
            TypeError: `meta` is no mapping.
            ValueError: `meta` contains itself.
        """
        node, member = current_node(), self._member("join()", pid)
        node.thread.run_greenlet(anywhere.join, node, self.name, member, _copy_meta(meta))

    def leave(self, pid: str | None = None) -> bool:
        """Remove `pid`, by default the caller; `False`: it was no member."""
        node = current_node()
        member = self._member("leave()", pid)
        return node.thread.run_greenlet(anywhere.leave, node, self.name, member)

    def members(self) -> list[PID]:
        """Return the members in the order in which they joined."""
        node = current_node()
        return node.thread.run(node.groups.members, self.name)

    def details(self) -> dict[PID, Meta]:
        """Return `{pid: meta}`, in the order in which they joined; it is the caller's own copy."""
        node = current_node()
        details: dict[PID, Meta] = copied(node.thread.run(node.groups.details, self.name))
        return details

    def watch(self) -> None:
        """Tell the caller who is in this group, and from then on who comes and goes.

        The inbox, or `listen("group.join")` and so on, gets three kinds of messages:

        - `group.state` `{"group": name, "members": {pid: meta}}`, once, before this returns. The
          group may be empty.
        - `group.join` `{"group": name, "pid": PID, "meta": dict}`, also for a member that joins
          again with other metadata. `message.sender` is the member, who may be the caller.
        - `group.leave`, the same with the last metadata, however it left.

        Watching again brings another `group.state`, and no change twice. It ends with the
        caller, or by `unwatch()`.

        Raises:
            NotAProcess: the caller is none.
        """
        node, watcher = current_node(), require_process("group(name).watch()").pid
        node.table.watch_group(self.name, watcher)

    def unwatch(self) -> bool:
        """Tell the caller no more; `False`: it did not watch. What is in its inbox stays there.

        Raises:
            NotAProcess: the caller is none.
        """
        node, watcher = current_node(), require_process("group(name).unwatch()").pid
        return node.table.groupwatch.unwatch(self.name, watcher)

    def broadcast(self, topic: str, payload: Any = None) -> int:
        """Send one message to all members; return how many took it."""
        node = current_node()
        check_topic(topic)
        message = Message(topic, payload, current_pid())
        return node.thread.run(node.broadcast_group, self.name, message)

    def _member(self, call: str, pid: str | None) -> PID:
        return require_process(f"group(name).{call}").pid if pid is None else PID.parse(pid)


def _copy_meta(meta: Mapping[str, Any]) -> Meta:
    if not isinstance(meta, Mapping):
        raise TypeError(f"join(meta=…) takes a mapping like {{'name': 'Ada'}}, got {meta!r}")
    try:
        own: Meta = copied(meta)
    except RecursionError:
        raise ValueError("join(meta=…) takes a mapping that does not contain itself") from None
    return own


def group(name: str) -> Group:
    """Return the process group of this name.

    Raises:
        ValueError: the name is empty or no string.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a group's name is a string that is not empty, got {name!r}")
    return Group(name)


registry = Names()
