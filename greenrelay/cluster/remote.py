"""A process of another node, as ours sees it: it takes what an entity takes, and sends it there.

Rule: as of every entity, nothing of it blocks, switches or raises; so a relay works with a target
elsewhere as it does with one of ours. Who can be told that a payload is not portable does not send
through this, but with `Node.send()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from greenrelay.cluster import operations
from greenrelay.cluster.operations import encode
from greenrelay.cluster.peer import Peer
from greenrelay.errors import NotPortable
from greenrelay.message import Exit, LinkDown, Message
from greenrelay.pid import PID


class Ways(Protocol):
    """How things get to another node, and what is known of its mailboxes."""

    def prepare(self, pid: PID, message: Message) -> Callable[[], bool] | None:
        """Return what sends a message."""

    def note_unsent(self, pid: PID, message: Message, error: NotPortable) -> None:
        """Count and tell what could not be sent, for what it is."""

    def is_full(self, peer: Peer, pid: PID) -> bool:
        """Tell whether clients of a process should hold back."""

    def hold(self, pid: PID, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when they may go on."""

    def forget(self, pid: PID, key: object) -> None:
        """Do not call."""


class RemoteEntity:
    """Stands for what lives under a PID of another node."""

    __slots__ = ("_peer", "_ways", "pid")

    def __init__(self, pid: PID, peer: Peer, ways: Ways) -> None:
        self.pid = pid
        self._peer = peer
        self._ways = ways

    def __repr__(self) -> str:
        return f"<RemoteEntity {self.pid}>"

    @property
    def is_full(self) -> bool:
        """Whether connections should stop parsing and reading for it."""
        return self._ways.is_full(self._peer, self.pid)

    @property
    def is_killed(self) -> bool:
        """Whether its node is no member any more."""
        return not self._peer.is_up

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when it is not full any more, or has ended."""
        self._ways.hold(self.pid, key, call)

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self._ways.forget(self.pid, key)

    def deliver(self, message: Message) -> bool:
        """Send a message there; `False`: it could not be, which is told if the message is why."""
        try:
            send = self._ways.prepare(self.pid, message)
        except NotPortable as error:
            self._ways.note_unsent(self.pid, message, error)
            return False
        return send is not None and send()

    def on_exit(self, exit: Exit) -> None:
        """Nothing: whoever watches there is told by `Ended`."""

    def on_link_down(self, news: LinkDown) -> None:
        """Nothing: links across nodes are told of by `LinkDown`."""

    def cancel(self, sender: PID | None, reason: str | None) -> None:
        """Ask it to end."""
        self._peer.send(encode(operations.Cancel(self.pid, sender, reason)))

    def kill(self, reason: str) -> None:
        """Force it to end."""
        self._peer.send(encode(operations.Kill(self.pid, reason)))

    def info(self) -> dict[str, Any]:
        """Return nothing: what there is to know, its node knows."""
        return {}
