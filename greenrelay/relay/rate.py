"""How much a client may send: a bucket that holds and refills `max_rate` messages a second.

By hand, because it is ten lines, and libraries for it bring a clock, a lock or a store.
"""

from __future__ import annotations


class Allowance:
    """What one client may send right now.

    Args:
        rate: messages and control frames a second, greater than 0; as many may come at once.
        now: when it begins, with a full bucket.
    """

    __slots__ = ("_left", "_rate", "_since")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = self._burst
        self._since = now

    @property
    def _burst(self) -> float:
        return max(self._rate, 1.0)  # who may send one in ten seconds may send it at once

    def take(self, now: float) -> bool:
        """Take one; `False`: there is none."""
        left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        self._left = left - 1.0 if left >= 1.0 else left
        return left >= 1.0
