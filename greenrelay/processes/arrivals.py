"""Arrivals: everything that waits for one process, and for which of its channels.

    the queue: in order of arrival, messages and events alike
        └─ what the owner does not ask for now ─► set aside, in order, under its channel

So adding costs the same with no listener or ten thousand. Two rules: whatever is set aside under
a channel came before all of its items that are still in the queue; nothing here waits or raises.

An owner that waits without a time-out sleeps, and is woken here: what the queue's own `get()` does
for it takes four times as long, a tenth of a message through a connection's own process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gevent.queue import UnboundQueue

from greenrelay.message import Event, Message
from greenrelay.processes.channel import Channel, Owner, Receiver
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.marks import Marks

WAKE_UP: Final = object()
"""Stands in the queue for nothing: it has the owner look at what has changed elsewhere."""

_NOTHING: Final[deque[Any]] = deque(maxlen=0)
"""What has arrived as long as there is no queue; it stays empty, and so all may share it."""


class Arrivals(Receiver):
    """A queue, sorted by its owner.

    Args:
        marks: how much may wait before connections hold back.
        rotation: the event loop's turns.
        owner: the greenlet that takes.
    """

    __slots__ = (
        "_arrived",
        "_aside",
        "_bytes",
        "_events",
        "_inbox",
        "_is_asleep",
        "_listeners",
        "_may_append",
        "_may_pop",
        "_other_count",
        "_owner",
        "_queue",
        "_room",
        "_rotation",
        "has_unlistened",
        "marks",
    )

    def __init__(self, marks: Marks, rotation: Rotation, owner: Owner | None) -> None:
        self.marks = marks
        self._rotation = rotation
        self._owner = owner
        self._is_asleep = False
        """Whether the owner waits to be woken by `add()`, without the queue."""
        self._queue: UnboundQueue[Any] | None = None
        """Made when something comes or is waited for: short processes do without."""
        self._arrived = _NOTHING
        """The queue's own deque: who takes what is there, or may append, needs no more."""
        self._may_append = False
        """Whether adding is nothing but appending: there is nobody to wake."""
        self._aside: dict[Channel[Any], deque[Any]] | None = None
        """What the owner has passed over while it asked for something else, by its channel."""
        self._bytes = 0
        """Of clients' text and binary messages that wait; counted where one is put or taken."""
        self._inbox: Channel[Message] | None = None
        self._events: Channel[Event] | None = None
        self._listeners: dict[str, Channel[Message]] | None = None
        self._room = marks.max_messages
        """So many in the queue reach the mark: as many as it says, less those set aside."""
        self._other_count = 0
        """What waits and is no message, set aside or not: events and wake-ups."""
        self._may_pop = True
        """Whether taking from the inbox is nothing but popping the queue: all that waits is in it
        and for the inbox, and nothing else has to be looked at. See `find_shortcut()`."""
        self.has_unlistened = False
        """Whether a channel of it has ever been closed by `unlisten()`."""

    def __len__(self) -> int:
        """Count the messages that wait; events do not count."""
        others = self._other_count - self._count_aside(self._events)
        return len(self._arrived) - others + self._aside_count

    def __bool__(self) -> bool:
        return True

    @property
    def _aside_count(self) -> int:
        return self.marks.max_messages - self._room

    def _count_aside(self, channel: Channel[Any] | None) -> int:
        return len(self._aside.get(channel, ())) if self._aside and channel is not None else 0

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

    def count(self, channel: Channel[Any]) -> int:
        """Return how many items wait for one channel. Moves none: anybody may ask, at any time."""
        if channel is self._inbox and not self._listeners:
            return len(self)
        arrived = list(self._arrived)  # at once: another thread may ask
        return self._count_aside(channel) + sum(
            self._channel_of(item) is channel for item in arrived
        )

    def listen(self, topic: str) -> Channel[Message]:
        """Return a channel that gets all further messages of one exact topic."""
        if self._listeners is None or topic not in self._listeners:
            self.sort()  # what has arrived before is the inbox's
            self._listeners = self._listeners or {}
            self._listeners[topic] = Channel(self, topic)
        return self._listeners[topic]

    def unlisten(self, channel: Channel[Message]) -> None:
        """Close a listener's channel; what it still holds goes to the inbox, in its order."""
        if self._listeners and self._listeners.get(channel.topic or "") is channel:
            self.sort()
            del self._listeners[channel.topic or ""]
            self.has_unlistened = True
            if self._aside and channel in self._aside:
                self._aside.setdefault(self.inbox, deque()).extend(self._aside.pop(channel))

    def is_unlistened(self, channel: Channel[Any]) -> bool:
        """Tell whether `unlisten()` has closed a channel."""
        topic = channel.topic
        return topic is not None and (self._listeners or {}).get(topic) is not channel

    def discard(self, is_unwanted: Callable[[Event], bool]) -> None:
        """Remove events that wait."""
        if self._other_count:
            self.sort()
            waiting = (self._aside or {}).get(self.events) or deque()
            kept = [event for event in waiting if not is_unwanted(event)]
            waiting.clear()
            waiting.extend(kept)
            self._other_count = len(kept)

    # -- the queue -------------------------------------------------------------

    @property
    def queue(self) -> UnboundQueue[Any]:
        """Where everything waits in order of arrival."""
        if self._queue is None:
            # A Queue that keeps no list of those who wait to put: nobody ever does, and it is
            # 0.9 KB a process.
            self._queue = UnboundQueue()
            self._arrived = self._queue.queue
            self._may_append = True
        return self._queue

    @property
    def is_waiting(self) -> bool:
        """Whether the owner waits in the queue, and nothing has come."""
        return self._queue is not None and not self._may_append

    def add(self, item: object) -> None:
        """Add to the queue, and wake the owner if it waits."""
        if self._is_asleep:
            self._arrived.append(item)
            self._rotation.run_soon(self._wake)
        else:
            queue = self.queue if self._queue is None else self._queue
            queue.put_nowait(item)
        self._may_append = True  # it is woken once, for whatever else comes until it runs

    def _wake(self) -> None:
        # Something else may have woken it meanwhile: then it waits for other things by now, or
        # sleeps again and looks whether there is something.
        if self._is_asleep and self._owner is not None:
            self._owner.switch()

    def withdraw_shortcut(self) -> None:
        """Have the owner look at more than the queue before it next takes something."""
        self._may_pop = False

    def find_shortcut(self) -> None:
        """Let the owner only pop the queue, if there is nothing else that it must look at."""
        self._may_pop = not (
            self.marks.is_full
            or self.marks.waiting
            or self._listeners
            or self._other_count
            or self._aside_count
        )

    def add_other(self, item: object) -> None:
        """Add what is no message: an event, or a wake-up."""
        self._other_count += 1
        self._may_pop = False
        self.add(item)

    # -- sorting ---------------------------------------------------------------

    def sort(self) -> None:
        """Set everything aside that is still in the queue.

        For the owner, while it does not wait: else it would find nothing to wake up for.
        """
        self._may_pop = False
        arrived = self._arrived
        while arrived:
            self._set_aside(arrived.popleft())

    def pop(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any] | None:
        """Return the first item of the first channel that has one, `None`: there is none."""
        if self._arrived and len(channels) > 1:
            self.sort()
        if self._aside:
            for channel in channels:
                items = self._aside.get(channel)
                if items:
                    if channel is self._events:
                        self._other_count -= 1
                    else:
                        self._room += 1
                    return channel, items.popleft()
        wanted, arrived = channels[0], self._arrived
        while arrived:
            if self._channel_of(arrived[0]) is wanted:
                if wanted is self._events:
                    self._other_count -= 1
                return wanted, arrived.popleft()
            self._set_aside(arrived.popleft())
        return None

    def _set_aside(self, item: Any) -> None:
        channel = self._channel_of(item)
        if channel is None:
            self._other_count -= 1
            return
        if self._aside is None:
            self._aside = {}
        self._aside.setdefault(channel, deque()).append(item)
        if channel is not self._events:
            self._room -= 1

    def _channel_of(self, item: Any) -> Channel[Any] | None:
        if isinstance(item, Message):
            listener = self._listeners.get(item.topic) if self._listeners else None
            return self.inbox if listener is None else listener
        return None if item is WAKE_UP else self.events

    def clear(self) -> None:
        """Let go of everything that waits."""
        self._inbox = self._events = self._listeners = self._aside = None
        self._arrived.clear()
        self._bytes = 0
        self._room = self.marks.max_messages
        self._other_count = 0
