"""What all connections of one node share: who is still leaving, and what was complained of last.

    node.shared(Connections)    the node's one, made when it is first asked for

Two rules: nothing here blocks or switches; a connection is held here only while it lingers.
"""

from __future__ import annotations

from typing import Protocol

from greenrelay.message import Message
from greenrelay.relay.bytestream import ByteStream


class Leaver(Protocol):
    """A connection that has ended for everybody, and whose last bytes are on their way."""

    transport: ByteStream


class Connections:
    """The facts that no single connection of a node can know."""

    def __init__(self) -> None:
        self._lingering: set[Leaver] = set()
        self._bad: Message | None = None
        """The last message that a connection could not send."""

    def __contains__(self, connection: Leaver) -> bool:
        return connection in self._lingering

    def __len__(self) -> int:
        return len(self._lingering)

    def add(self, connection: Leaver) -> None:
        """Note that a connection lingers."""
        self._lingering.add(connection)

    def remove(self, connection: Leaver) -> None:
        """Forget a connection whose socket is closed; one that has not lingered is no error."""
        self._lingering.discard(connection)

    @property
    def are_delivered(self) -> bool:
        """Whether the clients of all that linger have got their last bytes."""
        return not any(one.transport.undelivered for one in self._lingering)

    def note_bad_message(self, message: Message) -> bool:
        """Remember a message that can't be sent; `False`: it is logged already."""
        is_news = message is not self._bad
        self._bad = message
        return is_news
