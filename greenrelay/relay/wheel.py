"""The timer wheel: one timer for all connections.

    slots: {tick: {entry, …}}     ticks: a heap of the slots that exist, or have existed
    schedule(entry, at)           into the slot of its tick
    the one timer                 runs out at the first tick, and tells that slot's entries

An entry sits in one slot at most, so a connection costs a dict entry and no
timer. A slot goes with its last entry, and ticks without a slot once they are the
majority. Time is an argument: the wheel reads no clock but the one it is given.

By hand, because a timer of gevent's for each connection would take 270 bytes of it, an entry 95.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent

from greenrelay.logs import log_soon
from greenrelay.relay.listening import INFINITY

RESOLUTION_SECONDS = 0.05
"""Entries of one slot are told together. Half of 100 ms, below which an interval makes no sense."""
SPARE_TICKS = 64
"""So many ticks may be without a slot before they are dropped: dropping them for each of a few
connections that come and go would cost more."""

log = logging.getLogger("greenrelay")


class Entry:
    """Base of what can be scheduled: here the wheel notes in which slot it is.

    A base, because a wheel that kept that in a dict would take another 95 bytes of each.
    """

    __slots__ = ("_tick",)

    def __init__(self) -> None:
        self._tick = 0
        """Of the slot it is in; 0 is none."""

    def on_timer(self, now: float) -> None:
        """Do what is due, and schedule anew what is not. Must not block."""
        raise NotImplementedError


class Slot(NamedTuple):
    """The entries of one tick."""

    tick: int
    """What its entries note: this very number, as an equal one of each would take 32 bytes."""
    entries: dict[Entry, None]


class TimerWheel:
    """Tell entries when their time has come, never early.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._slots: dict[int, Slot] = {}
        self._ticks: list[int] = []
        self._timer: Any = None

    def schedule(self, entry: Entry, at: float) -> None:
        """Call `entry.on_timer` soon after `at`, instead of whenever it was scheduled before.

        Args:
            at: infinity is never.
        """
        if at == INFINITY:
            self.cancel(entry)
            return
        tick = int(at / RESOLUTION_SECONDS) + 1
        if entry._tick == tick:
            return
        if entry._tick:
            self.cancel(entry)
        slot = self._slots.get(tick) or self._open_slot(tick)
        entry._tick = slot.tick
        slot.entries[entry] = None

    def _open_slot(self, tick: int) -> Slot:
        slot = self._slots[tick] = Slot(tick, {})
        heapq.heappush(self._ticks, tick)
        if self._ticks[0] == tick:
            self._start_timer()
        return slot

    def cancel(self, entry: Entry) -> None:
        """Forget an entry; one that is not scheduled is no error."""
        if not entry._tick:
            return
        tick, entry._tick = entry._tick, 0
        slot = self._slots.get(tick)
        if slot is not None:
            slot.entries.pop(entry, None)
            if not slot.entries:
                del self._slots[tick]
                self._drop_spare_ticks()

    def _drop_spare_ticks(self) -> None:
        # Not each at once: finding one in a heap would be a search through all of it.
        if len(self._ticks) > 2 * len(self._slots) + SPARE_TICKS:
            self._ticks = list(self._slots)
            heapq.heapify(self._ticks)

    def __len__(self) -> int:
        return sum(len(slot.entries) for slot in self._slots.values())

    def advance(self, now: float) -> None:
        """Tell every entry whose time has come by `now`."""
        last = int(now / RESOLUTION_SECONDS)
        while self._ticks and self._ticks[0] <= last:
            tick = heapq.heappop(self._ticks)
            slot = self._slots.pop(tick, None)
            if slot is None:
                continue  # everybody in it was cancelled
            for entry in slot.entries:
                if entry._tick != tick:
                    continue  # cancelled or moved by one that was told before it
                entry._tick = 0
                try:
                    entry.on_timer(now)
                except Exception:  # one entry's bug is not the others'
                    log_soon(log, logging.ERROR, "timer of %r failed", entry, exc_info=True)

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        while self._ticks and self._ticks[0] not in self._slots:
            heapq.heappop(self._ticks)  # everybody in it was cancelled
        if self._ticks:
            # Not at once: a test's clock may stand still, and the loop would spin.
            delay = max(0.001, self._ticks[0] * RESOLUTION_SECONDS - self.clock())
            self._timer = gevent.get_hub().loop.timer(delay, ref=False)
            self._timer.start(self._on_timeout)

    def _on_timeout(self) -> None:
        self.advance(self.clock())
        self._start_timer()
