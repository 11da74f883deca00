"""Mailboxes: where messages wait until a process takes them.

A mailbox is a few channels and one waiter, the process's own greenlet:

    put()  any greenlet, or the hub: append, and wake the owner if it waits for that channel
    take() the owner only: the first item of the channels it asks for, waiting if there is none

Two rules: `put` never blocks, switches or raises; a wake-up is a hint, the owner
looks again. Own deques instead of gevent's queues, because a process waits for
several channels at once, and because ping-pong is twice as fast (645 k against
282 k round trips/s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import gevent
from greenlet import getcurrent

from greenrelay.errors import NotAProcess
from greenrelay.message import Event, Message
from greenrelay.wire import MAX_MAILBOX_MESSAGES

if TYPE_CHECKING:
    from greenlet import greenlet

Item = TypeVar("Item", covariant=True)


class Channel(Generic[Item]):
    """A queue that one process takes from, in order of arrival."""

    __slots__ = ("_is_awaited", "_items", "_mailbox", "is_closed", "topic")

    def __init__(self, mailbox: Mailbox, topic: str | None = None) -> None:
        self._mailbox = mailbox
        self._items: deque[Any] = deque()
        self._is_awaited = False
        self.is_closed = False
        """A closed channel gives what it has, then ends."""
        self.topic = topic
        """The topic it is dedicated to, if any."""

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    def receive(self, timeout: float | None = None) -> Item | None:
        """Return the next item, waiting for it; `None` when `timeout` seconds have passed.

        `None` never means "cancelled": when the process has been cancelled and the
        channel is empty, the process ends here, with reason `cancelled`, after its
        `finally` blocks. (A loop that takes `None` for "idle" would spin otherwise.)

        Switches: yes, if there is none yet.

        Raises:
            NotAProcess: another greenlet than the channel's own process asks.
        """
        taken = self._mailbox.take((self,), timeout)
        return None if taken is None else taken[1]

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the process is cancelled or terminated."""
        mailbox = self._mailbox
        items = self._items
        while True:
            if items and mailbox.is_plain:
                yield items.popleft()
                continue
            if self.is_closed and not items:
                return
            try:
                taken = mailbox.take((self,), None)
            except ChannelClosed:
                return
            assert taken is not None  # without a time-out, take() returns with an item
            yield taken[1]


class Turn(Protocol):
    """What surrounds each item: left before a process waits, entered for the next item."""

    def enter(self) -> None:
        """Begin a turn."""

    def leave(self) -> None:
        """End it, and give back what it held."""

    def close(self) -> None:
        """End the last turn: the process ends."""

    def fresh(self) -> Turn:
        """Return the same for another process."""


class ChannelClosed(gevent.GreenletExit):
    """The process was cancelled, and asks a closed channel for more: it ends.

    No `Exception`, so that it passes handlers that are not meant for it.
    """


class Mailbox:
    """All channels of one process.

    Args:
        max_messages: the high mark, from which on connections pause reading; 0 is off.
    """

    __slots__ = (
        "_drained",
        "_events",
        "_is_waiting",
        "_is_waking",
        "_listeners",
        "_loop",
        "_mark",
        "doom",
        "has_events",
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
        self._loop = gevent.get_hub().loop
        self.is_full = False
        """Whether the high mark was reached, and it has not drained to half of it since."""
        self.is_plain = True
        """Whether a take is nothing but taking: no turn, no doom, nobody waits for draining."""
        self.owner: greenlet | None = None
        """The greenlet that may take; set before its first step."""
        self.turn: Turn | None = None
        """What surrounds the handling of each item."""
        self.doom: BaseException | None = None
        """Raised by the next take: the owner was killed, and has swallowed it once."""
        self.has_events = False
        """Whether the owner has asked for its events, and so decides on `Cancel` itself."""

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
        items = channel._items
        items.append(message)
        if channel._is_awaited and not self._is_waking:
            self._schedule_wake()
        if len(items) >= self._mark or (self._listeners and len(self) >= self._mark):
            self.is_full = True
            self.is_plain = False
        return True

    def put_event(self, event: Event) -> None:
        """Queue an event for whoever calls `events()`, now or later."""
        self._append(self.events, event)

    def _append(self, channel: Channel[Any], item: object) -> None:
        channel._items.append(item)
        if channel._is_awaited and not self._is_waking:
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
            raise NotAProcess("only the process that owns this channel can receive from it")
        if self.doom is not None:
            raise self.doom
        if self.is_plain and len(channels) == 1 and channels[0]._items:
            return channels[0], channels[0]._items.popleft()
        if self.turn is None:
            return self._take(channels, timeout)
        self.turn.leave()
        try:
            return self._take(channels, timeout)
        finally:
            self.turn.enter()

    def _take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
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
            channel._is_awaited = True
        hub = gevent.get_hub()
        while self._drained:
            self._report_drained()  # nothing is left to take, so nobody need wait
        try:
            while True:
                self._is_waiting = True
                hub.switch()
                self._is_waiting = False
                taken = self._pop(channels)
                if taken is not None:
                    return taken
        finally:
            self._is_waiting = False
            for channel in channels:
                channel._is_awaited = False

    def _pop(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any] | None:
        for channel in channels:
            if channel._items:
                item = channel._items.popleft()
                if self.is_full or self._drained:
                    self._look_at_mark()
                return channel, item
        if any(channel.is_closed for channel in channels):
            raise ChannelClosed
        return None

    # -- channels --------------------------------------------------------------

    @property
    def events(self) -> Channel[Event]:
        """The channel of events; they wait here also before anybody asks for it."""
        if self._events is None:
            self._events = Channel(self)
        return self._events

    def listen(self, topic: str) -> Channel[Message]:
        """Return a channel that gets all further messages of one exact topic."""
        if self._listeners is None:
            self._listeners = {}
        return self._listeners.setdefault(topic, Channel(self, topic))

    def unlisten(self, channel: Channel[Message]) -> None:
        """Stop listening; what the channel still holds goes to the inbox, in its order."""
        if self._listeners and self._listeners.get(channel.topic or "") is channel:
            del self._listeners[channel.topic or ""]
            while channel._items:
                self._append(self.inbox, channel._items.popleft())

    def close(self) -> None:
        """Close the inbox and every listener: they give what they have, then end."""
        for channel in (self.inbox, *(self._listeners or {}).values()):
            channel.is_closed = True
            if channel._is_awaited and not self._is_waking:
                self._schedule_wake()

    def discard(self, is_unwanted: Callable[[Event], bool]) -> None:
        """Remove queued events."""
        if self._events is not None:
            kept = [event for event in self._events._items if not is_unwanted(event)]
            self._events._items = deque(kept)

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
