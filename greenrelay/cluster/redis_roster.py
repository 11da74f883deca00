"""Who is a member, as one node knows it. No I/O, and no clock of its own.

It hears of members from the lists and the news that Redis keeps, and of nothing that anybody could
publish. Two rules: a member that was told as lost never comes up again, and it is told so once.

A member that is on no list, and is not among the lost, is missing because Redis has lost data: it
has a lease's time to register again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from greenrelay.cluster.backend import Member

MAX_GONE: Final = 10_000
"""So many of the lost are remembered; they are told apart by incarnation, which never returns."""


class Roster:
    """The members of a deployment except one's own node.

    Args:
        me: who is not listed.
        on_up, on_lost: are told.
        lease: seconds that a missing member has.
    """

    def __init__(
        self,
        me: Member,
        on_up: Callable[[Member], None],
        on_lost: Callable[[Member], None],
        lease: float,
    ) -> None:
        self.version = ""
        """The last one known; empty: read the list."""
        self._me = me
        self._on_up = on_up
        self._on_lost = on_lost
        self._lease = lease
        self._up: dict[str, Member] = {}  # by node: it has one incarnation at a time
        self._missing: dict[Member, float] = {}
        self._gone: OrderedDict[Member, None] = OrderedDict()

    def __contains__(self, member: Member) -> bool:
        return self._up.get(member.node) == member

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._up.values()))

    def is_gone(self, member: Member) -> bool:
        """Tell whether somebody is a member no more, or is us."""
        return member in self._gone or member == self._me

    def is_free(self, node: str) -> bool:
        """Tell whether no incarnation of a node is up."""
        return node not in self._up

    def is_known(self, version: int) -> bool:
        """Tell whether the news up to a version are known."""
        return bool(self.version) and version <= int(self.version)

    def hear(self, member: Member) -> bool:
        """Take note that a member lives; false if it is none any more, or is us."""
        other = self._up.get(member.node)
        if other == member:
            return True
        if self.is_gone(member):
            return False
        if other is not None:
            self.lose(other)
        self._up[member.node] = member
        self._on_up(member)
        return True

    def lose(self, member: Member) -> None:
        """Take note that a member is gone for good."""
        self._missing.pop(member, None)
        self._gone[member] = None
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
        if member in self:
            del self._up[member.node]
            self._on_lost(member)

    def lose_all(self) -> None:
        """Take note that nobody can be reached any more; who can be again comes back."""
        self.version = ""
        for member in self:
            self.lose(member)

    def become(self, me: Member) -> None:
        """Be another incarnation, after `lose_all()`: for it the others are members again.

        Who was told as lost because *we* were cut off lives on, under the same incarnation.
        """
        self._me = me
        self._missing.clear()
        self._gone.clear()

    def read_event(self, version: int, sign: str, member: Member) -> bool:
        """Take one of the news; false if others were missed before it: read the list."""
        known = int(self.version) if self.version else -1
        if version <= known:
            return True  # the list was read after it
        if sign == "+":
            self._missing.pop(member, None)
            self.hear(member)
        else:
            self.lose(member)
        if version != known + 1:
            self.version = ""
            return False
        self.version = str(version)
        return True

    def read_list(
        self, version: str, members: Iterable[Member], lost: Iterable[Member], now: float
    ) -> None:
        """Take the whole list."""
        for member in lost:
            self.lose(member)
        listed = set(members)
        for member in self:
            if member not in listed:
                self._missing.setdefault(member, now + self._lease)
        for member in listed:
            self._missing.pop(member, None)
            self.hear(member)
        self.version = version

    def lose_missing(self, now: float) -> None:
        """Lose whoever has not registered again in time."""
        for member, deadline in tuple(self._missing.items()):
            if deadline <= now:
                self.lose(member)

    @property
    def has_missing(self) -> bool:
        """Tell whether the list must be read again soon."""
        return bool(self._missing)
