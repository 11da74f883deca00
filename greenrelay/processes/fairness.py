"""Fairness: a process that always has something to do lets the event loop look at the others.

    busy process ─ 4 ms are over ─► wait() ─► the loop polls, everybody else runs ─► it goes on
    woken process ─ begin() ─► nobody has polled for 4 ms: wait(), else it runs

`gevent.sleep(0)` does not do that: the loop runs up to fifty such callbacks before it looks
at a socket, so that one process whose messages take 10 ms each holds all clients for half a
second. Here a timer of no length stands for "the loop has polled": it runs out only after.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent
from greenlet import getcurrent, greenlet

SLICE_SECONDS: Final = 0.004
"""So long processes may compute between two looks at the sockets: two slices and the last
message's work make less than the 10 ms for which nobody should have to wait."""
ARMING_SECONDS: Final = 0.001
"""So long they compute before the time is taken: a timer for each millisecond costs 0.2 %."""
FAIR_SHARE: Final = 8
"""A process looks at the clock once in so many messages that are there already …"""
SLOW_SECONDS: Final = 0.0005
"""… and at each of them, once so many have taken longer than this."""

_LAST: Final = -2
"""libev's lowest priority: sockets that became ready in the same poll come first."""

# Not the hub's own: that one first looks for a `switch_out()`, which no process has.
switch = greenlet.switch


class Rotation:
    """The turns of one event loop, and who waits for the next."""

    __slots__ = ("_began", "_is_armed", "_late", "_timer", "hub", "run_soon")

    def __init__(self) -> None:
        self.hub = gevent.get_hub()
        """The greenlet of the loop: who waits switches to it, by `switch`."""
        self.run_soon: Callable[..., object] = self.hub.loop.run_callback
        """Have a function called in the loop's next turn; it must not block."""
        self._timer: Any = None
        self._is_armed = False
        self._began = 0.0
        self._late: deque[Any] = deque()

    def __len__(self) -> int:
        """Count those who wait for their turn."""
        return len(self._late)

    def begin(self) -> float:
        """Begin to compute, in the caller's turn; return the time. Switches: if it is late.

        Many who are woken at once compute for long together, though each is quick.
        """
        now = time.monotonic()
        if self._is_armed:
            if now - self._began > SLICE_SECONDS:
                return self.wait()
        elif now - self._began > ARMING_SECONDS:
            self._began = now
            self._arm()
        return now

    def wait(self) -> float:
        """Go on when the loop has polled and those who waited before have had their slice.

        Returns the time. Switches: yes. Must not be called by the hub.
        """
        caller = getcurrent()
        self._late.append(caller)
        if not self._is_armed:
            self._arm()
        try:
            switch(self.hub)
        except BaseException:  # thrown in: killed, or timed out
            if caller in self._late:
                self._late.remove(caller)
            raise
        return time.monotonic()

    def _arm(self) -> None:
        self._is_armed = True
        if self._timer is None:
            self._timer = self.hub.loop.timer(0.0, priority=_LAST)
        self._timer.start(self._on_polled)

    def _on_polled(self) -> None:
        self._is_armed = False
        self._began = time.monotonic()
        if self._late:
            # Not from here: those whom this poll has woken are called back first.
            self.hub.loop.run_callback(self._run_late)

    def _run_late(self) -> None:
        began = self._began = time.monotonic()
        late = self._late
        while late:
            late.popleft().switch()
            if time.monotonic() - began > SLICE_SECONDS:
                break
        if late and not self._is_armed:
            self._arm()
