"""Channels: the queues that one process takes from, and what ends them.

A channel is filled and emptied through its mailbox, which knows who may take and how to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar, overload

import gevent

Item = TypeVar("Item", covariant=True)

FAIR_SHARE: Final = 100
"""After so many items in a row a process looks whether it is the others' turn."""


class ChannelClosed(gevent.GreenletExit):
    """The process was cancelled, and asks a closed channel for more: it ends.

    No `Exception`, so that it passes handlers that are not meant for it.
    """


class Taker(Protocol):
    """The mailbox around a channel."""

    is_plain: bool
    doom: BaseException | None

    @property
    def is_closed(self) -> bool:
        """Whether the process has been cancelled."""

    def take(
        self, channels: tuple[Channel[Any], ...], timeout: float | None
    ) -> tuple[Channel[Any], Any] | None:
        """Return the next item of the first channel that has one."""

    def check_owner(self) -> None:
        """Raise unless the caller may take."""

    def give_way(self) -> None:
        """Let others run if they have waited for long."""


class Channel(Generic[Item]):
    """A queue that one process takes from, in order of arrival."""

    __slots__ = ("is_awaited", "is_closed", "items", "mailbox", "topic")

    def __init__(self, mailbox: Taker, topic: str | None = None) -> None:
        self.mailbox = mailbox
        """Whose it is."""
        self.items: deque[Any] = deque()
        """What waits; the mailbox's business."""
        self.is_awaited = False
        """Whether the process waits for it just now."""
        self.is_closed = False
        """A closed channel gives what it has, then ends."""
        self.topic = topic
        """The topic it is dedicated to, if any."""

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True

    @overload
    def receive(self, timeout: None = None) -> Item: ...

    @overload
    def receive(self, timeout: float | None) -> Item | None: ...

    def receive(self, timeout: float | None = None) -> Item | None:
        """Return the next item, waiting for it; `None` when `timeout` seconds have passed.

        `None` never means "cancelled": when the process has been cancelled and the
        channel is empty, the process ends here, with reason `cancelled`, after its
        `finally` blocks. (A loop that takes `None` for "idle" would spin otherwise.)

        Switches: yes, if there is none yet, and now and then if there is.

        Raises:
            NotAProcess: another greenlet than the channel's own process asks.
            ValueError: `unlisten()` has closed this channel.
        """
        taken = self.mailbox.take((self,), timeout)
        return None if taken is None else taken[1]

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the process is cancelled or terminated, or the channel unlistened.

        Switches: as `receive()`.

        Raises:
            NotAProcess: another greenlet than the channel's own process asks.
        """
        mailbox = self.mailbox
        mailbox.check_owner()
        items = self.items
        share = FAIR_SHARE
        while True:
            if items and mailbox.is_plain:
                if not share:
                    share = FAIR_SHARE
                    mailbox.give_way()
                    continue
                share -= 1
                yield items.popleft()
                continue
            if self.is_closed and not items and not mailbox.is_closed:
                return  # unlistened
            share = FAIR_SHARE
            try:
                taken = mailbox.take((self,), None)
            except ChannelClosed:
                if mailbox.doom is not None:
                    raise  # a loop around this one has begun it again and again
                return
            assert taken is not None  # without a time-out, take() returns with an item
            yield taken[1]
