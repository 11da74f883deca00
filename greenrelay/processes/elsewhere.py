"""What a node asks of its cluster, if it has one: processes, names and groups of other nodes.

    not in the table ─► elsewhere ─► what stands for it, or nothing: its node is no member

Rule: a node without a cluster has none of this, and one with a cluster asks it only for what its
own table does not have. Nothing here blocks, switches or raises, unless it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from greenrelay.message import LinkDown, Message
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity


class Elsewhere(Protocol):
    """The other nodes, as one of them sees them."""

    def stop(self) -> None:
        """Leave them. Switches: yes."""

    def is_elsewhere(self, pid: PID) -> bool:
        """Tell whether a PID is another node's, a member's or not."""

    def absence(self, pid: PID) -> str:
        """Return why nobody is there: `noproc`; `noconnection` if its node is no member."""

    def is_leaving(self, pid: PID) -> bool:
        """Tell whether a PID's node is another one, and about to stop, or no member any more."""

    def tell_draining(self, is_draining: bool) -> None:
        """Have the others know that our node is about to stop, or is not any more."""

    # -- messages ----------------------------------------------------------------------

    def reach(self, pid: str) -> Entity | None:
        """Return what stands for a process of another node; `None`: that is no member."""

    def prepare(self, pid: PID, message: Message) -> Callable[[], bool] | None:
        """Return what sends a message, to be called in the node's thread; `None`: to no member.

        From any thread.

        Raises:
            NotPortable: the payload can't go to another node, or is too large for it.
        """

    def broadcast(self, pids: Iterable[str], message: Message) -> int:
        """Deliver a message to many, here and elsewhere, or to none; return how many took it.

        Raises:
            NotPortable: as `prepare()`.
        """

    def broadcast_group(self, group: str, message: Message) -> int:
        """Deliver a message to the members of a group, or to none; return how many took it.

        Raises:
            NotPortable: as `prepare()`.
        """

    def check_portable(self, value: Any, what: str) -> None:
        """Raise `NotPortable` for what can't go to another node.

        Args:
            what: it is, for the error.
        """

    # -- monitors and links ------------------------------------------------------------

    def watch(self, pid: PID) -> bool:
        """Have the end of `pid` told to the table's watchers; `False`: its node is no member."""

    def unwatch(self, pid: PID) -> None:
        """Have it told no more, if nobody here watches `pid`."""

    def link(self, ours: PID, theirs: PID) -> bool:
        """Link there what is linked here; `False`: its node is no member."""

    def unlink(self, ours: PID, theirs: PID) -> None:
        """Have the link forgotten there."""

    def tell_link(self, theirs: PID, news: LinkDown) -> None:
        """Tell that a process of ours, linked with `theirs`, has ended; also if normally."""

    # -- names and groups ----------------------------------------------------------------

    def claim(self, name: str, pid: PID) -> PID:
        """Give a name to a process of ours, unless it is held; return who holds it.

        Switches: yes.

        Raises:
            ClusterError: whether it is held can't be found out just now.
            NotPortable: the name can't be told to others.
        """

    def ask(self, pid: PID, verb: str, *args: Any) -> Any:
        """Have something done, or looked up, where a process lives. Switches: yes.

        Raises:
            ProcessDown: its node is no member, or does not answer.
            GreenRelayError: what has been raised there, a `NameTaken` say.
        """
