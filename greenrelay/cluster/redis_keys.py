"""Names of keys and channels in Redis, and what stands in them.

    greenrelay:{deployment}:node:NAME:INCARNATION       channel: what is published to one member
    greenrelay:{deployment}:{tag}:events                channel: that somebody has come or gone
    greenrelay:{deployment}:{tag}:news                  sorted set: who has, by version
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

import contextlib
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgpack

from greenrelay.cluster.backend import Member
from greenrelay.errors import InvalidPID
from greenrelay.pid import ID_BYTES, PID

_BUNDLE_ITEMS: Final = 2
_INCARNATION: Final = re.compile(r"[A-Za-z0-9_-]{16}")


class Keys:
    """The keys and channels of one deployment."""

    def __init__(self, deployment: str) -> None:
        self._prefix = f"greenrelay:{deployment}:"
        tagged = f"{self._prefix}{{{deployment}}}:"
        self.events: Final = f"{tagged}events"
        self.news: Final = f"{tagged}news"
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


@functools.lru_cache(maxsize=1024)  # each message has one
def read_member(text: str) -> Member:
    """Return the member that `write_member()` wrote.

    Raises:
        ValueError: it is no member: 16 URL-safe characters, and the name of a node.
    """
    incarnation, colon, node = text.partition(":")
    if not colon or not _INCARNATION.fullmatch(incarnation):
        raise ValueError(f"{text!r:.80} is no member")
    try:
        PID.make("proc", node, bytes(ID_BYTES))
    except InvalidPID:
        raise ValueError(f"{text!r:.80} is no member") from None
    return Member(node, incarnation)


def read_members(texts: Iterable[bytes]) -> list[Member]:
    """Return the members of a list; what is none was not written by one of us."""
    members = []
    for text in texts:
        with contextlib.suppress(ValueError):
            members.append(read_member(text.decode()))
    return members


def read_event(data: bytes) -> tuple[int, str, Member]:
    """Return what Redis tells of a member: the version since then, `+` or `-`, and who it is.

    Raises:
        ValueError: it is nothing of the kind.
    """
    sign, version, text = data.decode().split(" ", 2)
    if sign not in ("+", "-"):
        raise ValueError(f"{sign!r:.80} is neither + nor -")
    return int(version), sign, read_member(text)


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
        raise ValueError(f"no msgpack: {error!s:.80}") from None
    if not isinstance(bundle, list) or len(bundle) != _BUNDLE_ITEMS:
        raise ValueError("no pair of sender and items")
    sender, items = bundle
    if not isinstance(sender, str) or not isinstance(items, list):
        raise ValueError("no pair of sender and items")
    if not all(isinstance(item, bytes) for item in items):
        raise ValueError("an item is no bytes")
    return read_member(sender), items
