"""Names of keys and channels in Redis, and what stands in them.

    greenrelay:{deployment}:node:NAME:INCARNATION       channel: what is published to one member
    greenrelay:{deployment}:{tag}:events                channel: who has come and gone
    greenrelay:{deployment}:{tag}:members               sorted set: member → when its lease ends
    greenrelay:{deployment}:{tag}:lost                  sorted set: member → when it was lost
    greenrelay:{deployment}:{tag}:version               counts the events
    greenrelay:{deployment}:{tag}:young                 there while names that Redis lost come back
    greenrelay:{deployment}:{tag}:names                 hash: name → member and PID
    greenrelay:{deployment}:{tag}:names:MEMBER          set: the names of one member

Everything starts with `greenrelay:`, the deployment as it is, and a colon (SPEC §7.9). `{tag}` is
the deployment in braces: a script needs all keys in one slot of Redis Cluster, and only what is
between braces counts for that. Channels of members have none, so they spread over its masters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgpack

from greenrelay.cluster.backend import Member

_BUNDLE_ITEMS: Final = 2


class Keys:
    """The keys and channels of one deployment."""

    def __init__(self, deployment: str) -> None:
        self._prefix = f"greenrelay:{deployment}:"
        tagged = f"{self._prefix}{{{deployment}}}:"
        self.events: Final = f"{tagged}events"
        self.members: Final = f"{tagged}members"
        self.lost: Final = f"{tagged}lost"
        self.version: Final = f"{tagged}version"
        self.young: Final = f"{tagged}young"
        self.names: Final = f"{tagged}names"

    def names_of(self, member: str) -> str:
        """Return the key of a member's names, given its text."""
        return f"{self.names}:{member}"

    def channel(self, member: Member) -> str:
        """Return the channel of one member."""
        return f"{self._prefix}node:{member.node}:{member.incarnation}"


def write_member(member: Member) -> str:
    """Return the text of a member; an incarnation has no colon in it."""
    return f"{member.incarnation}:{member.node}"


def read_member(text: str) -> Member:
    """Return the member that `write_member()` wrote.

    Raises:
        ValueError: it is no member.
    """
    incarnation, colon, node = text.partition(":")
    if not (incarnation and colon and node):
        raise ValueError(f"{text!r:.80} is no member")
    return Member(node, incarnation)


def write_bundle(sender: str, items: Sequence[bytes]) -> bytes:
    """Return one message for a member's channel: who sends, and what was published."""
    return msgpack.packb((sender, items))  # type: ignore[no-any-return]  # msgpack has no types


def read_bundle(data: bytes) -> tuple[Member, list[bytes]]:
    """Return the sender and the items of a message.

    Raises:
        ValueError: it is no such message.
    """
    try:
        bundle = msgpack.unpackb(data)
    except Exception as error:  # msgpack has a dozen classes for it, and ValueError is one
        raise ValueError(f"no msgpack: {error}") from None
    if not isinstance(bundle, list) or len(bundle) != _BUNDLE_ITEMS:
        raise ValueError("no pair of sender and items")
    sender, items = bundle
    if not isinstance(sender, str) or not isinstance(items, list):
        raise ValueError("no pair of sender and items")
    if not all(isinstance(item, bytes) for item in items):
        raise ValueError("an item is no bytes")
    return read_member(sender), items
