"""What has a PID: the few methods by which a node, and what lives on it, know each other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from greenrelay.message import Exit, LinkDown, Message, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.channel import Owner
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.topology import Watcher
from greenrelay.processes.turn import Turn


class Entity(Protocol):
    """What a node keeps under a PID. No method may block, switch or raise."""

    @property
    def pid(self) -> PID:
        """Its address."""

    @property
    def is_full(self) -> bool:
        """Whether connections should stop parsing and reading for it."""

    @property
    def is_killed(self) -> bool:
        """Whether it has been killed, and nobody should count on it any more."""

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when it is not full any more; from anywhere, soon."""

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""

    @property
    def deliver(self) -> Callable[[Message], bool]:
        """Take a message; `False`: it takes none any more."""

    def on_exit(self, exit: Exit) -> None:
        """Take the news that a monitored entity has ended."""

    def on_link_down(self, news: LinkDown) -> None:
        """Take the news that a linked entity has ended abnormally."""

    def cancel(self, sender: PID | None, reason: str | None) -> None:
        """Take the request to end."""

    def kill(self, reason: str) -> None:
        """End with `reason`."""

    def info(self) -> dict[str, Any]:
        """Return what it knows about itself."""


class ProcessNode(Protocol):
    """What a process asks of the node that it lives on."""

    @property
    def find(self) -> Callable[[str], Entity | None]:
        """Return what lives under a PID."""

    def make_mailbox(self, owner: Owner, turn: Turn | None) -> Mailbox:
        """Return a mailbox for a greenlet."""

    def send(self, dest: str, topic: str, payload: Any = None, sender: PID | None = None) -> bool:
        """Deliver a message."""

    def make_ref(self, pid: PID) -> MonitorRef:
        """Return a ref for a further monitor of `pid`."""

    def monitor(self, watcher: Watcher, pid: PID, ref: MonitorRef | None = None) -> MonitorRef:
        """Have `watcher.on_exit` called when `pid` ends."""

    def unmonitor(self, refs: Collection[MonitorRef]) -> None:
        """Forget monitors."""

    def release(self, pid: PID) -> None:
        """Free the names and groups of a process that is as good as dead."""

    def end(
        self, entity: Entity, reason: str, value: Any = None, error: BaseException | None = None
    ) -> None:
        """Take an entity out and tell everyone who watches it."""


class PromptEntity:
    """Base of an entity that takes what it gets at once, so that nobody need wait for it.

    It is never full, and one that is killed is gone at once: a connection, a call.
    """

    __slots__ = ()

    @property
    def is_full(self) -> bool:
        """Return `False`."""
        return False

    @property
    def is_killed(self) -> bool:
        """Return `False`."""
        return False

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Do nothing: it is never full."""

    def forget_drained(self, key: object) -> None:
        """Do nothing: it is never full."""
