"""Channels: what one process takes its items from, by kind.

A channel only names what its process asks for. What waits, and which channel of a mailbox is still
open, the mailbox knows: so whoever holds a channel changes nothing by it but what they take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar, overload

import gevent

Item = TypeVar("Item", covariant=True)


class ChannelClosed(gevent.GreenletExit):
    """The process was cancelled, and asks a closed channel for more: it ends.

    No `Exception`, so that it passes handlers that are not meant for it.
    """


class Quitter(Protocol):
    """The process around an owner."""

    def give_up(self) -> None:
        """End it for everybody else: it catches its own end again and again."""


class Owner(Protocol):
    """The greenlet of a process."""

    @property
    def process(self) -> Quitter:
        """What it runs."""

    def switch(self) -> object:
        """Go on; for the loop to call, when what it waits for has come."""


class Receiver(Protocol):
    """What a channel asks of the mailbox around it."""

    __slots__ = ()

    def receive(self, channel: Channel[Any], timeout: float | None) -> Any:
        """Return the next item of a channel, `None` when `timeout` seconds have passed."""

    def iterate(self, channel: Channel[Any]) -> Iterator[Any]:
        """Yield the items of one channel until it ends."""

    def count(self, channel: Channel[Any]) -> int:
        """Return how many items wait for one channel."""

    def check_owner(self) -> None:
        """Raise unless the caller may take."""


class Channel(Generic[Item]):
    """One kind of items that a process takes, in order of arrival."""

    __slots__ = ("mailbox", "topic")

    def __init__(self, mailbox: Receiver, topic: str | None = None) -> None:
        self.mailbox = mailbox
        """Whose it is."""
        self.topic = topic
        """The topic it is dedicated to, if any."""

    def __len__(self) -> int:
        return self.mailbox.count(self)

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
        item: Item | None = self.mailbox.receive(self, timeout)
        return item

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the process is cancelled or terminated, or the channel unlistened.

        Switches: as `receive()`.

        Raises:
            NotAProcess: another greenlet than the channel's own process asks.
        """
        return self.mailbox.iterate(self)
