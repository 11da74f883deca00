"""Envelopes on the wire (placeholder until the branch that has them is merged)."""

from __future__ import annotations

from typing import Any, Final

from greenrelay.cluster.backend import Member
from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import EnvelopeError

MAX_ENVELOPE_BYTES: Final = 1024 * 1024


class Sealer:
    """Makes envelopes for one member."""

    def __init__(
        self, me: Member, to: Member, secret: Any = None, max_bytes: int = MAX_ENVELOPE_BYTES
    ) -> None:
        self._head = [1, *me, *to]
        self._sequence = 0

    def seal(self, operations: list[bytes]) -> bytes:
        """Return an envelope."""
        self._sequence += 1
        return pack([*self._head, self._sequence, operations])


class Opener:
    """Opens envelopes of one member."""

    def __init__(self, me: Member, sender: Member, secret: Any = None) -> None:
        self._head = [1, *sender, *me]

    def open(self, data: bytes) -> tuple[int, list[bytes]]:
        """Return what is in an envelope."""
        try:
            *head, sequence, operations = unpack(data)
        except Exception as error:
            raise EnvelopeError("malformed", repr(error)) from None
        if head != self._head:
            raise EnvelopeError("foreign", "not between us")
        return sequence, operations
