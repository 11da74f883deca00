"""Mailboxes: where messages and events wait until a process takes them.

    put()      any greenlet of the node's thread, or the hub: into the queue, and wake the owner
    receive()  the owner only, see `receive`; what is for which channel, see `arrivals`

The rule: `put` never blocks, switches or raises.
"""

from __future__ import annotations

from collections.abc import Callable

from greenrelay.message import Cancel, Event, Message
from greenrelay.processes.arrivals import WAKE_UP
from greenrelay.processes.channel import Channel, Owner
from greenrelay.processes.end import End
from greenrelay.processes.fairness import Rotation
from greenrelay.processes.marks import Marks
from greenrelay.processes.receive import SelectiveReceive
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

    __slots__ = ("has_events",)

    def __init__(
        self,
        max_messages: int = MAX_MAILBOX_MESSAGES,
        max_bytes: int = MAX_MAILBOX_BYTES,
        rotation: Rotation | None = None,
        owner: Owner | None = None,
        turn: Turn | None = None,
    ) -> None:
        super().__init__(Marks(max_messages, max_bytes), rotation, owner, turn)
        self.has_events = False
        """Whether the owner has asked for its events, and so decides on `Cancel` itself."""

    def put(self, message: Message) -> bool:
        """Queue a message; `False`: the mailbox is closed and the message is dropped."""
        if self.end is not None:
            return False
        if self._may_append:
            self._arrived.append(message)
        else:
            self.add(message)
        if message.size:
            self._bytes += message.size
            if self._bytes >= self.marks.max_bytes:
                self._fill()
        if len(self._arrived) >= self._room:
            self._fill()
        return True

    def _fill(self) -> None:
        if self.marks.fill(len(self), self._bytes):
            self.withdraw_shortcut()

    def put_event(self, event: Event) -> None:
        """Queue an event for whoever calls `events()`, now or later."""
        self.add_other(event)

    @property
    def is_full(self) -> bool:
        """Whether a mark was reached, and it has not drained to half of it since."""
        return self.marks.is_full

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when the mailbox has drained to half its mark, or ended."""
        self.marks.on_drained(key, call)
        self.withdraw_shortcut()

    # -- the end ---------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether it takes no messages any more: the owner has been told to end, or has ended."""
        return self.end is not None

    @property
    def kill_exception(self) -> BaseException | None:
        """What every take raises, since the owner was killed or given up."""
        return None if self.end is None else self.end.kill_exception

    @property
    def has_raised_kill(self) -> bool:
        """Whether a kill has been raised in the owner."""
        return self.end is not None and self.end.has_raised_kill

    def cancel(self, news: Cancel) -> None:
        """Ask the owner to end: by an event if it takes events, else by closing its channels."""
        if self.has_events:
            self.put_event(news)
        else:
            self.close().cancel(news)

    def open_events(self) -> Channel[Event]:
        """Return the channel of events; from now on a `Cancel` goes there.

        Also one that came before, while the owner was about to ask for its events.
        """
        self.has_events = True
        news = None if self.end is None else self.end.take_cancellation()
        if news is not None:
            self.put_event(news)
            if self.kill_exception is None:
                self.end = None
        return self.events

    def close(self) -> End:
        """Take no more messages: the channels but the events' give what they have, then end."""
        end = self.end = self.end or End()
        self.withdraw_shortcut()
        if self.is_waiting:
            self.add_other(WAKE_UP)
        return end

    def kill(self, exception: BaseException) -> None:
        """Raise `exception` from every take from now on, and take no more messages.

        Another kill has the first one raised once more.
        """
        self.end = self.end or End()
        self.end.kill(exception)
        self.withdraw_shortcut()

    def take_kill(self) -> BaseException | None:
        """Return the kill for the caller to raise; `None`: there is none, or it has been raised."""
        return None if self.end is None else self.end.take_kill()

    def release(self) -> None:
        """Let go of everything that waits, and of those who hold back: the owner has ended.

        One that was given up still runs: whatever it asks for raises its end.
        """
        self.close()
        self.clear()
        self.marks.reset()

    def let_go(self) -> None:
        """Have no owner any more: its greenlet holds this, and would wait for the collector."""
        self._owner = self._greenlet = None
        if self.end is not None:
            self.end.let_go()
