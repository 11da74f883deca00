"""The backend for nodes on several machines: Redis carries bytes, members and names.

    publish() ─► Writer ─► the member's channel ─► Listener ─► on_bytes()
    Membership ─► Control ─► scripts: leases, who is lost, names

Rules: everything waits in greenlets of its own; a node is a member as long as its lease is
refreshed, by Redis's clock for the others and by its own for itself; what may be lost is told.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final

import gevent

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.redis_control import Control
from greenrelay.cluster.redis_keys import Keys
from greenrelay.cluster.redis_membership import Membership
from greenrelay.cluster.redis_places import find_places
from greenrelay.cluster.redis_stay import Site
from greenrelay.cluster.redis_urls import RedisUrl, parse_redis_url
from greenrelay.cluster.redis_writer import MAX_PENDING_BYTES
from greenrelay.errors import ClusterError
from greenrelay.processes.forks import at_fork

CLAIM_SECONDS: Final = 3.0
"""Who asks for a name while Redis is away is told so after this long."""

RETRY_SECONDS: Final = 0.05
"""Between two claims, while Redis has lost its data and members are coming back."""

FLUSH_SECONDS: Final = 0.7
"""What waits when a node stops has so long to get out."""

STOP_SECONDS: Final = 1.9
"""A stop takes no longer, whatever Redis does."""


def open_redis(url: str, max_pending: int = MAX_PENDING_BYTES) -> RedisBackend:
    """Return the backend that a URL names; nothing is connected yet.

    Args:
        url: `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`.
        max_pending: bytes that may wait while Redis is away.

    Raises:
        ConfigurationError: the URL is wrong; the text says what to write.
    """
    return RedisBackend(parse_redis_url(url), max_pending)


class RedisBackend:
    """Joins a node to others through Redis.

    Args:
        url: where, who we are, how long a lease lasts.
        max_pending: bytes that may wait while Redis is away.
    """

    _membership: Membership

    def __init__(self, url: RedisUrl, max_pending: int = MAX_PENDING_BYTES) -> None:
        self._url = url
        places = find_places(url)
        self._site = Site(url, places, Keys(url.deployment), max_pending)
        self._control = Control(url, places, self._site.keys.members, self._on_again)
        self._has_started = False
        at_fork(self._on_fork)
        self._asserting: gevent.Greenlet[..., None] | None = None

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join. Switches: yes.

        Raises:
            ClusterError: it can't; one clear line, without secrets.
        """
        try:
            self._control.connect()
        except ClusterError as error:
            raise ClusterError(f"{self._url.shown}: {error}") from None
        self._control.start()
        self._membership = Membership(self._site, self._control, receiver, self._assert_soon)
        try:
            self._membership.start(me)
        except BaseException:
            self._control.stop()
            raise
        self._has_started = True

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over for one member; false if it is lost, or the buffer full. Never blocks."""
        return self._has_started and self._membership.stay.writer.publish(member, data)

    def claim(self, name: str, pid: str) -> str:
        """Return the PID that holds a name: `pid` itself if it is ours now. Switches: yes.

        Raises:
            ClusterError: Redis is away, or we are no member at the moment; try again.
        """
        if not self._has_started:
            raise ClusterError("this node has not joined its cluster, or has left it")
        try:
            return self._claim(name, pid, is_back=False)
        except BaseException:
            self.release(name, pid)  # Redis may have carried it out all the same
            raise

    def release(self, name: str, pid: str) -> None:
        """Give a name back, if `pid` holds it. Never blocks."""
        if not self._has_started:
            return  # what we held is free
        stay = self._membership.stay
        if stay.names.get(name) == pid:
            del stay.names[name]
        self._control.post(stay.scripts.release(name, pid))

    def pending(self, member: Member) -> int:
        """Return how many bytes for a member were handed over and are not yet on the wire."""
        return self._membership.stay.writer.pending(member) if self._has_started else 0

    def stop(self) -> None:
        """Leave, within 2 s. Switches: yes."""
        if not self._has_started:
            return
        self._has_started = False
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(STOP_SECONDS):
            self._membership.stay.writer.flush(FLUSH_SECONDS)
            self._membership.leave()
        self._control.stop()

    def _claim(self, name: str, pid: str, is_back: bool) -> str:
        ends = time.monotonic() + CLAIM_SECONDS
        while True:
            stay = self._membership.stay
            left = max(0.0, ends - time.monotonic())
            reply = self._control.ask(stay.scripts.claim(name, pid, is_back), left)
            if reply[0] == b"held":
                holder: str = reply[1].decode()
                if holder == pid:
                    stay.names[name] = pid
                return holder
            if left < RETRY_SECONDS:
                raise ClusterError("this node is no member of its cluster at the moment")
            if reply[0] == b"lost":
                self._membership.refresh_soon()
            gevent.sleep(RETRY_SECONDS)

    def _on_fork(self) -> None:
        """Be nobody in a forked child: its parent has the sockets, and goes on with them."""
        if self._has_started:
            self._has_started = False
            self._membership.abandon()
            self._control.abandon()

    def _on_again(self) -> None:
        if self._has_started:
            self._membership.refresh_soon()
            self._assert_soon()

    def _assert_soon(self) -> None:
        if not self._asserting:
            self._asserting = gevent.spawn(self._assert_names)

    def _assert_names(self) -> None:
        """Claim all names again; if somebody else has got one meanwhile, we are as good as lost."""
        stay = self._membership.stay
        for name, pid in tuple(stay.names.items()):
            if stay.names.get(name) != pid:
                continue  # released meanwhile
            try:
                holder = self._claim(name, pid, is_back=True)
            except ClusterError:
                return  # it will be tried again when we have connected again
            if holder != pid:
                if stay is self._membership.stay:
                    self._membership.isolate()
                return
