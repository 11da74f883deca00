"""How long a client that was told the end may take to read it, and to answer.

5 s from the last progress, 60 s in all. Progress is that bytes have left our kernel, or that the
peer has answered. Time in which we stood still is not held against the peer. No clock here: time
is an argument.
"""

from __future__ import annotations

from typing import Final

from greenrelay.wire import CLOSE_TIMEOUT_SECONDS, MAX_CLOSE_SECONDS

CHECK_SECONDS: Final = 1.0
"""Between two looks at how much has gone out: an end may take so much longer than it should."""


class Patience:
    """The time that one client still has.

    Args:
        now: when it is told the end.
        left: bytes that it has not got yet.
    """

    __slots__ = ("_checked_at", "_ends_at", "_left", "_since")

    def __init__(self, now: float, left: int) -> None:
        self._ends_at = now + MAX_CLOSE_SECONDS
        self.renew(now, left)

    def renew(self, now: float, left: int) -> None:
        """Take it as progress that the peer has answered."""
        self._since = self._checked_at = now
        self._left = left

    def next_check(self, now: float, left: int) -> float:
        """Return when to look again; if that is not later than `now`, its time is up."""
        is_late = now - self._checked_at > 2 * CHECK_SECONDS  # it was us who stood still
        if left < self._left or is_late:
            self._since = now
        self._checked_at, self._left = now, left
        return min(now + CHECK_SECONDS, self._since + CLOSE_TIMEOUT_SECONDS, self._ends_at)
