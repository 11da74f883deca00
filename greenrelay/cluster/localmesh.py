"""One incarnation of a member: its connections to all others, until it leaves or is declared lost.

    join    a record in the ledger, then a connection to each member that joined before
    up      both have said who they are
    lost    the ledger says so: a member's own record, or another's who saw its connection end, or
            heard nothing for a lease

Whatever happens is taken from the ledger, so that everybody loses the same members. An empty frame
is a sign of life, and whoever gets one looks at the ledger. Silence is counted in our own looks:
what a stall of ours has cost is nobody's silence.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import gevent
import gevent.event

from greenrelay.cluster import localsockets
from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.localdirectory import Directory
from greenrelay.cluster.localentrance import Complaints, Entrance
from greenrelay.cluster.locallink import Link
from greenrelay.cluster.locallog import Log
from greenrelay.errors import ClusterError
from greenrelay.logs import log_soon

log = logging.getLogger("greenrelay.cluster")

LOOKS_PER_LEASE: Final = 5
_BEAT: Final = b""


class Owner(Protocol):
    """Whose incarnation it is."""

    lease: float
    """Seconds without a sign of life after which a member is lost."""
    max_frame_bytes: int

    def is_friend(self, user: int | None) -> bool:
        """Tell whether a user may be at the other end of a connection."""

    def on_over(self) -> None:
        """Take note: others have declared us lost."""


class Mesh:
    """The connections of one incarnation.

    Args:
        receiver: who hears of the others.

    Raises:
        ClusterError: the ledger can't be read, or it can't listen.
    """

    def __init__(self, directory: Directory, me: Member, receiver: Receiver, owner: Owner) -> None:
        self.me = me
        self.links: dict[Member, Link] = {}
        """Those who are up."""
        self.is_over = False
        """Whether we have left, or have been declared lost."""
        self.is_friend = owner.is_friend
        self._directory = directory
        self._receiver = receiver
        self._owner = owner
        self._complaints = Complaints()
        self._known: frozenset[str] = frozenset()
        """Members by the ledger as we have last acted on it."""
        self._awaited: dict[str, int] = {}
        """Members that are not up yet, and for how many of our looks."""
        self._elders: set[str] = set()
        """Members that we connect to: they were there before us."""
        self._arrived = gevent.event.Event()
        """Somebody is awaited no longer."""
        self._owed: list[tuple[str, str]] = []
        """Names that could not be given back yet."""
        self._is_looking = self._will_look = False
        self._log = Log(directory, me.incarnation)
        try:
            self._entrance = Entrance(directory, me.incarnation, self, self._complaints)
        except ClusterError:
            self._log.close()
            raise
        self._loop = gevent.get_hub().loop
        interval = owner.lease / LOOKS_PER_LEASE
        self._timer = self._loop.timer(interval, interval)

    # -- joining and leaving ----------------------------------------------------

    def join(self) -> None:
        """Become a member, and be connected to all; one that does not answer is lost. Switches.

        Raises:
            ClusterError: the ledger can't be written, or a living member has our name.
        """
        self._log.join(self.me.node, self._owner.lease)
        members = dict(self._log.ledger.members)
        order = list(members)
        if self.me.incarnation not in members:
            self._end()
            return
        self._elders = set(order[: order.index(self.me.incarnation)])
        self._known = frozenset(members)
        self._awaited = {key: 0 for key in order if key != self.me.incarnation}
        self._entrance.open()
        self._timer.start(self._guarded, self._on_timer)
        self._meet({key for key in self._elders if members[key].node == self.me.node})
        if any(member.node == self.me.node for member in self.links):
            self.leave()
            raise ClusterError(
                f"the name {self.me.node} is taken by a running node in {self._directory.path}: "
                "give each node a name of its own"
            )
        self._meet(self._elders)

    def _meet(self, keys: set[str]) -> None:
        """Connect to members, and wait until each is up or lost."""
        self._dial(keys)
        while not self.is_over and not keys.isdisjoint(self._awaited):
            self._arrived.clear()
            self._arrived.wait()  # whoever does not answer is declared lost

    def _dial(self, keys: Iterable[str]) -> None:
        if not self.is_over:
            self._entrance.dial([key for key in keys if key in self._awaited])

    def flush(self, seconds: float) -> None:
        """Wait until what was handed over has gone out, or so long. Switches."""
        end = time.monotonic() + seconds
        while any(link.pending for link in self.links.values()) and time.monotonic() < end:
            gevent.sleep(0.005)

    def leave(self) -> None:
        """Be no member any more; the others learn it at once. Idempotent."""
        if self.is_over:
            return
        try:
            self._log.declare_gone(self.me.incarnation)
        except ClusterError as error:
            log_soon(log, logging.WARNING, "left without saying so: %s", error)
        self._close()

    def _end(self) -> None:
        """Take note that others have declared us lost."""
        if self.is_over:
            return
        members = list(self.links)
        self._close()
        for member in members:
            self._receiver.on_lost(member)
        self._owner.on_over()

    def _close(self) -> None:
        localsockets.remove_socket(self._directory, self.me.incarnation)
        self.abandon()
        self._arrived.set()

    def abandon(self) -> None:
        """Close what is open, in silence: in a child that was forked, it is the parent's."""
        self.is_over = True
        self._timer.stop()
        self._timer.close()
        self._entrance.close()
        for link in self.links.values():
            link.close()
        self.links.clear()
        self._log.close()

    # -- names ------------------------------------------------------------------

    def claim(self, name: str, pid: str) -> str | None:
        """Return the PID that holds a name; `None`: we are no member any more.

        Raises:
            ClusterError: the ledger can't be written.
        """
        holder = None if self.is_over else self._log.claim(name, pid)
        self._note_changes()
        return holder

    def release(self, name: str, pid: str) -> None:
        """Give a name back, if it is `pid`'s; later, if the ledger can't be written now."""
        if self.is_over:
            return
        try:
            self._log.release(name, pid)
        except ClusterError as error:
            self._owed.append((name, pid))
            self._complaints.tell(logging.ERROR, "%s", error)
        self._note_changes()

    def _note_changes(self) -> None:
        if not self.is_over and self._log.ledger.members.keys() != self._known:
            self.look_soon()

    # -- looking ----------------------------------------------------------------

    def look_soon(self) -> None:
        """Act on what the ledger says, in the loop's next turn."""
        if not self._will_look:
            self._will_look = True
            self._loop.run_callback(self._guarded, self._look)

    def _guarded(self, callback: Callable[[], None]) -> None:
        if self.is_over:
            return
        try:
            callback()
        except ClusterError as error:
            self._complaints.tell(logging.ERROR, "%s", error)
        except Exception:  # the outermost: a bug of ours must not end the loop's callback
            log_soon(log, logging.ERROR, "the cluster's connections failed", exc_info=True)

    def _look(self) -> None:
        """Act on what the ledger says."""
        self._will_look = False
        if self.is_over or self._is_looking:
            return
        self._is_looking = True
        try:
            self._log.sync()
            if not self._log.is_member:
                self._end()
            elif self._log.ledger.members.keys() != self._known:
                self._act()
        finally:
            self._is_looking = False

    def _act(self) -> None:
        now = frozenset(self._log.ledger.members)
        came, went = now - self._known, self._known - now
        self._known = now
        for key in came:
            self._awaited[key] = 0
        for key in went:
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._awaited.pop(key, None)
        localsockets.remove_socket(self._directory, key)
        self._entrance.drop(lambda link: link.incarnation == key)
        for member, link in list(self.links.items()):
            if member.incarnation == key:
                del self.links[member]
                link.read_rest()
                link.close()
                self._receiver.on_lost(member)
        self._arrived.set()

    def _on_timer(self) -> None:
        """Look at everything, LOOKS_PER_LEASE times a lease."""
        self._look()
        if self.is_over:
            return
        if not self._directory.is_in_place():
            path = self._directory.path
            log_soon(log, logging.WARNING, "%s was taken away: beginning anew", path)
            self._end()
            return
        owed, self._owed = self._owed, []
        for name, pid in owed:
            self.release(name, pid)
        self._count_silence()
        if not self.is_over:
            self._entrance.open()  # it may have been out of descriptors
            self._dial(self._elders)

    def _count_silence(self) -> None:
        for member, link in list(self.links.items()):
            if self._is_silent(link):
                self._declare(member.incarnation, "it was silent for its lease")
            elif not link.pending:
                link.write(_BEAT)
        for key, looks in list(self._awaited.items()):
            if looks >= self._patience(key):
                self._declare(key, "it did not answer for its lease")
            elif key in self._awaited:
                self._awaited[key] = looks + 1
        self._entrance.drop(self._is_silent)

    def _is_silent(self, link: Link) -> bool:
        link.silence = 0 if link.has_heard else link.silence + 1
        link.has_heard = False
        return link.silence > self._patience(link.incarnation)

    def _patience(self, key: str | None) -> int:
        """Return how many looks of silence a member is granted: the longer lease of the two."""
        entry = self._log.ledger.members.get(key or "")
        lease = self._owner.lease if entry is None else max(entry.lease, self._owner.lease)
        return math.ceil(lease / self._owner.lease * LOOKS_PER_LEASE)

    def on_dead(self, incarnation: str) -> None:
        """Take note: nobody listens where this member did."""
        self._declare(incarnation, "nobody listens there")

    def _declare(self, key: str, why: str) -> None:
        """Write into the ledger that a member is lost, and have everybody look."""
        if self.is_over:
            return
        entry = self._log.ledger.members.get(key)
        if entry is not None and self._log.declare_gone(key):
            log_soon(log, logging.WARNING, "node %s is lost: %s", entry.node, why)
            for link in self.links.values():
                link.write(_BEAT)
        self._look()

    # -- connections ------------------------------------------------------------

    def on_frame(self, link: Link, data: bytes) -> None:
        """Take what a member has published; the first says who it is."""
        if link.member is None:
            self._greet(link, data)
        elif data:
            self._receiver.on_bytes(link.member, data)
        else:
            self.look_soon()

    def _greet(self, link: Link, data: bytes) -> None:
        self._look()  # it has joined before it connected
        if not link.is_open:
            return
        key = localsockets.read_hello(data)
        entry = self._log.ledger.members.get(key)
        if entry is None or key not in self._awaited or link.incarnation not in (None, key):
            link.close()
            self.on_end(link, f"no greeting of a member, but {data[:40]!r}")
            return
        self._entrance.admit(link, key)
        link.member = Member(entry.node, key)
        link.max_bytes = self._owner.max_frame_bytes
        del self._awaited[key]
        self.links[link.member] = link
        self._receiver.on_up(link.member)
        self._arrived.set()

    def on_end(self, link: Link, fault: str) -> None:
        """Take note that a connection has ended: a member that has one is lost."""
        if fault:
            who = "a stranger" if link.member is None else link.member.node
            self._complaints.tell(logging.WARNING, "closed a connection of %s: %s", who, fault)
        if link.member is None:
            self._entrance.forget(link)
            self.look_soon()  # it may have left just now
        elif self.links.get(link.member) is link:
            self._guarded(lambda: self._lose(link.incarnation or ""))

    def _lose(self, key: str) -> None:
        self._look()  # it may have left
        self._declare(key, "its connection ended")
