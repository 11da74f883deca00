"""What goes wrong between nodes: counted always, told once a second.

Rule: nothing is lost in silence, and nothing that others cause fills a log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from greenrelay.logs import log_soon

log = logging.getLogger("greenrelay.cluster")

REPORT_SECONDS: Final = 1.0


class Counter(Protocol):
    """Whoever keeps counts: a node."""

    def count(self, event: str, times: int = 1) -> None:
        """Add to its counts."""


class Reports:
    """Lines of the log, at most one a second of each kind.

    Args:
        node: counts.
        clock: seconds.
    """

    def __init__(self, node: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._clock = clock
        self._last: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, kind: str, text: str, times: int = 1) -> None:
        """Count something under `kind`, and tell it, with what was not told since the last time."""
        self._node.count(kind, times)
        untold = self._to_tell(kind, times)
        if untold:
            log_soon(log, logging.WARNING, "%s (%d since the last line like this)", text, untold)

    def fail(self, kind: str, text: str) -> None:
        """Do the same for the exception that is handled just now, with its traceback."""
        self._node.count(kind)
        untold = self._to_tell(f"{kind}, failed", 1)
        if untold:
            more = "%s (%d since the last line like this)"
            log_soon(log, logging.ERROR, more, text, untold, exc_info=True)

    def _to_tell(self, kind: str, times: int) -> int:
        """Return how many have to be told of now; 0: the last line was just before."""
        now = self._clock()
        untold = self._untold.get(kind, 0) + times
        if now - self._last.get(kind, -REPORT_SECONDS) < REPORT_SECONDS:
            self._untold[kind] = untold
            return 0
        self._last[kind], self._untold[kind] = now, 0
        return untold
