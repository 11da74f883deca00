"""Mailboxes: where messages and events wait until a process takes them.

    put()  any greenlet of the node's thread, or the hub: into the queue, and wake the owner
    take() the owner only, see `receive`

The rule: `put` never blocks, switches or raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenrelay.message import Cancel, Event, Message
from greenrelay.processes.channel import Channel
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.receive import WAKE, SelectiveReceive
from greenrelay.processes.turn import Turn
from greenrelay.wire import MAX_MAILBOX_BYTES, MAX_MAILBOX_MESSAGES


class Mailbox(SelectiveReceive):
    """Everything that waits for one process.

    Args:
        max_messages: the high mark, from which on connections pause reading; 0 is off.
        max_bytes: the same in bytes of clients' text and binary messages; 0 is off.
        rotation: the event loop's turns; by default its own.
        owner: the greenlet that may take.
        turn: what surrounds the handling of each item, if anything.
    """

    __slots__ = (
        "_drained",
        "_max_bytes",
        "_max_messages",
        "cancellation",
        "has_events",
        "is_full",
    )

    def __init__(
        self,
        max_messages: int = MAX_MAILBOX_MESSAGES,
        max_bytes: int = MAX_MAILBOX_BYTES,
        rotation: Rotation | None = None,
        owner: Any = None,
        turn: Turn | None = None,
    ) -> None:
        super().__init__(rotation, owner, turn)
        self._drained: dict[Any, Callable[[], None]] = {}
        self._max_messages = max_messages or float("inf")
        self._max_bytes = max_bytes or float("inf")
        self.is_full = False
        """Whether a high mark was reached, and it has not drained to half of it since."""
        self.has_events = False
        """Whether the owner has asked for its events, and so decides on `Cancel` itself."""
        self.cancellation: Cancel | None = None
        """Why the inbox is closed, until the owner has noticed."""

    def __len__(self) -> int:
        """Count the messages that wait; events do not count."""
        return self._count

    # -- filling ---------------------------------------------------------------

    def put(self, message: Message) -> bool:
        """Queue a message; `False`: the mailbox is closed and the message is dropped."""
        if self.is_closed:
            return False
        count = self._count = self._count + 1
        if message.size:
            self._bytes += message.size
            if self._bytes >= self._max_bytes:
                self._fill()
        if count >= self._max_messages:
            self._fill()
        if self._is_waiting:
            self._queue.put_nowait(message)
        else:
            self._arrived.append(message)
        return True

    def _fill(self) -> None:
        self.is_full = True
        self.is_plain = False

    def put_event(self, event: Event) -> None:
        """Queue an event for whoever calls `events()`, now or later."""
        self._event_count += 1
        self.is_plain = False
        self._queue.put_nowait(event)

    # -- channels --------------------------------------------------------------

    def open_events(self) -> Channel[Event]:
        """Return the channel of events; from now on a `Cancel` goes there.

        Also one that came before, while the owner was about to ask for its events.
        """
        self.has_events = True
        if self.cancellation is not None:
            self.put_event(self.cancellation)
            self.cancellation = None
            self.is_closed = False
        return self.events

    def listen(self, topic: str) -> Channel[Message]:
        """Return a channel that gets all further messages of one exact topic."""
        if self._listeners is None or topic not in self._listeners:
            self.sort()  # what has arrived before is the inbox's
            self._listeners = self._listeners or {}
            self._listeners[topic] = Channel(self, topic)
            self.refresh()
        return self._listeners[topic]

    def unlisten(self, channel: Channel[Message]) -> None:
        """Close a listener's channel; what it still holds goes to the inbox, in its order."""
        if self._listeners and self._listeners.get(channel.topic or "") is channel:
            self.sort()
            del self._listeners[channel.topic or ""]
            channel.is_unlistened = self._has_unlistened = True
            for message in channel.aside or ():
                self._set_aside(message)
            channel.aside = None
            self.refresh()

    def discard(self, is_unwanted: Callable[[Event], bool]) -> None:
        """Remove queued events."""
        if self._event_count:
            self.sort()
            kept = [event for event in self.events.aside or () if not is_unwanted(event)]
            self.events.aside = None
            self._event_count = len(kept)
            for event in kept:
                self._set_aside(event)
            self.refresh()

    # -- the end ---------------------------------------------------------------

    def cancel(self, news: Cancel) -> None:
        """Ask the owner to end: as an event if it takes those, else the inbox closes."""
        if self.has_events:
            self.put_event(news)
        else:
            self.cancellation = news
            self.close()

    def close(self) -> None:
        """Take no more messages: the channels but the events' give what they have, then end."""
        self.is_closed = True
        self.is_plain = False
        if self._is_waiting:
            self._queue.put_nowait(WAKE)

    def kill(self, exception: BaseException) -> None:
        """Raise `exception` from every take from now on, and take no more messages."""
        self.kill_exception = exception
        self.is_closed = True
        self.is_plain = False

    def release(self) -> None:
        """Let go of everything: the owner has ended, and so need not wait for the collector."""
        self.close()
        self._inbox = self._events = self._listeners = None
        if self.kill_exception is not None:
            self.kill_exception.__traceback__ = None  # it holds the frames that hold this
        self._arrived.clear()
        self._count = self._bytes = self._event_count = 0
        self.is_full = False
        self._report_all()

    # -- backpressure ----------------------------------------------------------

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when the mailbox has drained to half its mark, or ended."""
        self._drained[key] = call
        self.is_plain = False

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self._drained.pop(key, None)

    def on_taken(self) -> None:
        """Look at the marks; one of those who hold back is told for each message taken.

        A thousand at once would fill the mailbox again in one turn of the loop.
        """
        if (self.is_full or self._drained) and self._has_drained():
            self.is_full = False
            if self._drained:
                self._drained.pop(next(iter(self._drained)))()
            self.refresh()

    def on_wait(self) -> None:
        """Let go of everybody who holds back, if the mailbox has drained."""
        if self._drained and self._has_drained():
            self._report_all()
        self.refresh()

    def on_refused(self) -> None:
        """Forget why: the owner knows that it is to end."""
        self.cancellation = None

    def _has_drained(self) -> bool:
        return 2 * self._count <= self._max_messages and 2 * self._bytes <= self._max_bytes

    def _report_all(self) -> None:
        calls, self._drained = self._drained, {}
        for call in calls.values():
            call()

    def refresh(self) -> None:
        """Find out whether a take is plain again."""
        self.is_plain = (
            self.turn is None
            and self.kill_exception is None
            and not (self.is_closed or self.is_full or self._drained)
            and not (self._listeners or self._event_count or (self._inbox and self._inbox.aside))
        )
