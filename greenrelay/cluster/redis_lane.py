"""The way to one server: what waits for members goes out, in one round trip after the other.

What waits for one member becomes one message, and the next one goes out when that is answered. The
answer tells how many have heard it: if nobody has, it waits again. A message without an answer may
be lost, and is not sent again: at most once.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple, Protocol

import gevent
from gevent.event import Event

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_keys import write_bundle
from greenrelay.cluster.redis_link import Command, Link, LinkDown, Refusal
from greenrelay.errors import ClusterError

MAX_MESSAGE_BYTES: Final = 512 * 1024
"""What waits for one member goes out in messages of about this size."""

MAX_ROUND_BYTES: Final = 1024 * 1024
"""One round trip carries so much: it has to be through within the time-out of a slow network."""

MAX_DEAF_SECONDS: Final = 1.0
"""A member whose channel nobody hears, because it connects again, is tried so often at least."""


class Outgoing:
    """What waits for one member."""

    __slots__ = (
        "backoff",
        "channel",
        "count",
        "deaf_for",
        "is_ready",
        "items",
        "lane",
        "member",
        "unsent",
    )

    def __init__(self, member: Member, channel: str) -> None:
        self.member = member
        self.channel = channel
        self.items: deque[bytes] = deque()
        self.unsent = 0  # bytes of the items, and of those that are just being sent
        self.count = 0  # how many those are
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

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(map(len, self.items))


class Sender(Protocol):
    """Who has the messages."""

    publish_command: str
    text: str
    """The node's member."""

    def wait_for_lease(self) -> None:
        """Return when the lease holds. Switches: yes."""

    def settle(self, message: Message) -> None:
        """Take note that a message waits no more."""

    def put_back(self, message: Message) -> None:
        """Let a message that was not carried out wait again, before all others."""

    def on_sent(self) -> None:
        """Take note that the way is a good one."""

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Take note that some were lost, or may have been."""

    def on_lane_lost(self, lane: Lane, problem: str) -> None:
        """Find other lanes for those whose lane has ended."""


class Lane:
    """The way to one server, until it breaks."""

    def __init__(self, sender: Sender, link: Link) -> None:
        self.link: Final = link
        self._sender = sender
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
                    self._sender.wait_for_lease()
                    self.link.check()  # what is sent over a broken one is lost
                    self._send(self._gather())
                    self._sender.on_sent()
        except ClusterError as error:
            self._sender.on_lane_lost(self, str(error))
        finally:
            self.link.close()

    def _gather(self) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while self._ready and size < MAX_ROUND_BYTES:
            outgoing = self._ready.popleft()
            outgoing.is_ready = False
            message = Message(outgoing, outgoing.take())
            if message.items:
                size += message.size
                messages.append(message)
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
            self._sender.on_maybe_lost("on their way when the connection to Redis broke", rest)
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
                self._sender.settle(message)

    def _write(self, message: Message) -> Command:
        bundle = write_bundle(self._sender.text, message.items)
        return (self._sender.publish_command, message.outgoing.channel, bundle)

    def _look_at(self, message: Message, answer: Any) -> str:
        """Take an answer; return why the message belongs to another server, if it does."""
        outgoing = message.outgoing
        if isinstance(answer, Refusal):
            if answer.is_stale:
                self._sender.put_back(message)
                return str(answer)
            self._sender.on_maybe_lost(f"refused by Redis: {answer}", len(message.items))
        elif answer == 0:
            self._sender.put_back(message)
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
