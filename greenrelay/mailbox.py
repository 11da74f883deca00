"""Mailboxes: where messages wait until a process takes them.

A mailbox is a few channels and one waiter, the process's own greenlet:

    put()  any greenlet, or the hub: append, and wake the owner if it waits for that channel
    take() the owner only: the first item of the channels it asks for, waiting if there is none

The rule: `put` never blocks, switches or raises. Own deques instead of gevent's queues,
because a process waits for several channels at once, and because closing, killing and the
context of each message all have to meet the wait in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenrelay.channel import Channel
from greenrelay.message import Cancel, Event, Message
from greenrelay.waiter import Waiter
from greenrelay.wire import MAX_MAILBOX_MESSAGES


class Mailbox(Waiter):
    """All channels of one process.

    Args:
        max_messages: the high mark, from which on connections pause reading; 0 is off.
    """

    __slots__ = (
        "_drained",
        "_events",
        "_listeners",
        "_mark",
        "cancellation",
        "has_events",
        "inbox",
        "is_full",
    )

    def __init__(self, max_messages: int = MAX_MAILBOX_MESSAGES) -> None:
        super().__init__()
        self.inbox: Channel[Message] = Channel(self)
        self._events: Channel[Event] | None = None
        self._listeners: dict[str, Channel[Message]] | None = None
        self._drained: dict[Any, Callable[[], None]] = {}
        self._mark = max_messages or float("inf")
        self.is_full = False
        """Whether the high mark was reached, and it has not drained to half of it since."""
        self.has_events = False
        """Whether the owner has asked for its events, and so decides on `Cancel` itself."""
        self.cancellation: Cancel | None = None
        """Why the inbox is closed, until the owner has noticed."""

    def __len__(self) -> int:
        """Count the messages that wait; events do not count."""
        waiting = len(self.inbox.items)
        if self._listeners:
            for channel in self._listeners.values():
                waiting += len(channel.items)
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
            self.schedule_wake()
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
            self.schedule_wake()

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
        """Whether it takes no messages any more: the owner has been told to end, or has ended."""
        return self.inbox.is_closed

    def close(self) -> None:
        """Close the inbox and every listener: they give what they have, then end."""
        self._set_closed(True)
        if self._is_waiting and not self._is_waking:
            self.schedule_wake()

    def condemn(self, doom: BaseException) -> None:
        """Raise `doom` from every take from now on, and take no more messages."""
        self.doom = doom
        self._set_closed(True)
        self.refresh()

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
        """Have `call` called once, when the mailbox has drained to half its mark.

        Soon, if nothing of what is in it is waited for.
        """
        if self._is_waiting and not self._is_waking:
            # The owner waits for something else than what fills it, perhaps from this client.
            self._loop.run_callback(call)
            return
        self._drained[key] = call
        self.is_plain = False

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self._drained.pop(key, None)

    def on_taken(self) -> None:
        """Look at the mark."""
        if (self.is_full or self._drained) and len(self) <= self._mark // 2:
            self.is_full = False
            self._report_drained()

    def on_wait(self) -> None:
        """Tell all: nothing is left to take, so nobody need hold back."""
        while self._drained:
            self._report_drained()

    def on_refused(self) -> None:
        """Forget why: the owner knows that it is to end."""
        self.cancellation = None

    def _report_drained(self) -> None:
        # One for each message taken: a thousand at once would fill the mailbox in one turn.
        if self._drained:
            self._drained.pop(next(iter(self._drained)))()
        self.refresh()

    def refresh(self) -> None:
        """Find out whether a take is plain again; call it when `turn` is set."""
        self.is_plain = (
            self.turn is None and self.doom is None and not self.is_full and not self._drained
        )
