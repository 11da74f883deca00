"""How a node stays a member, and notices that it is none any more.

    join ─► refresh every third of the lease, and whenever somebody's lease ends ─► leave
              │ no answer for a whole lease, or: "you are lost"
              ▼
            everybody is lost to us; a new incarnation; join

Our own clock decides: from the end of the lease on, others may have declared us lost.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_control import Control
from greenrelay.cluster.redis_joining import join
from greenrelay.cluster.redis_keys import read_bundle, read_member
from greenrelay.cluster.redis_listener import A_TURN
from greenrelay.cluster.redis_roster import Roster
from greenrelay.cluster.redis_stay import Site, Stay
from greenrelay.errors import ClusterError
from greenrelay.logs import log_now

log = logging.getLogger("greenrelay.cluster")

RETRY_SECONDS: Final = 0.1
"""Between a refresh whose answer was lost and the next one."""

MAX_EARLY: Final = 10_000
"""Messages kept until we know that we have joined, a moment after others do."""

YIELD_ITEMS: Final = 64
"""After so many, a millisecond or two, the others have their turn."""

LEAVE_SECONDS: Final = 1.0
"""Redis has so long to hear that we leave; else our keys end with the lease."""


class Membership:
    """One node's membership of a deployment.

    Args:
        site: where.
        control: takes the commands.
        receiver: is told of members, bytes, losses and isolation.
        on_again: is told that Redis has lost data, names as well.
    """

    stay: Stay
    _roster: Roster

    def __init__(
        self, site: Site, control: Control, receiver: Receiver, on_again: Callable[[], None]
    ) -> None:
        self._site = site
        self._control = control
        self._receiver = receiver
        self._on_again = on_again
        self._timeout = site.url.lease / 3
        self._is_member = False
        self._deadline = 0.0  # of our lease, by our clock
        self._due = 0.0  # of the next refresh
        self._early: deque[bytes] = deque(maxlen=MAX_EARLY)
        self._nudge = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self, me: Member) -> None:
        """Become a member, and stay one. Switches: yes.

        Raises:
            ClusterError: why not, in one line.
        """
        self._roster = Roster(me, self._on_up, self._on_lost, self._site.url.lease)
        self.stay = Stay(self._site, me, self)
        try:
            self._join("")
        except BaseException:
            self.stay.end()
            raise
        self._greenlet = gevent.spawn(self._keep)

    def leave(self) -> None:
        """Be no member any more. Switches: yes."""
        self._is_member = False
        if self._greenlet is not None:
            self._greenlet.kill()
        try:
            self._free(self.stay.scripts.me)
            self._control.ask(self.stay.scripts.leave(), LEAVE_SECONDS)
        except ClusterError as error:
            log_now(log, logging.WARNING, "left the cluster without telling: %s", error)
        finally:
            self.stay.end()

    def abandon(self) -> None:
        """Do and tell nothing more, as if we had never been: for a forked child. Never blocks."""
        self._is_member = False
        self._receiver = _Nobody()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self.stay.end(block=False)

    def isolate(self) -> None:
        """Start over: others hold what was ours. Never blocks."""
        self._deadline = 0.0
        self._nudge.set()

    # What comes in, in the listeners' greenlets.

    def on_event(self, data: bytes) -> None:
        """Take who has come, or gone."""
        if not self._is_member:
            return  # the list is read when we join
        try:
            sign, version, text = data.decode().split(" ", 2)
            member, number = read_member(text), int(version)
        except ValueError:
            self._receiver.on_maybe_lost("events that nobody can read", 1)
            return
        if member == self.stay.me and sign == "-":
            self.isolate()
        elif not self._roster.read_event(number, sign, member):
            self.refresh_soon()

    def on_message(self, data: bytes) -> None:
        """Take what a member has published to us. Switches: yes."""
        if not data:
            return  # somebody looked whether we live
        if not self._is_member:
            # Who has heard of us already may be quicker than the answer that we have joined.
            self._early.append(data)
            return
        try:
            member, items = read_bundle(data)
        except ValueError as error:
            self._receiver.on_maybe_lost(f"messages that nobody can read ({error})", 1)
            return
        for count, item in enumerate(items, 1):
            if count % YIELD_ITEMS == 0:
                gevent.sleep(A_TURN)
            # Each time: what the receiver is told may end our stay, or the member's.
            if self._is_member and self._roster.hear(member):
                self._receiver.on_bytes(member, item)

    def on_gap(self) -> None:
        """Take note that the subscription was away."""
        self._receiver.on_maybe_lost("missed, while the subscription was away", 1)
        self._roster.version = ""
        self.refresh_soon()

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Pass it on."""
        self._receiver.on_maybe_lost(what, count)

    def _on_up(self, member: Member) -> None:
        self.stay.writer.add(member, self._site.keys.channel(member))
        self._receiver.on_up(member)

    def _on_lost(self, member: Member) -> None:
        self.stay.writer.remove(member)
        self._receiver.on_lost(member)

    # The lease, in a greenlet of its own.

    def _keep(self) -> None:
        while True:
            self._nudge.wait(max(0.0, self._due - time.monotonic()))
            self._nudge.clear()
            self.stay.ping()
            gevent.spawn(self._check_places)
            if not self._refresh():
                self._start_over()

    def refresh_soon(self) -> None:
        """Ask whether we are still a member, and who else is. Never blocks."""
        self._nudge.set()

    def _refresh(self) -> bool:
        """Keep the lease; false if it has ended."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            return False
        known = "" if self._roster.has_missing else self._roster.version
        try:
            reply, sent = self._control.ask_when(
                self.stay.scripts.refresh(known, is_valid=True), min(left, self._timeout)
            )
        except ClusterError:
            self._due = time.monotonic() + RETRY_SECONDS
            return True
        if reply[0] == b"lost" or self._deadline <= 0:
            return False
        self._take_report(reply, sent)
        if reply[0] == b"again":
            self._on_again()
        return True

    def _join(self, instead_of: str) -> None:
        reply, sent = join(self._site, self._control, self.stay, instead_of)
        self._is_member = True
        self._take_report(reply, sent)
        while self._early:
            self.on_message(self._early.popleft())
        if instead_of:
            gevent.spawn(self._free_quietly, instead_of)

    def _take_report(self, reply: Any, sent: float) -> None:
        """Take what a script reports: a lease that begins when it was sent, and the members."""
        lease = self._site.url.lease
        _, version, next_end, late, *lists = reply
        self._deadline = sent + lease
        self.stay.writer.renew(self._deadline)
        now = time.monotonic()
        jitter = random.uniform(0.0, lease / 30)  # not all at once, when somebody's lease ends
        self._due = min(sent + lease / 3, now + next_end / 1000 + jitter)
        if lists:
            members, lost = ([item.decode() for item in items] for items in lists)
            self._roster.read_list(version.decode(), members, lost, now)
        self._roster.lose_missing(now)
        for member in late:
            gevent.spawn(self._free_quietly, member.decode())

    def _start_over(self) -> None:
        old = self.stay
        self._is_member = False
        self._roster.lose_all()
        me = self._receiver.on_isolated()
        old.end(block=False)
        self._roster.become(me)
        self._early.clear()
        self.stay = Stay(self._site, me, self)
        backoff = Backoff(self._timeout)
        while not self._is_member:
            try:
                self._join(old.scripts.me)
            except ClusterError as error:
                log_now(log, logging.WARNING, "can't join the cluster again yet: %s", error)
                gevent.sleep(backoff.next())

    def _check_places(self) -> None:
        if not self._site.places.check():
            self._control.reconnect()
            self.stay.reconnect()

    def _free_quietly(self, member: str) -> None:
        try:
            self._free(member)
        except ClusterError:
            pass  # each of its names is taken over by whoever wants it

    def _free(self, member: str) -> None:
        while self._control.ask(self.stay.scripts.free(member), LEAVE_SECONDS):
            pass


class _Nobody:
    """Is told what nobody is to be told."""

    def on_up(self, member: Member) -> None:
        """Ignore it."""

    def on_bytes(self, member: Member, data: bytes) -> None:
        """Ignore it."""

    def on_lost(self, member: Member) -> None:
        """Ignore it."""

    def on_isolated(self) -> Member:
        raise AssertionError("a forked child has no membership to lose")

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Ignore it."""
