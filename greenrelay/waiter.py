"""Waiting for several channels at once: the owner's half of a mailbox.

    take() ─► an item is there: it ─► none: wait until somebody calls for a wake-up, look again

Three rules: only the owner takes; a wake-up is a hint, the owner looks for itself; whoever
has been killed or cancelled is told so where it waits, and not for ever if it will not listen.
"""

from __future__ import annotations

import time
from typing import Any, Final, NoReturn, Protocol

import gevent
from greenlet import getcurrent, greenlet

from greenrelay.channel import FAIR_SHARE, Channel, ChannelClosed
from greenrelay.errors import NotAProcess

FAIR_SECONDS: Final = 0.01
"""So long a process may take without waiting: nobody notices, and producers do not run ahead."""
MAX_REFUSALS: Final = 100
"""So often a process may swallow its end, in handlers around handlers, before it is given up."""
REFUSAL_SECONDS: Final = 1.0
"""Then each further attempt to receive takes so long: a loop that swallows all must not spin."""

# Not the hub's own: that one first looks for a `switch_out()`, which no process has.
_switch = greenlet.switch


class Turn(Protocol):
    """What surrounds each item: left before a process waits, entered for the next item."""

    def enter(self) -> None:
        """Begin a turn."""

    def leave(self) -> None:
        """End it, and give back what it held."""

    def close(self, error: BaseException | None) -> None:
        """End the last turn: the process ends, by `error` if there is one."""

    def fresh(self) -> Turn:
        """Return the same for another process."""


class Waiter:
    """One greenlet that waits for its channels."""

    __slots__ = (
        "_busy_since",
        "_hub",
        "_is_waiting",
        "_is_waking",
        "_loop",
        "_refusals",
        "_share",
        "doom",
        "has_met_doom",
        "is_plain",
        "owner",
        "turn",
    )

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._loop = self._hub.loop
        self._is_waiting = False
        self._is_waking = False
        self._share = FAIR_SHARE
        self._busy_since = 0.0
        self._refusals = 0
        self.is_plain = True
        """Whether a take is nothing but taking: no turn, no doom, nobody waits for draining."""
        self.owner: Any = None
        """The `ProcessGreenlet` that may take; set before its first step."""
        self.turn: Turn | None = None
        """What surrounds the handling of each item."""
        self.doom: BaseException | None = None
        """Raised by every take from now on: the owner was killed."""
        self.has_met_doom = False
        """Whether it has been raised once; whatever `finally` does now is left in peace."""

    # -- what the mailbox knows ------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether it takes no messages any more: the owner has been told to end, or has ended."""
        raise NotImplementedError

    def condemn(self, doom: BaseException) -> None:
        """Raise `doom` from every take from now on, and take no more messages."""
        raise NotImplementedError

    def on_taken(self) -> None:
        """An item has been taken, not plainly."""
        raise NotImplementedError

    def on_wait(self) -> None:
        """The owner is about to wait."""
        raise NotImplementedError

    def on_refused(self) -> None:
        """The owner has noticed that it is to end."""
        raise NotImplementedError

    # -- taking ----------------------------------------------------------------

    def take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        """Return the first item of the first channel that has one, and that channel.

        Args:
            timeout: seconds until `None` is returned; `None` waits for ever.

        Raises:
            ChannelClosed: there is none, and one of the channels is closed.
            NotAProcess: the caller is not the owner.
        """
        if getcurrent() is not self.owner:
            self.check_owner()
        if self.is_plain and self._share:
            for channel in channels:
                if channel.items:
                    self._share -= 1
                    return channel, channel.items.popleft()
        if self.doom is not None:
            self._refuse(self.doom)
        if self.turn is None:
            return self._take(channels, timeout)
        self.turn.leave()
        try:
            return self._take(channels, timeout)
        finally:
            self.turn.enter()

    def check_owner(self) -> None:
        """Raise `NotAProcess` unless the caller is the owner."""
        if getcurrent() is not self.owner:
            raise NotAProcess(
                "only the process that owns this channel can receive from it; "
                "call process.inbox() in the function that you spawn, and send to its PID"
            )

    def give_way(self) -> None:
        """Let others run if the owner has taken for long without waiting. Switches: then."""
        self._share = FAIR_SHARE
        now = time.monotonic()
        if not self._busy_since:
            self._busy_since = now
        elif now - self._busy_since > FAIR_SECONDS:
            self._busy_since = 0.0
            gevent.sleep(0)

    def _take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        if not self._share:
            self.give_way()
        self._share -= 1
        taken = self._pop(channels)
        if taken is not None or (timeout is not None and timeout <= 0):
            return taken
        if timeout is None:
            return self._wait(channels)
        timer = gevent.Timeout.start_new(timeout)
        try:
            return self._wait(channels)
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            return self._pop(channels)  # what came in the same instant as the time-out
        finally:
            timer.close()

    def _wait(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any]:
        for channel in channels:
            channel.is_awaited = True
        self._share = FAIR_SHARE
        self._busy_since = 0.0
        hub = self._hub
        self.on_wait()
        try:
            while True:
                self._is_waiting = True
                _switch(hub)
                self._is_waiting = False
                taken = self._pop(channels)
                if taken is not None:
                    return taken
        finally:
            self._is_waiting = False
            for channel in channels:
                channel.is_awaited = False

    def _pop(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any] | None:
        for channel in channels:
            if channel.items:
                item = channel.items.popleft()
                if not self.is_plain:
                    self.on_taken()
                return channel, item
        if any(channel.is_closed for channel in channels):
            self._refuse(ChannelClosed())
        return None

    def _refuse(self, end: BaseException) -> NoReturn:
        """Raise the owner's end; one that swallows it again and again is given up."""
        if not self.is_closed and self.doom is None:
            raise ValueError("unlisten() has closed this channel; listen() gives a new one")
        self._refusals += 1
        self.on_refused()
        self.has_met_doom = self.doom is not None
        if self._refusals > MAX_REFUSALS:
            self.condemn(end)
            self.owner.process.give_up()
            gevent.sleep(REFUSAL_SECONDS)
        raise end

    # -- waking ----------------------------------------------------------------

    def schedule_wake(self) -> None:
        """Have the owner look again, in the loop's next turn."""
        self._is_waking = True
        self._loop.run_callback(self._wake)

    def _wake(self) -> None:
        # A wake-up that comes late, after a time-out or an exception, finds nobody waiting.
        self._is_waking = False
        if self._is_waiting and self.owner is not None:
            self.owner.switch()
