"""What a cluster asks of what carries its bytes, and what it is told by it.

A backend knows bytes, members and names, and nothing of processes. Backends differ in how they
know that a member is lost, and in nothing else; one suite of tests runs over all of them.

Everything here happens in the hub's thread. "Never blocks" means: neither blocks nor switches.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Member(NamedTuple):
    """One start of one node."""

    node: str
    """Its name, as it stands in PIDs."""
    incarnation: str
    """16 random characters, URL-safe: another start of the same name is another member."""


class Receiver(Protocol):
    """Who is told: the cluster.

    Called in the hub or in a greenlet of the backend. None of it blocks or raises.
    """

    def on_up(self, member: Member) -> None:
        """Take note: it may be published to from now on, and hears us too."""

    def on_bytes(self, member: Member, data: bytes) -> None:
        """Take what a member has published to us.

        They come in the order of its publishes, each at most once; some may be missing.
        """

    def on_lost(self, member: Member) -> None:
        """Take note: the member is gone. Once for each `on_up`; no `on_bytes` of it follows."""

    def on_isolated(self) -> Member:
        """Return who we are from now on: others have declared *us* lost.

        We hung, or were cut off. `on_lost` has come for every member before.
        """
        ...

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Take note: so many were dropped, or may have been missed.

        Args:
            what: what it was, for the log, which has one line a second of it.
            count: by how much the counter goes up.
        """

    def on_refused(self, what: str, count: int) -> None:
        """Take note: so many came that are nothing of a member's; nothing is missing for that.

        Args:
            what, count: as above.
        """


class Backend(Protocol):
    """What carries bytes between members, and keeps the names that are unique among them."""

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join. Switches: yes.

        Raises:
            ClusterError: it can't; one clear line, without secrets.
        """

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over for one member. Never blocks.

        Returns:
            `False`: not handed over, because the member is lost, or the buffer is full, which is
            counted.
        """
        ...

    def claim(self, name: str, pid: str) -> str:
        """Return the PID that holds a name: `pid` itself if it is ours now. Switches: yes.

        Raises:
            ClusterError: the service is away; try again.
        """
        ...

    def release(self, name: str, pid: str) -> None:
        """Give a name back, if `pid` holds it. Never blocks."""

    def pending(self, member: Member) -> int:
        """Return how many bytes for a member were handed over and are not yet on the wire."""
        ...

    def stop(self) -> None:
        """Leave, within 2 s. Switches: yes.

        The others get `on_lost` at once; no key, file or socket stays behind.
        """
