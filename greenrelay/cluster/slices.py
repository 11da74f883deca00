"""Long work in short slices: the event loop turns between them.

    add(generator) ─► next(), next(), … for some milliseconds ─► the loop's next turn ─► …

What one node is to another may be ten thousand monitors, which all come due when it is lost. Rule:
works are done one after the other, each to its end, whatever one of them raises.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import gevent

from greenrelay.logs import log_soon

log = logging.getLogger("greenrelay.cluster")

SLICE_SECONDS: Final = 0.004
"""Half of what a process that never waits may take (SPEC §2.10), as others want some, too."""


class Slices:
    """Work that waits for its turns. Make it in the thread of the loop."""

    def __init__(self) -> None:
        self._works: deque[Iterator[object]] = deque()
        # A timer, not a callback: callbacks run many at once, before the loop looks at sockets.
        self._timer: Any = gevent.get_hub().loop.timer(0.0)

    def add(self, work: Iterator[object]) -> None:
        """Have a generator run to its end, a step at a time, behind what has been added before."""
        self._works.append(work)
        if len(self._works) == 1:
            self._timer.start(self._turn)

    def __len__(self) -> int:
        return len(self._works)

    def _turn(self) -> None:
        end = time.perf_counter() + SLICE_SECONDS
        while self._works:
            try:
                next(self._works[0])
            except StopIteration:
                self._works.popleft()
            except Exception:
                self._works.popleft()
                log_soon(log, logging.ERROR, "the cluster's work failed", exc_info=True)
            if time.perf_counter() > end:
                break
        self._timer.stop()
        if self._works:
            self._timer.start(self._turn)

    def close(self) -> None:
        """Do no more."""
        self._works.clear()
        self._timer.close()
