"""The timer wheel: one timer for all connections.

    slots: {tick: {entry, …}}     ticks: a heap of the slots that exist
    schedule(entry, at)           into the slot of its tick
    the one timer                 runs out at the first tick, and tells that slot's entries

An entry sits in one slot at most, so a connection costs a dict entry and no
timer. Time is an argument: the wheel reads no clock but the one it is given.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

from greenrelay.logs import log_soon

RESOLUTION_SECONDS = 0.05
"""Entries of one slot are told together; half of the shortest interval anybody should want."""

log = logging.getLogger("greenrelay")


class Entry(Protocol):
    """What can be scheduled."""

    wheel_tick: int
    """The slot it is in; 0 is none. Only the wheel writes it."""

    def on_timer(self, now: float) -> None:
        """Do what is due, and schedule anew what is not. Must not block."""


class TimerWheel:
    """Tell entries when their time has come, never early.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._slots: dict[int, dict[Entry, None]] = {}
        self._ticks: list[int] = []
        self._timer: Any = None

    def schedule(self, entry: Entry, at: float) -> None:
        """Call `entry.on_timer` soon after `at`, instead of whenever it was scheduled before."""
        tick = int(at / RESOLUTION_SECONDS) + 1
        if entry.wheel_tick == tick:
            return
        self.cancel(entry)
        entry.wheel_tick = tick
        slot = self._slots.get(tick)
        if slot is not None:
            slot[entry] = None
            return
        self._slots[tick] = {entry: None}
        heapq.heappush(self._ticks, tick)
        if self._ticks[0] == tick:
            self._start_timer()

    def cancel(self, entry: Entry) -> None:
        """Forget an entry; one that is not scheduled is no error."""
        slot = self._slots.get(entry.wheel_tick)
        entry.wheel_tick = 0
        if slot is not None:
            slot.pop(entry, None)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def advance(self, now: float) -> None:
        """Tell every entry whose time has come by `now`."""
        last = int(now / RESOLUTION_SECONDS)
        while self._ticks and self._ticks[0] <= last:
            tick = heapq.heappop(self._ticks)
            for entry in self._slots.pop(tick):
                if entry.wheel_tick != tick:
                    continue  # cancelled or moved by one that was told before it
                entry.wheel_tick = 0
                try:
                    entry.on_timer(now)
                except Exception:  # one entry's bug is not the others'
                    log_soon(log, logging.ERROR, "timer of %r failed", entry, exc_info=True)

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        while self._ticks and not self._slots[self._ticks[0]]:
            del self._slots[heapq.heappop(self._ticks)]  # everybody in it was cancelled
        if self._ticks:
            delay = max(0.0, self._ticks[0] * RESOLUTION_SECONDS - self.clock())
            self._timer = gevent.get_hub().loop.timer(delay, ref=False)
            self._timer.start(self._on_timeout)

    def _on_timeout(self) -> None:
        self.advance(self.clock())
        self._start_timer()
