"""Publishes on their way to the members' channels.

    publish() ─► Outgoing, one for each member: what waits, in order
                 ─► Lane, one for each server: [its greenlet] all that waits in one round trip

What waits has a bound. It waits for a server that can be reached, and for the lease: while that is
in doubt, others may have declared us lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

import gevent
from gevent.event import Event

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_lane import Lane, Message, Outgoing
from greenrelay.cluster.redis_link import Link
from greenrelay.cluster.redis_places import Places
from greenrelay.cluster.redis_urls import Address, RedisUrl
from greenrelay.errors import ClusterError

MAX_PENDING_BYTES: Final = 32 * 1024 * 1024
"""What waits for all members together: more than a short absence of Redis fills."""

ITEM_COST: Final = 64
"""What an item costs in memory beyond its bytes."""


class Writer:
    """Sends what one incarnation of a node publishes.

    Args:
        url: where, and who we are.
        places: which server has a channel.
        sender: the node's member, as text.
        on_maybe_lost: is told what was lost, or may have been.
        max_pending: bytes that may wait.
    """

    def __init__(
        self,
        url: RedisUrl,
        places: Places,
        sender: str,
        on_maybe_lost: Callable[[str, int], None],
        max_pending: int = MAX_PENDING_BYTES,
    ) -> None:
        self.text: str = sender
        self.publish_command: str = places.publish
        self.on_maybe_lost = on_maybe_lost
        self._url = url
        self._places = places
        self._backoff = Backoff(url.lease / 3)
        self._max_pending = max_pending
        self._outgoing: dict[Member, Outgoing] = {}
        self._lanes: dict[Address, Lane] = {}
        self._homeless: dict[Outgoing, None] = {}
        self._has_homeless = Event()
        self._size = 0
        self._valid_until = 0.0
        self._renewed = Event()
        self._greenlet = gevent.spawn(self._place)

    def add(self, member: Member, channel: str) -> None:
        """Let there be publishes to a member."""
        self._outgoing[member] = Outgoing(member, channel)

    def remove(self, member: Member) -> None:
        """Forget a member, and what waits for it."""
        outgoing = self._outgoing.pop(member, None)
        if outgoing is not None:
            self._size -= outgoing.unsent + ITEM_COST * outgoing.count
            self._homeless.pop(outgoing, None)
            outgoing.items.clear()

    def renew(self, until: float) -> None:
        """Send until then, by `time.monotonic()`: so long the lease holds."""
        self._valid_until = until
        self._renewed.set()

    def publish(self, member: Member, data: bytes) -> bool:
        """Have bytes sent; false if the member is unknown, or too much waits already."""
        outgoing = self._outgoing.get(member)
        if outgoing is None:
            return False
        size = len(data)
        if self._size + size + ITEM_COST > self._max_pending:
            self.on_maybe_lost("dropped, because too much waits for Redis", 1)
            return False
        self._size += size + ITEM_COST
        outgoing.unsent += size
        outgoing.count += 1
        outgoing.items.append(data)
        if len(outgoing.items) == 1:
            self._hand_over(outgoing)
        return True

    def pending(self, member: Member) -> int:
        """Return the bytes that wait for a member."""
        outgoing = self._outgoing.get(member)
        return 0 if outgoing is None else outgoing.unsent

    def flush(self, timeout: float) -> None:
        """Wait until nothing waits any more, or the time is up. Switches: yes."""
        deadline = time.monotonic() + timeout
        while self._size and time.monotonic() < deadline:
            gevent.sleep(0.005)

    def reconnect(self) -> None:
        """Find the servers anew: those known are not the right ones any more."""
        for lane in tuple(self._lanes.values()):
            lane.link.break_off()

    def stop(self, block: bool = True) -> None:
        """Send nothing more; what waits is lost. Switches, with `block`."""
        self._greenlet.kill(block=block)
        for lane in tuple(self._lanes.values()):
            lane.stop(block)
        self._lanes.clear()
        waiting = sum(len(outgoing.items) for outgoing in self._outgoing.values())
        if waiting:
            self.on_maybe_lost("given up before they were sent", waiting)
        self._outgoing.clear()

    def wait_for_lease(self) -> None:
        """Return when the lease holds. Switches: yes."""
        while time.monotonic() >= self._valid_until:
            self._renewed.clear()
            self._renewed.wait()

    def settle(self, message: Message) -> None:
        """Take note that a message waits no more."""
        self._count(message, -1)

    def put_back(self, message: Message) -> None:
        """Let a message that was not carried out wait again, before all others."""
        if self._count(message, 1):
            message.outgoing.items.extendleft(reversed(message.items))

    def _count(self, message: Message, sign: int) -> bool:
        outgoing, items = message
        if self._outgoing.get(outgoing.member) is not outgoing:
            return False  # the member is gone
        size, count = sign * message.size, sign * len(items)
        outgoing.unsent += size
        outgoing.count += count
        self._size += size + ITEM_COST * count
        return True

    def on_sent(self) -> None:
        """Take note that a way is a good one."""
        self._backoff.reset()

    def on_lane_lost(self, lane: Lane, problem: str) -> None:
        """Find other lanes for those whose lane has ended."""
        self._places.forget(problem)
        if self._lanes.get(lane.link.address) is lane:
            del self._lanes[lane.link.address]
        for outgoing in self._outgoing.values():
            if outgoing.lane is lane:
                outgoing.lane = None
                outgoing.is_ready = False
                if outgoing.items:
                    self._hand_over(outgoing)

    def _hand_over(self, outgoing: Outgoing) -> None:
        if outgoing.lane is not None:
            outgoing.lane.put(outgoing)
        else:
            self._homeless[outgoing] = None
            self._has_homeless.set()

    def _place(self) -> None:
        """Find a lane for everybody who has none; the only place where lanes are opened."""
        while True:
            self._has_homeless.wait()
            self._has_homeless.clear()
            while self._homeless:
                with contextlib.suppress(ClusterError):  # the next attempt is due
                    self._places.look()
                    self._settle_in()
                if self._homeless:
                    gevent.sleep(self._backoff.next())

    def _settle_in(self) -> None:
        away: set[Address] = set()
        for outgoing in tuple(self._homeless):
            address = self._places.known(outgoing.channel)
            if address is None or address in away:
                continue
            try:
                lane = self._open(address)
            except ClusterError:
                away.add(address)
                continue
            if outgoing in self._homeless:  # opening may have taken its time
                del self._homeless[outgoing]
                outgoing.lane = lane
                lane.put(outgoing)
        if self._homeless:
            self._places.forget()

    def _open(self, address: Address) -> Lane:
        if address not in self._lanes:
            link = Link(self._url, address, max(self._url.lease / 3, 1.0))
            link.open()
            self._lanes[address] = Lane(self, link)
        return self._lanes[address]
