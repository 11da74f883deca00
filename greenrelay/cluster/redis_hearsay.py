"""What comes on channels: whoever may publish to them is no member for that.

    an event ────────────────────► only a hint to look
    bytes of a member ───────────► on_bytes()
    bytes of somebody else ──────► held, and a hint to look
    what a look has brought ─────► the roster; what was held is delivered, or refused

Rule: who comes up or is lost is what Redis itself answers. No I/O, and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.redis_keys import read_bundle, read_event, read_members
from greenrelay.cluster.redis_roster import Roster

LOOK_SECONDS: Final = 0.1
"""Between two looks, however many hints come."""

MAX_HELD_BYTES: Final = 16 * 1024 * 1024
"""Of those who may turn out to be members; a look takes a moment."""

HELD_COST: Final = 200
"""Bytes that an item, or a sender, takes besides its own."""

YIELD_ITEMS: Final = 64
"""After so many, a millisecond or two, the others have their turn."""


class _Held:
    """What somebody has published."""

    __slots__ = ("items", "looks")

    def __init__(self, looks: int) -> None:
        self.items: deque[bytes] = deque()
        self.looks = looks
        """How many looks had begun before the last of it."""


class Hearsay:
    """What one incarnation hears on its channels.

    Args:
        roster: who is a member.
        receiver: is told of bytes.
        look_soon: is told that there may be news; it does not block.
        pause: lets others have their turn.
    """

    def __init__(
        self,
        roster: Roster,
        receiver: Receiver,
        look_soon: Callable[[], None],
        pause: Callable[[], None],
    ) -> None:
        self.receiver = receiver
        self.version = -1
        """Of the last event; what was published before it has been heard."""
        self._roster = roster
        self._look_soon = look_soon
        self._pause = pause
        self._held: dict[Member, _Held] = {}
        self._size = 0
        self._looks = 0
        self._dropped = 0

    def on_event(self, data: bytes) -> None:
        """Take the hint that somebody has come, or gone."""
        try:
            self.version, _, _ = read_event(data)
        except ValueError:
            self.receiver.on_refused("events that nobody can read", 1)
            return
        if not self._roster.is_known(self.version):
            self._look_soon()

    def on_message(self, data: bytes) -> None:
        """Take what somebody has published to us. Switches, if `pause` does."""
        if not data:
            return  # somebody looked whether we live
        try:
            member, items = read_bundle(data)
        except ValueError as error:
            self.receiver.on_refused(f"messages that nobody can read ({error})", 1)
            return
        if member in self._roster and member not in self._held:
            self._deliver(member, items)
        elif not self._roster.is_gone(member):
            self._hold(member, items)

    def begin_look(self) -> None:
        """Take note that Redis is asked now: it knows of whoever has published before."""
        self._looks += 1

    def take(self, version: str, changes: Sequence[Sequence[bytes]], now: float) -> None:
        """Take what Redis has answered: the news, or the lists of members and of the lost."""
        if len(changes) == 1:
            for event in changes[0]:
                self._take_news(event)
            return
        members, lost = (read_members(items) for items in changes)
        for member in lost:
            self._admit(member)
        self._roster.read_list(version, members, lost, now)

    def end_look(self) -> None:
        """Deliver what members have published, and refuse what others have."""
        refused = 0
        for member, held in tuple(self._held.items()):
            if member in self._roster:
                self._deliver_held(member)
            elif held.looks < self._looks or self._roster.is_gone(member):
                refused += len(held.items)
                self._let_go(member)
        if refused:
            self.receiver.on_refused("messages of somebody who is no member", refused)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self.receiver.on_maybe_lost("more than is held of who may be a member", dropped)

    def _take_news(self, event: bytes) -> None:
        try:
            number, sign, member = read_event(event)
        except ValueError:  # it was not written by one of us: the next one is not in a row
            return
        if sign == "-":
            self._admit(member)
        if not self._roster.read_event(number, sign, member):
            self._look_soon()
        if member in self._roster and member in self._held:
            self._deliver_held(member)

    def _admit(self, member: Member) -> None:
        """Have somebody who is gone already, and was not heard before, come up for a moment."""
        may_be_up = member in self._roster or self._roster.is_free(member.node)
        if member in self._held and may_be_up and self._roster.hear(member):
            self._deliver_held(member)

    def _hold(self, member: Member, items: list[bytes]) -> None:
        held = self._held.get(member)
        size = sum(map(len, items)) + HELD_COST * (len(items) + (held is None))
        if self._size + size > MAX_HELD_BYTES:
            self._dropped += len(items)
        else:
            if held is None:
                held = self._held[member] = _Held(self._looks)
            held.items.extend(items)
            held.looks = self._looks
            self._size += size
        self._look_soon()

    def _deliver_held(self, member: Member) -> None:
        # What comes meanwhile is held behind it.
        held = self._held[member]
        while held.items:
            items = list(held.items)
            held.items.clear()
            self._size -= sum(map(len, items)) + HELD_COST * len(items)
            self._deliver(member, items)
        self._let_go(member)

    def _let_go(self, member: Member) -> None:
        items = self._held.pop(member).items
        self._size -= sum(map(len, items)) + HELD_COST * (len(items) + 1)

    def _deliver(self, member: Member, items: list[bytes]) -> None:
        for count, item in enumerate(items, 1):
            if count % YIELD_ITEMS == 0:
                self._pause()
            # Each time: what the receiver is told may end our stay, or the member's.
            if member in self._roster:
                self.receiver.on_bytes(member, item)
