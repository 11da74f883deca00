"""Publishes on their way to the members' channels.

    publish() ─► Outgoing, one for each member: what waits, in order
                 ─► Lane, one for each server: [its greenlet] all that waits in one round trip

What waits for one member becomes one message, and the next one goes out when that is answered. The
answer tells how many have heard it: if nobody has, it waits again. A message without an answer may
be lost, and is not sent again: at most once. All that waits has a bound.

A node sends nothing while its lease is in doubt: others may have declared it lost.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_keys import write_bundle
from greenrelay.cluster.redis_link import Command, Link, LinkDown, Refusal
from greenrelay.cluster.redis_places import Places
from greenrelay.cluster.redis_urls import Address, RedisUrl
from greenrelay.errors import ClusterError

MAX_PENDING_BYTES: Final = 32 * 1024 * 1024
"""What waits for all members together: more than a short absence of Redis fills."""

MAX_MESSAGE_BYTES: Final = 512 * 1024
"""What waits for one member goes out in messages of about this size."""

MAX_ROUND_BYTES: Final = 1024 * 1024
"""One round trip carries so much: it has to be through within the time-out of a slow network."""

MAX_DEAF_SECONDS: Final = 1.0
"""A member whose channel nobody hears, because it connects again, is tried so often at least."""

ITEM_COST: Final = 64
"""What an item costs in memory beyond its bytes."""

MaybeLost = Callable[[str, int], None]


class Outgoing:
    """What waits for one member."""

    __slots__ = ("backoff", "channel", "deaf_for", "is_ready", "items", "lane", "member", "size")

    def __init__(self, member: Member, channel: str) -> None:
        self.member = member
        self.channel = channel
        self.items: deque[bytes] = deque()
        self.size = 0
        self.lane: Lane | None = None
        self.is_ready = False  # in the lane's queue, where it stands once
        self.backoff = Backoff(MAX_DEAF_SECONDS)
        self.deaf_for = 0.0  # seconds, until it is tried again

    def take(self) -> list[bytes]:
        """Return the items of the next message; they wait no more."""
        items, size = [], 0
        while self.items and size < MAX_MESSAGE_BYTES:
            item = self.items.popleft()
            items.append(item)
            size += len(item)
        return items


class Message(NamedTuple):
    """What goes out to one member at once."""

    outgoing: Outgoing
    items: list[bytes]


class Writer:
    """Sends what one incarnation of a node publishes.

    Args:
        url: where, and who we are.
        places: which server has a channel.
        sender: the node's member, as text.
        maybe_lost: is told what was lost, or may have been.
        max_pending: bytes that may wait.
    """

    def __init__(
        self,
        url: RedisUrl,
        places: Places,
        sender: str,
        maybe_lost: MaybeLost,
        max_pending: int = MAX_PENDING_BYTES,
    ) -> None:
        self.url: Final = url
        self.places: Final = places
        self.sender: Final = sender
        self.maybe_lost: Final = maybe_lost
        self.backoff: Final = Backoff(url.lease / 3)
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
            self._size -= outgoing.size
            self._homeless.pop(outgoing, None)
            outgoing.items.clear()
            outgoing.size = 0

    def renew(self, until: float) -> None:
        """Send until then, by `time.monotonic()`: so long the lease holds."""
        self._valid_until = until
        self._renewed.set()

    def publish(self, member: Member, data: bytes) -> bool:
        """Have bytes sent; false if the member is unknown, or too much waits already."""
        outgoing = self._outgoing.get(member)
        if outgoing is None:
            return False
        cost = len(data) + ITEM_COST
        if self._size + cost > self._max_pending:
            self.maybe_lost("dropped, because too much waits for Redis", 1)
            return False
        self._size += cost
        outgoing.size += cost
        outgoing.items.append(data)
        if len(outgoing.items) == 1:
            self._hand_over(outgoing)
        return True

    def pending(self, member: Member) -> int:
        """Return the bytes that wait for a member."""
        outgoing = self._outgoing.get(member)
        return 0 if outgoing is None else outgoing.size - ITEM_COST * len(outgoing.items)

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
            self.maybe_lost("given up before they were sent", waiting)
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
        cost = sign * (sum(map(len, items)) + ITEM_COST * len(items))
        outgoing.size += cost
        self._size += cost
        return True

    def lose_lane(self, lane: Lane, problem: str) -> None:
        """Find other lanes for those whose lane has ended."""
        self.places.forget(problem)
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
                    self.places.look()
                    self._settle_in()
                if self._homeless:
                    gevent.sleep(self.backoff.next())

    def _settle_in(self) -> None:
        away: set[Address] = set()
        for outgoing in tuple(self._homeless):
            address = self.places.known(outgoing.channel)
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
            self.places.forget()

    def _open(self, address: Address) -> Lane:
        if address not in self._lanes:
            link = Link(self.url, address, max(self.url.lease / 3, 1.0))
            link.open()
            self._lanes[address] = Lane(self, link)
        return self._lanes[address]


class Lane:
    """The way to one server, until it breaks."""

    def __init__(self, writer: Writer, link: Link) -> None:
        self.link: Final = link
        self._writer = writer
        self._ready: deque[Outgoing] = deque()
        self._wake = Event()
        self._greenlet = gevent.spawn(self._run)

    def put(self, outgoing: Outgoing) -> None:
        """Take note that somebody of this lane has something to send. Never blocks."""
        if outgoing.lane is self and not outgoing.is_ready:
            outgoing.is_ready = True
            self._ready.append(outgoing)
            self._wake.set()

    def stop(self, block: bool) -> None:
        """End. Switches, with `block`."""
        self._greenlet.kill(block=block)

    def _run(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._ready:
                    self._writer.wait_for_lease()
                    self.link.check()  # what is sent over a broken one is lost
                    self._send(self._gather())
                    self._writer.backoff.reset()
        except ClusterError as error:
            self._writer.lose_lane(self, str(error))
        finally:
            self.link.close()

    def _gather(self) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while self._ready and size < MAX_ROUND_BYTES:
            outgoing = self._ready.popleft()
            outgoing.is_ready = False
            items = outgoing.take()
            if items:
                size += sum(map(len, items))
                messages.append(Message(outgoing, items))
        return messages

    def _send(self, messages: list[Message]) -> None:
        answered, stale = 0, ""
        try:
            self._put_on_the_wire(messages)
            for message in messages:
                stale = self._look_at(message, self.link.receive()) or stale
                answered += 1
        except LinkDown:
            rest = sum(len(message.items) for message in messages[answered:])
            self._writer.maybe_lost("on their way when the connection to Redis broke", rest)
            raise
        if stale:
            raise LinkDown(stale)
        for message in messages:
            if message.outgoing.items:
                self._again(message.outgoing)

    def _put_on_the_wire(self, messages: list[Message]) -> None:
        try:
            self.link.send([self._write(message) for message in messages])
        finally:
            for message in messages:
                self._writer.settle(message)

    def _write(self, message: Message) -> Command:
        bundle = write_bundle(self._writer.sender, message.items)
        return (self._writer.places.publish, message.outgoing.channel, bundle)

    def _look_at(self, message: Message, answer: Any) -> str:
        """Take an answer; return why the message belongs to another server, if it does."""
        outgoing = message.outgoing
        if isinstance(answer, Refusal):
            if answer.is_stale:
                self._writer.put_back(message)
                return str(answer)
            self._writer.maybe_lost(f"refused by Redis: {answer}", len(message.items))
        elif answer == 0:
            self._writer.put_back(message)
            outgoing.deaf_for = outgoing.backoff.next()
        else:
            outgoing.deaf_for = 0.0
            outgoing.backoff.reset()
        return ""

    def _again(self, outgoing: Outgoing) -> None:
        if outgoing.deaf_for:
            gevent.spawn_later(outgoing.deaf_for, self.put, outgoing)
        else:
            self.put(outgoing)
