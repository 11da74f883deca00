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
        if self.is_closed:
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
            self._may_pop = False

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
        self._may_pop = False

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self.marks.forget_drained(key)

    # -- the end ---------------------------------------------------------------

    def cancel(self, news: Cancel) -> None:
        """Ask the owner to end: by an event if it takes events, else by closing its channels."""
        if self.has_events:
            self.put_event(news)
        else:
            self._cancellation = news
            self.close()

    def open_events(self) -> Channel[Event]:
        """Return the channel of events; from now on a `Cancel` goes there.

        Also one that came before, while the owner was about to ask for its events.
        """
        self.has_events = True
        if self._cancellation is not None:
            self.put_event(self._cancellation)
            self._cancellation = None
            self.is_closed = False
        return self.events

    def close(self) -> None:
        """Take no more messages: the channels but the events' give what they have, then end."""
        self.is_closed = True
        self._may_pop = False
        if self.is_waiting:
            self.add_other(WAKE_UP)

    def kill(self, exception: BaseException) -> None:
        """Raise `exception` from every take from now on, and take no more messages."""
        self.kill_exception = exception
        self.is_closed = True
        self._may_pop = False

    def take_kill(self) -> BaseException | None:
        """Return the kill for the caller to raise; `None`: there is none, or it has been raised."""
        if self.has_raised_kill:
            return None
        self.has_raised_kill = self.kill_exception is not None
        return self.kill_exception

    def renew_kill(self) -> None:
        """Have a kill raised once more."""
        self.has_raised_kill = False

    def release(self) -> None:
        """Let go of everything that waits, and of those who hold back: the owner has ended.

        One that was given up still runs: whatever it asks for raises its end.
        """
        self.close()
        self.clear()
        if self.kill_exception is not None:
            self.kill_exception.__traceback__ = None  # it holds the frames that hold this
        self.marks.reset()

    def let_go(self) -> None:
        """Have no owner any more: its greenlet holds this, and would wait for the collector."""
        self._owner = self._greenlet = None
