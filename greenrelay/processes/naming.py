"""Names and groups of processes; see `greenrelay.process`."""

from __future__ import annotations

from typing import Any

from greenrelay.message import Message, check_topic
from greenrelay.pid import PID
from greenrelay.processes import anywhere
from greenrelay.processes.current import current_node, current_pid, require_process
from greenrelay.processes.registry import Scope


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

    def join(self, pid: str | None = None) -> None:
        """Add `pid`, by default the caller, until it ends; joining twice is joining once.

        Raises:
            NotAProcess: no PID is given, and the caller is no process.
            ProcessDown: `pid` is dead.
        """
        node = current_node()
        node.thread.run_greenlet(anywhere.join, node, self.name, self._member("join()", pid))

    def leave(self, pid: str | None = None) -> bool:
        """Remove `pid`, by default the caller; `False`: it was no member."""
        node = current_node()
        member = self._member("leave()", pid)
        return node.thread.run_greenlet(anywhere.leave, node, self.name, member)

    def members(self) -> list[PID]:
        """Return the members in the order in which they joined."""
        node = current_node()
        return node.thread.run(node.groups.members, self.name)

    def broadcast(self, topic: str, payload: Any = None) -> int:
        """Send one message to all members; return how many took it."""
        node = current_node()
        check_topic(topic)
        message = Message(topic, payload, current_pid())
        return node.thread.run(node.broadcast_group, self.name, message)

    def _member(self, call: str, pid: str | None) -> PID:
        return require_process(f"group(name).{call}").pid if pid is None else PID.parse(pid)


def group(name: str) -> Group:
    """Return the process group of this name.

    Raises:
        ValueError: the name is empty or no string.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a group's name is a string that is not empty, got {name!r}")
    return Group(name)


registry = Names()
