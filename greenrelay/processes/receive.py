"""Selective receive: the owner's half of a mailbox, after Erlang's.

    one gevent queue, in order of arrival ─► what the owner asks for now: it takes that
                                          └► anything else: set aside, under its channel

So putting costs the same with no listener or ten thousand, and there is one wait, on the queue.
Three rules: only the owner takes; it has an item in hand only when it returns it; whoever has
been killed or cancelled is told so where it waits, and not for ever if it will not listen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import gevent
from gevent.queue import Empty, UnboundQueue
from greenlet import getcurrent

from greenrelay.errors import NotAProcess
from greenrelay.message import Event, Message
from greenrelay.processes.channel import Channel, ChannelClosed
from greenrelay.processes.fairness import FAIR_SHARE, SLICE_SECONDS, SLOW_SECONDS, Rotation
from greenrelay.processes.turn import Turn

MAX_REFUSALS: Final = 100
"""So often a process may swallow its end, in handlers around handlers, before it is given up."""
REFUSAL_SECONDS: Final = 1.0
"""Then each further attempt to receive takes so long: a loop that swallows all must not spin."""
WAKE: Final = object()
"""Put into the queue to have the owner look at what has changed besides."""


class SelectiveReceive:
    """One greenlet that takes from a queue what it asks for."""

    __slots__ = (
        "_arrived",
        "_began_at",
        "_bytes",
        "_count",
        "_event_count",
        "_events",
        "_has_unlistened",
        "_inbox",
        "_is_waiting",
        "_listeners",
        "_looked_at",
        "_queue",
        "_refusals",
        "_rotation",
        "_share",
        "kill_exception",
        "has_raised_kill",
        "is_closed",
        "is_plain",
        "owner",
        "turn",
    )

    def __init__(
        self, rotation: Rotation | None = None, owner: Any = None, turn: Turn | None = None
    ) -> None:
        # A Queue that keeps no list of those who wait to put: nobody ever does, 0.9 KB a process.
        self._queue: Any = UnboundQueue()
        # Its deque. Whoever takes what is there, or adds while nobody waits, needs no more.
        self._arrived: deque[Any] = self._queue.queue
        self._rotation = Rotation() if rotation is None else rotation
        self._inbox: Channel[Message] | None = None
        self._events: Channel[Event] | None = None
        self._listeners: dict[str, Channel[Message]] | None = None
        self._count = 0
        """Messages that wait, set aside or not."""
        self._bytes = 0
        """What they hold of clients' text and bytes."""
        self._event_count = 0
        self._has_unlistened = False
        self._is_waiting = False
        self._share = FAIR_SHARE
        self._began_at = self._looked_at = 0.0
        """When the owner was woken, and when it last looked at the clock."""
        self._refusals = 0
        self.is_plain = turn is None
        """Whether a take is nothing but taking: no turn, no kill, no marks to look at, and
        nothing but messages for the inbox waits, all of them in the queue."""
        self.is_closed = False
        """Whether it takes no messages any more: the owner has been told to end, or has ended."""
        self.owner = owner
        """The `ProcessGreenlet` that may take."""
        self.turn = turn
        """What surrounds the handling of each item."""
        self.kill_exception: BaseException | None = None
        """Raised by every take from now on: the owner was killed."""
        self.has_raised_kill = False
        """Whether it has been raised once; whatever `finally` does now is left in peace."""

    # -- what the mailbox knows ------------------------------------------------

    def kill(self, exception: BaseException) -> None:
        """Raise `exception` from every take from now on, and take no more messages."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Find out whether a take is plain again."""
        raise NotImplementedError

    def on_taken(self) -> None:
        """A message has been taken, not plainly."""
        raise NotImplementedError

    def on_wait(self) -> None:
        """The owner is about to wait."""
        raise NotImplementedError

    def on_refused(self) -> None:
        """The owner has noticed that it is to end."""
        raise NotImplementedError

    # -- channels --------------------------------------------------------------

    @property
    def inbox(self) -> Channel[Message]:
        """The channel of all messages that no listener takes."""
        if self._inbox is None:
            self._inbox = Channel(self)
        return self._inbox

    @property
    def events(self) -> Channel[Event]:
        """The channel of events; they wait here also before anybody asks for it."""
        if self._events is None:
            self._events = Channel(self)
        return self._events

    def sort(self) -> None:
        """Set everything that has arrived aside, each item under its channel."""
        arrived = self._arrived
        while arrived:
            self._set_aside(arrived.popleft())
        self.refresh()

    def _set_aside(self, item: Any) -> None:
        channel = self._channel_of(item)
        if channel is not None:
            if channel.aside is None:
                channel.aside = deque()
            channel.aside.append(item)

    def _channel_of(self, item: Any) -> Channel[Any] | None:
        if isinstance(item, Message):
            listener = self._listeners.get(item.topic) if self._listeners else None
            return self.inbox if listener is None else listener
        return None if item is WAKE else self.events

    def count(self, channel: Channel[Any]) -> int:
        """Return how many items wait for one channel."""
        self.sort()
        return len(channel.aside or ())

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
        if self.is_plain and self._inbox in channels:
            if self._arrived:
                self._share -= 1
                if not self._share:
                    self._give_way()
            elif timeout is None:
                self._await_item(None)
            if self._arrived and self.is_plain:  # nothing else has come meanwhile
                return self._inbox, self._take_plainly()
        if self.kill_exception is not None:
            self._refuse(self.kill_exception)
        if self.turn is None:
            return self._take(channels, timeout)
        self.turn.leave()
        try:
            return self._take(channels, timeout)
        finally:
            self.turn.enter()

    def iterate(self, channel: Channel[Any]) -> Iterator[Any]:
        """Yield the items of one channel until the owner is to end, or the channel unlistened.

        Raises:
            NotAProcess: the caller is not the owner.
        """
        self.check_owner()
        arrived = self._arrived
        is_inbox = channel is self._inbox
        while True:
            if is_inbox and arrived and self.is_plain:
                self._share -= 1
                if not self._share:
                    self._give_way()
                    if not (arrived and self.is_plain):
                        continue
                message = arrived.popleft()
                self._count -= 1
                if message.size:
                    self._bytes -= message.size
                yield message
                continue
            try:
                taken = None if self._is_over(channel) else self.take((channel,), None)
            except ChannelClosed:
                if self.kill_exception is not None:
                    raise  # a loop around this one has begun it again and again
                return
            if taken is None:
                return
            yield taken[1]

    def check_owner(self) -> None:
        """Raise `NotAProcess` unless the caller is the owner."""
        if getcurrent() is not self.owner:
            raise NotAProcess(
                "only the process that owns this channel can receive from it; "
                "call process.inbox() in the function that you spawn, and send to its PID"
            )

    def _is_over(self, channel: Channel[Any]) -> bool:
        return channel.is_unlistened and not self.is_closed

    def _take_plainly(self) -> Message:
        message: Message = self._arrived.popleft()
        self._count -= 1
        if message.size:
            self._bytes -= message.size
        return message

    def _take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        self._share -= 1
        if not self._share:
            self._give_way()
        taken = self._pop(channels)
        if taken is not None or (timeout is not None and timeout <= 0):
            return taken
        return self._wait(channels, timeout)

    def _wait(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        until = None if timeout is None else time.monotonic() + timeout
        taken = None
        while taken is None:
            self.on_wait()
            try:
                self._await_item(timeout)
            except Empty:
                return self._pop(channels)  # what came in the same instant as the time-out
            if self.kill_exception is not None:
                self._refuse(self.kill_exception)
            taken = self._pop(channels)
            if until is not None:
                timeout = max(0.0, until - time.monotonic())
        return taken

    def _await_item(self, timeout: float | None) -> None:
        """Wait until something has arrived, and for the turn of a greenlet that comes late.

        Raises:
            Empty: nothing has, in `timeout` seconds.
        """
        self._is_waiting = True
        try:
            # Not get(): an exception thrown in from now on finds the item in its place.
            self._queue.peek(True, timeout)
        finally:
            self._is_waiting = False
        self.begin()

    def begin(self) -> None:
        """Begin to compute, after a wait. Switches: if others have for too long already."""
        self._began_at = self._looked_at = self._rotation.begin()
        self._share = FAIR_SHARE

    def _give_way(self) -> None:
        """Let others run if the owner has not waited for long. Switches: then."""
        now = time.monotonic()
        self._share = 1 if now - self._looked_at > SLOW_SECONDS else FAIR_SHARE
        if now - self._began_at > SLICE_SECONDS:
            now = self._began_at = self._rotation.wait()
        self._looked_at = now

    def _pop(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any] | None:
        """Return the first item of the first channel that has one, `None`: there is none."""
        if self._arrived and len(channels) > 1:
            self.sort()
        for channel in channels:
            if channel.aside:
                return channel, self._took(channel.aside.popleft())
        wanted, arrived = channels[0], self._arrived
        while arrived:
            item = arrived[0]
            if self._channel_of(item) is wanted:
                arrived.popleft()
                return wanted, self._took(item)
            self._set_aside(arrived.popleft())
        if self.is_closed or self._has_unlistened:
            self._check_open(channels)
        return None

    def _check_open(self, channels: tuple[Channel[Any], ...]) -> None:
        """Raise what waiting for closed channels comes to."""
        if self.is_closed and any(channel is not self._events for channel in channels):
            self._refuse(self.kill_exception or ChannelClosed())
        if any(channel.is_unlistened for channel in channels):
            raise ValueError("unlisten() has closed this channel; listen() gives a new one")

    def _took(self, item: Any) -> Any:
        if isinstance(item, Message):
            self._count -= 1
            self._bytes -= item.size
            self.on_taken()
        else:
            self._event_count -= 1
        return item

    def take_kill(self) -> BaseException | None:
        """Return the kill for the caller to raise; `None`: there is none, or it has been raised."""
        if self.has_raised_kill:
            return None
        self.has_raised_kill = self.kill_exception is not None
        return self.kill_exception

    def renew_kill(self) -> None:
        """Have a kill raised once more."""
        self.has_raised_kill = False

    def _refuse(self, end: BaseException) -> NoReturn:
        """Raise the owner's end; one that swallows it again and again is given up."""
        self._refusals += 1
        self.on_refused()
        self.has_raised_kill = self.kill_exception is not None
        if self._refusals > MAX_REFUSALS:
            self.kill(end)
            self.owner.process.give_up()
            gevent.sleep(REFUSAL_SECONDS)
        try:
            raise end
        finally:
            del end  # its traceback holds this frame
