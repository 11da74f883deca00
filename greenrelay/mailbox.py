"""Mailboxes: where messages wait until a process takes them.

A mailbox is a few channels and one waiter, the process's own greenlet:

    put()  any greenlet, or the hub: append, and wake the owner if it waits for that channel
    take() the owner only: the first item of the channels it asks for, waiting if there is none

Two rules: `put` never blocks, switches or raises; a wake-up is a hint, the owner
looks again. Own deques instead of gevent's queues, because a process waits for
several channels at once, and because marks and turns belong to all of them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

import gevent
from greenlet import getcurrent, greenlet

from greenrelay.channel import FAIR_SHARE, Channel, ChannelClosed
from greenrelay.errors import NotAProcess
from greenrelay.message import Cancel, Event, Message
from greenrelay.wire import MAX_MAILBOX_MESSAGES

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


class Mailbox:
    """All channels of one process.

    Args:
        max_messages: the high mark, from which on connections pause reading; 0 is off.
    """

    __slots__ = (
        "_busy_since",
        "_drained",
        "_events",
        "_hub",
        "_is_waiting",
        "_is_waking",
        "_listeners",
        "_loop",
        "_mark",
        "_refusals",
        "_share",
        "cancellation",
        "doom",
        "has_events",
        "has_met_doom",
        "inbox",
        "is_full",
        "is_plain",
        "owner",
        "turn",
    )

    def __init__(self, max_messages: int = MAX_MAILBOX_MESSAGES) -> None:
        self.inbox: Channel[Message] = Channel(self)
        self._events: Channel[Event] | None = None
        self._listeners: dict[str, Channel[Message]] | None = None
        self._is_waiting = False
        self._is_waking = False
        self._drained: dict[Any, Callable[[], None]] = {}
        self._mark = max_messages or float("inf")
        self._hub = gevent.get_hub()
        self._loop = self._hub.loop
        self._share = FAIR_SHARE
        self._busy_since = 0.0
        self._refusals = 0
        self.is_full = False
        """Whether the high mark was reached, and it has not drained to half of it since."""
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
        self.has_events = False
        """Whether the owner has asked for its events, and so decides on `Cancel` itself."""
        self.cancellation: Cancel | None = None
        """Why the inbox is closed, until the owner has noticed."""

    def __len__(self) -> int:
        """Count the messages that wait; events do not count."""
        waiting = len(self.inbox)
        if self._listeners:
            waiting += sum(map(len, self._listeners.values()))
        return waiting

    # -- filling ---------------------------------------------------------------

    def put(self, message: Message) -> bool:
        """Queue a message; `False`: its channel is closed and the message is dropped."""
        channel = self.inbox
        if self._listeners:
            channel = self._listeners.get(message.topic, channel)
        if channel.is_closed:
            return False
        items = channel.items
        items.append(message)
        if channel.is_awaited and not self._is_waking:
            self._schedule_wake()
        if len(items) >= self._mark or (self._listeners and len(self) >= self._mark):
            self.is_full = True
            self.is_plain = False
        return True

    def put_event(self, event: Event) -> None:
        """Queue an event for whoever calls `events()`, now or later."""
        self._append(self.events, event)

    def _append(self, channel: Channel[Any], item: object) -> None:
        channel.items.append(item)
        if channel.is_awaited and not self._is_waking:
            self._schedule_wake()

    def _schedule_wake(self) -> None:
        self._is_waking = True
        self._loop.run_callback(self._wake)

    def _wake(self) -> None:
        # A wake-up that comes late, after a time-out or an exception, finds nobody waiting.
        self._is_waking = False
        if self._is_waiting and self.owner is not None:
            self.owner.switch()

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
        if self.is_plain and self._share and len(channels) == 1 and channels[0].items:
            self._share -= 1
            return channels[0], channels[0].items.popleft()
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
        while self._drained:
            self._report_drained()  # nothing is left to take, so nobody need wait
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
                if self.is_full or self._drained:
                    self._look_at_mark()
                return channel, item
        if any(channel.is_closed for channel in channels):
            self._refuse(ChannelClosed())
        return None

    def _refuse(self, end: BaseException) -> NoReturn:
        """Raise the owner's end; one that swallows it again and again is given up."""
        if not self.is_closed and self.doom is None:
            raise ValueError("unlisten() has closed this channel; listen() gives a new one")
        self._refusals += 1
        self.cancellation = None
        self.has_met_doom = self.doom is not None
        if self._refusals > MAX_REFUSALS:
            self.doom = end
            self.refresh()
            self.owner.process.give_up()
            gevent.sleep(REFUSAL_SECONDS)
        raise end

    # -- channels --------------------------------------------------------------

    @property
    def events(self) -> Channel[Event]:
        """The channel of events; they wait here also before anybody asks for it."""
        if self._events is None:
            self._events = Channel(self)
        return self._events

    def open_events(self) -> Channel[Event]:
        """Return the channel of events; from now on a `Cancel` goes there.

        Also one that came before, while the owner was about to ask for its events.
        """
        self.has_events = True
        if self.cancellation is not None:
            self.put_event(self.cancellation)
            self.cancellation = None
            self._set_closed(False)
        return self.events

    def listen(self, topic: str) -> Channel[Message]:
        """Return a channel that gets all further messages of one exact topic."""
        if self._listeners is None:
            self._listeners = {}
        channel = self._listeners.get(topic)
        if channel is None:
            channel = self._listeners[topic] = Channel(self, topic)
            channel.is_closed = self.inbox.is_closed
        return channel

    def unlisten(self, channel: Channel[Message]) -> None:
        """Close a listener's channel; what it still holds goes to the inbox, in its order."""
        if self._listeners and self._listeners.get(channel.topic or "") is channel:
            del self._listeners[channel.topic or ""]
            channel.is_closed = True
            while channel.items:
                self._append(self.inbox, channel.items.popleft())

    @property
    def is_closed(self) -> bool:
        """Whether it takes no messages any more: the owner has been cancelled, or has ended."""
        return self.inbox.is_closed

    def close(self) -> None:
        """Close the inbox and every listener: they give what they have, then end."""
        self._set_closed(True)
        if self._is_waiting and not self._is_waking:
            self._schedule_wake()

    def _set_closed(self, is_closed: bool) -> None:
        for channel in (self.inbox, *(self._listeners or {}).values()):
            channel.is_closed = is_closed

    def discard(self, is_unwanted: Callable[[Event], bool]) -> None:
        """Remove queued events."""
        if self._events is not None:
            kept = [event for event in self._events.items if not is_unwanted(event)]
            self._events.items.clear()  # the same queue: a loop over it may be under way
            self._events.items.extend(kept)

    # -- backpressure ----------------------------------------------------------

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when the mailbox has drained to half its mark."""
        self._drained[key] = call
        self.is_plain = False

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self._drained.pop(key, None)

    def _look_at_mark(self) -> None:
        if len(self) <= self._mark // 2:
            self.is_full = False
            self._report_drained()

    def _report_drained(self) -> None:
        # One for each message taken: a thousand at once would fill the mailbox in one turn.
        if self._drained:
            self._drained.pop(next(iter(self._drained)))()
        self.refresh()

    def refresh(self) -> None:
        """Find out whether a take is plain again; call it when `turn` or `doom` is set."""
        self.is_plain = (
            self.turn is None and self.doom is None and not self.is_full and not self._drained
        )
