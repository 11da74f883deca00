"""Whose silence it is: the peer's, or ours, because we did not listen.

    sign of life ──── silence ────┬─ listening ─┐ limit
                                  began         ends ─► the peer is silent, if we were there

Before a silence counts, the event loop has to have run freely for a moment in which the
peer could be heard. A moment that ends late tells of a stall, and is followed by another
one. Time is an argument: no clock here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LISTEN_SECONDS: Final = 0.1
"""The shortest moment: two slots of the wheel, in which a loop turns hundreds of times."""


class Listening(NamedTuple):
    """A stretch of time in which we listen, to be sure of a silence."""

    began: float
    ends: float

    def due(self, sign: float, limit: float) -> float:
        """Return when there is something to do about a silence: begin to listen, or judge.

        Args:
            sign: the last sign of life, or when the peer was asked for one.
            limit: when the silence is too long.
        """
        if self.began > sign:
            return max(self.ends, limit)
        return max(sign, limit - 2 * LISTEN_SECONDS)

    def renew(self, sign: float, limit: float, now: float) -> Listening | None:
        """Return from when to when to listen, now that it is due; `None`: the peer is silent.

        After a stall we listen as long as we stood still, but no longer than the peer was
        given.
        """
        late = now - self.due(sign, limit)
        if self.began > sign and late <= self.ends - self.began:
            return None
        return Listening(now, now + max(LISTEN_SECONDS, min(late, limit - sign)))


INFINITY: Final = float("inf")
"""A time that never comes."""
NEVER: Final = Listening(-INFINITY, -INFINITY)
