"""What one node knows of one other: the way to it, and what the two are to each other.

    send(operation) ─► gathered for a turn of the loop ─► one envelope ─► backend.publish
    open(data)      ◄─ operations, in the order of the other's sends ◄─ backend

No loop and no clock: `soon` brings the flush. Rule: what is sent to one peer arrives in that order,
whatever it is, so that the news of an end comes after what was sent before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from greenrelay.cluster.backend import Backend, Member
from greenrelay.cluster.envelope import FRAME_BYTES, MAX_ENVELOPE_BYTES, Opener, Sealer
from greenrelay.cluster.operations import Name
from greenrelay.errors import NotPortable
from greenrelay.pid import PID

LENGTH_BYTES: Final = 5
"""In front of each operation in an envelope."""


class Peer:
    """One other member.

    Args:
        me: who we are.
        member: who it is.
        backend: what carries the bytes.
        soon: calls a function soon, in the loop's next turn.
        secret: signs what goes to it, and what comes must be signed with it.
        max_bytes: of one envelope.
    """

    def __init__(
        self,
        me: Member,
        member: Member,
        backend: Backend,
        soon: Callable[[Callable[[], None]], object],
        *,
        secret: str | None = None,
        max_bytes: int = MAX_ENVELOPE_BYTES,
    ) -> None:
        self.member = member
        self.is_up = True
        """Whether it is a member still."""
        self.watched: set[PID] = set()
        """Its processes that we monitor."""
        self.linked: set[PID] = set()
        """Its processes with which ours are linked."""
        self.full: set[PID] = set()
        """Its processes whose mailbox is over the mark."""
        self.names: set[Name] = set()
        """Names that its processes hold."""
        self.joins: set[tuple[str, PID]] = set()
        """Groups, and its processes in them."""
        self.told: set[object] | None = None
        """What has come since its last `Sync`; `None`: `Synced` has come, too."""
        self.has_synced = False
        """Whether it has told all there was when it came up."""
        self.is_draining = False
        """Whether it is about to stop."""
        self.missing = 0
        """How many of its envelopes have not come, right before the last one opened."""
        self.sent = 0
        """How many operations of ours it has taken."""
        self.undelivered = 0
        """How many operations of ours the backend has not taken, so far."""
        self._backend = backend
        self._soon = soon
        self._room = max_bytes - FRAME_BYTES - LENGTH_BYTES
        self._sealer = Sealer(me, member, secret, max_bytes)
        self._opener = Opener(me, member, secret, max_bytes)
        self._waiting: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Peer {self.member.node} {self.member.incarnation}>"

    # -- to it -------------------------------------------------------------------------

    def send(self, operation: bytes) -> bool:
        """Have an operation sent, with what else is in this turn; `False`: it is no member.

        Raises:
            NotPortable: it is more than an envelope holds.
        """
        if not self.is_up:
            return False
        self.check_size(operation)
        if not self._waiting:
            self._soon(self.flush)
        self._waiting.append(operation)
        return True

    def check_size(self, operation: bytes) -> None:
        """Raise `NotPortable` for what no envelope holds."""
        if len(operation) > self._room:
            raise NotPortable(
                f"{len(operation)} bytes are too many for a message to another node, of which one "
                f"takes {self._room} at most; send it in parts, or set ?max_envelope="
            )

    def has_room_for(self, size: int) -> bool:
        """Tell whether one operation of so many bytes can be sent."""
        return size <= self._room

    def flush(self) -> None:
        """Hand everything that has gathered to the backend; `sent` and `undelivered` count it."""
        waiting, self._waiting = self._waiting, []
        batch: list[bytes] = []
        size = 0
        for operation in waiting:
            cost = len(operation) + LENGTH_BYTES
            if batch and size + cost > self._room:
                self._publish(batch)
                batch, size = [], 0
            batch.append(operation)
            size += cost
        if batch:
            self._publish(batch)

    def _publish(self, batch: list[bytes]) -> None:
        if self._backend.publish(self.member, self._sealer.seal(batch)):
            self.sent += len(batch)
        elif self.is_up:
            self.undelivered += len(batch)

    def pending(self) -> int:
        """Return how many bytes for it are not yet on the wire."""
        return self._backend.pending(self.member) if self.is_up else 0

    def lose(self) -> None:
        """Be no member any more."""
        self.is_up = False
        self._waiting.clear()

    # -- from it -----------------------------------------------------------------------

    def open(self, data: bytes) -> list[bytes]:
        """Return the operations in an envelope; `missing` says how many did not come before it.

        Raises:
            EnvelopeError: it is not to be used.
        """
        _, operations = self._opener.open(data)
        self.missing = self._opener.missed
        return operations
