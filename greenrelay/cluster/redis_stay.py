"""What one incarnation of a node has at Redis: subscriptions, publishes, its scripts.

It ends as a whole: a node that was declared lost stays again, under a new incarnation, with nothing
left of the old one.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple, Protocol

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_keys import Keys
from greenrelay.cluster.redis_link import Link, Refusal
from greenrelay.cluster.redis_listener import Listener
from greenrelay.cluster.redis_places import ANSWER_SECONDS, Places
from greenrelay.cluster.redis_scripts import Scripts
from greenrelay.cluster.redis_urls import RedisUrl
from greenrelay.cluster.redis_writer import MAX_PENDING_BYTES, Writer
from greenrelay.errors import ClusterError

_SEEDS: Final = 2**40
"""A Redis that has lost its data begins with a version that no node can know by accident."""


class Site(NamedTuple):
    """What stays the same for all incarnations."""

    url: RedisUrl
    places: Places
    keys: Keys
    max_pending: int = MAX_PENDING_BYTES


class Hearer(Protocol):
    """Who is told; nothing of it raises."""

    def on_event(self, data: bytes) -> None:
        """Take what comes on the events' channel."""

    def on_message(self, data: bytes) -> None:
        """Take what is published to us."""

    def on_gap(self) -> None:
        """Take note that some of either may have been missed."""

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Take note that publishes of ours may have been lost."""


class Stay:
    """One incarnation at Redis, heard from the moment it is made."""

    def __init__(self, site: Site, me: Member, hearer: Hearer) -> None:
        url, places, keys, max_pending = site
        self.me: Final = me
        self.names: Final[dict[str, str]] = {}
        """The names that we hold, and for which PID."""
        self.scripts: Final = Scripts(keys, me, url.lease, places.publish, random.randrange(_SEEDS))
        self.writer: Final = Writer(url, places, self.scripts.me, hearer.on_maybe_lost, max_pending)
        events, inbox = {keys.events: hearer.on_event}, {keys.channel(me): hearer.on_message}
        # On one connection, if they are on one server: then the news that somebody has left comes
        # after what they had published.
        groups = [events, inbox] if places.publish == "SPUBLISH" else [{**events, **inbox}]
        self._listeners = [Listener(url, places, group, hearer.on_gap) for group in groups]

    def wait(self, timeout: float) -> None:
        """Return when we hear and are heard. Switches: yes.

        Raises:
            ClusterError: not in time, and why.
        """
        for listener in self._listeners:
            listener.wait(timeout)

    def ping(self) -> None:
        """Find out whether the subscriptions live. Never blocks."""
        for listener in self._listeners:
            listener.ping()

    def reconnect(self) -> None:
        """Find all servers anew. Never blocks."""
        self.writer.reconnect()
        for listener in self._listeners:
            listener.reconnect()

    def end(self, block: bool = True) -> None:
        """Say and hear nothing more; with `block` it switches, and has happened afterwards."""
        self.writer.stop(block)
        for listener in self._listeners:
            listener.stop(block)


def is_heard(site: Site, member: Member) -> bool:
    """Tell whether somebody hears a member's channel: then its process lives. Switches: yes.

    Raises:
        ClusterError: it can't be told.
    """
    channel = site.keys.channel(member)
    site.places.look()
    address = site.places.known(channel)
    if address is None:
        raise ClusterError(f"no server has the slot of {channel}")
    link = Link(site.url, address, ANSWER_SECONDS)
    try:
        link.open()
        [count] = link.run([(site.places.publish, channel, b"")])
    finally:
        link.close()
    if isinstance(count, Refusal):
        raise ClusterError(f"{site.url.shown}: {count}")
    return bool(count)
