"""Selective receive: the owner's half of a mailbox, after Erlang's.

    receive(), take(), iterate() ─► something is there: give it
                                 └► nothing is: let go of those who hold back, and wait

There is one wait, on the queue. Three rules: only the owner takes; it has an item in hand only
when it returns it; an owner that is to end has that raised where it takes, see `end`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gevent.queue import Empty
from greenlet import getcurrent

from greenrelay.errors import NotAProcess
from greenrelay.message import Message
from greenrelay.processes.arrivals import Arrivals
from greenrelay.processes.channel import Channel, ChannelClosed, Owner
from greenrelay.processes.end import End
from greenrelay.processes.fairness import FAIR_SHARE, SLICE_SECONDS, SLOW_SECONDS, Rotation, switch
from greenrelay.processes.marks import Marks
from greenrelay.processes.turn import Turn


class SelectiveReceive(Arrivals):
    """What one greenlet takes from: it waits for what it asks for.

    Args:
        marks: what connections hold back by.
        rotation: the event loop's turns; by default its own.
        owner: the greenlet that may take.
        turn: what surrounds the handling of each item, if anything.
    """

    __slots__ = (
        "_began_at",
        "_greenlet",
        "_looked_at",
        "_share",
        "end",
        "turn",
    )

    def __init__(
        self,
        marks: Marks,
        rotation: Rotation | None = None,
        owner: Owner | None = None,
        turn: Turn | None = None,
    ) -> None:
        super().__init__(marks, Rotation() if rotation is None else rotation, owner)
        self._share = FAIR_SHARE
        self._began_at = self._looked_at = 0.0
        """When the owner was woken, and when it last looked at the clock."""
        self.end: End | None = None
        """Why the owner is to end, or has ended. With it, no further message is taken."""
        self._greenlet: object = owner  # the same, for a comparison with what runs
        self.turn = turn
        """What surrounds the handling of each item."""

    # -- taking ----------------------------------------------------------------

    def receive(self, channel: Channel[Any], timeout: float | None) -> Any:
        """Return the next item of one channel, `None` when `timeout` seconds have passed.

        Raises:
            ChannelClosed, NotAProcess, ValueError: as `take()`.
        """
        if getcurrent() is not self._greenlet:
            self.check_owner()
        if self._may_pop and channel is self._inbox and self.turn is None:
            arrived = self._arrived
            if arrived:
                self._share -= 1
                if not self._share:
                    self._give_way()
            elif timeout is None:
                self._await_item(None)
                arrived = self._arrived  # the first item makes it anew
            if arrived and self._may_pop:  # nothing else has come meanwhile
                message = arrived.popleft()
                if message.size:
                    self._bytes -= message.size
                return message
        taken = self.take((channel,), timeout)
        return None if taken is None else taken[1]

    def take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        """Return the first item of the first channel that has one, and that channel.

        Args:
            timeout: seconds until `None` is returned; `None` waits for ever.

        Raises:
            ChannelClosed: there is none, and one of the channels is closed.
            NotAProcess: the caller is not the owner.
            ValueError: there is none, and one of the channels has been unlistened.
        """
        if getcurrent() is not self._greenlet:
            self.check_owner()
        turn = self.turn
        if turn is not None:
            if self.end is not None:  # a kill ends the turn under way
                self.end.raise_kill(self._owner)
            turn.leave()
        try:
            if self._may_pop and self._inbox in channels:
                message = self._take_message(timeout)
                if message is not None:
                    return self._inbox, message
            return self._take(channels, timeout)
        finally:
            if turn is not None:
                turn.enter()

    def iterate(self, channel: Channel[Any]) -> Iterator[Any]:
        """Yield the items of one channel until the owner is to end, or the channel unlistened.

        The caller is checked where the loop begins and where it waits, not for each item: that
        would cost a fifth of taking one. So the iterator is nothing to hand to somebody else.

        Raises:
            NotAProcess: the caller is not the owner.
        """
        self.check_owner()
        arrived = self._arrived
        may_be_popped = channel is self._inbox and self.turn is None
        while True:
            if may_be_popped and arrived and self._may_pop:
                self._share -= 1
                if not self._share:
                    self._give_way()
                    if not (arrived and self._may_pop):
                        continue
                message = arrived.popleft()
                if message.size:
                    self._bytes -= message.size
                yield message
                continue
            try:
                is_over = self.has_unlistened and self._is_over(channel)
                taken = None if is_over else self.take((channel,), None)
            except ChannelClosed:
                if self.end is not None and self.end.kill_exception is not None:
                    raise  # a loop around this one has begun it again and again
                return
            if taken is None:
                return
            yield taken[1]
            arrived = self._arrived  # the first item makes it anew

    def count(self, channel: Channel[Any]) -> int:
        """Return how many items wait for one channel; also for whoever is not the owner."""
        if self._listeners and getcurrent() is self._greenlet:
            self.sort()  # or a loop that counts before it takes would look at all of it each time
        return super().count(channel)

    def check_owner(self) -> None:
        """Raise `NotAProcess` unless the caller is the owner."""
        if getcurrent() is not self._greenlet:
            raise NotAProcess(
                "only the process that owns this channel can receive from it; "
                "call process.inbox() in the function that you spawn, and send to its PID"
            )

    def _take_message(self, timeout: float | None) -> Message | None:
        """Return the next message by the shortcut; `None`: there is more to look at."""
        if self._arrived:
            self._share -= 1
            if not self._share:
                self._give_way()
        elif timeout is None:
            self._await_item(None)
        arrived = self._arrived  # the first item makes it anew
        if not (arrived and self._may_pop):
            return None  # nothing is there, or something else has come meanwhile
        message: Message = arrived.popleft()
        if message.size:
            self._bytes -= message.size
        return message

    def _is_over(self, channel: Channel[Any]) -> bool:
        return self.end is None and self.is_unlistened(channel)

    def _take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        if self.end is not None:
            self.end.raise_kill(self._owner)
        self._share -= 1
        if not self._share:
            self._give_way()
        taken = self._take_now(channels)
        if taken is not None or (timeout is not None and timeout <= 0):
            return taken
        until = None if timeout is None else time.monotonic() + timeout
        while taken is None:
            if self.marks.waiting:
                self.marks.tell_all(len(self), self._bytes)
                self._look_for_shortcut()
            try:
                self._await_item(timeout)
            except Empty:
                return self._take_now(channels)  # what came in the same instant as the time-out
            if self.end is not None:
                self.end.raise_kill(self._owner)
            taken = self._take_now(channels)
            if until is not None:
                timeout = max(0.0, until - time.monotonic())
        return taken

    def _take_now(self, channels: tuple[Channel[Any], ...]) -> tuple[Channel[Any], Any] | None:
        """Return the first item of the first channel that has one, `None`: there is none."""
        taken = self.pop(channels)
        if taken is None:
            if self.end is not None or self.has_unlistened:
                self._check_open(channels)
            self._look_for_shortcut()
        elif taken[0] is not self._events:
            marks = self.marks
            self._bytes -= taken[1].size
            if (marks.is_full or marks.waiting) and marks.drain(len(self), self._bytes):
                self._look_for_shortcut()
        return taken

    def _look_for_shortcut(self) -> None:
        if self.end is None:
            self.find_shortcut()

    # -- waiting ---------------------------------------------------------------

    def _await_item(self, timeout: float | None) -> None:
        """Wait until something has arrived, and for the turn of a greenlet that comes late.

        Without a time-out it may also end for nothing: look, and wait again.

        Raises:
            Empty: nothing has, in `timeout` seconds.
        """
        queue = self.queue if self._queue is None else self._queue
        self._may_append = False
        try:
            if timeout is None:
                if not self._arrived:  # those who held back may just have sent something
                    self._is_asleep = True
                    switch(self._rotation.hub)
            else:
                # Not get(): an exception thrown in from now on finds the item in its place.
                queue.peek(True, timeout)
        finally:
            self._is_asleep = False
            self._may_append = True
        self._began_at = self._looked_at = self._rotation.begin()
        self._share = FAIR_SHARE

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

    def _check_open(self, channels: tuple[Channel[Any], ...]) -> None:
        """Raise what asking empty channels for more comes to, if one of them gets no more."""
        if self.end is not None and any(channel is not self._events for channel in channels):
            self.end.raise_to(self._owner)
        if any(map(self.is_unlistened, channels)):
            raise ValueError("unlisten() has closed this channel; listen() gives a new one")
