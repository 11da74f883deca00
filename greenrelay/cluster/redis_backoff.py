"""How long to wait before the next attempt: longer each time, and never all nodes at once.

Full jitter: any time between none and a bound that doubles. Source: "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1
MAX_SECONDS: Final = 5.0


class Backoff:
    """The delays of one row of attempts.

    Args:
        longest: seconds; a third of a lease or less leaves room for another attempt.
    """

    def __init__(self, longest: float = MAX_SECONDS) -> None:
        self._longest = min(longest, MAX_SECONDS)
        self._bound = FIRST_SECONDS

    def next(self) -> float:
        """Return the seconds to wait now."""
        delay = random.uniform(0.0, min(self._bound, self._longest))
        self._bound = min(2 * self._bound, MAX_SECONDS)
        return delay

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._bound = FIRST_SECONDS
