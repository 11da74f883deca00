"""How a node stays a member, and notices that it is none any more.

    join ─► refresh every third of the lease, and whenever somebody's lease ends ─► leave
              │ no answer for a whole lease, or: "you are lost"
              ▼
            everybody is lost to us; a new incarnation; join

Our own clock decides: from the end of the lease on, others may have declared us lost. Who comes and
goes is told by a refresh; what comes on channels is a hint that one is due.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.redis_backoff import Backoff
from greenrelay.cluster.redis_control import Control
from greenrelay.cluster.redis_hearsay import LOOK_SECONDS, Hearsay
from greenrelay.cluster.redis_joining import join
from greenrelay.cluster.redis_listener import A_TURN
from greenrelay.cluster.redis_roster import Roster
from greenrelay.cluster.redis_stay import Site, Stay
from greenrelay.errors import ClusterError
from greenrelay.logs import log_now

log = logging.getLogger("greenrelay.cluster")

RETRY_SECONDS: Final = 0.1
"""Between a refresh whose answer was lost and the next one."""

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
    _hearsay: Hearsay

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
        self._next_look = 0.0  # not before
        self._next_ping = 0.0
        self._nudge = Event()
        self._has_heard = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self, me: Member) -> None:
        """Become a member, and stay one. Switches: yes.

        Raises:
            ClusterError: why not, in one line.
        """
        self._roster = Roster(me, self._on_up, self._on_lost, self._site.url.lease)
        self._listen()
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
        self._hearsay.receiver = _Nobody()
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
        self._receiver = self._hearsay.receiver = _Nobody()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self.stay.end(block=False)

    def isolate(self) -> None:
        """Start over: others hold what was ours. Never blocks."""
        self._deadline = 0.0
        self._nudge.set()

    # What comes in, in the listeners' greenlets.

    def on_event(self, data: bytes) -> None:
        """Take a hint that somebody has come, or gone."""
        self._hearsay.on_event(data)
        self._has_heard.set()

    def on_message(self, data: bytes) -> None:
        """Take what somebody has published to us. Switches: yes."""
        self._hearsay.on_message(data)

    def on_gap(self) -> None:
        """Take note that the subscription was away."""
        self._receiver.on_maybe_lost("missed, while the subscription was away", 1)
        self._roster.version = ""
        self._hearsay.version = -1
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

    def _listen(self) -> None:
        pause = functools.partial(gevent.sleep, A_TURN)
        self._hearsay = Hearsay(self._roster, self._receiver, self.refresh_soon, pause)

    # The lease, in a greenlet of its own.

    def _keep(self) -> None:
        while True:
            has_hint = self._nudge.wait(max(0.0, self._due - time.monotonic()))
            gevent.sleep(max(0.0, self._next_look - time.monotonic()))
            self._nudge.clear()
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._look_after(not has_hint)
            if not self._refresh():
                self._start_over()

    def _look_after(self, is_due: bool) -> None:
        """Find out whether our connections are good; not with each hint: answers take time."""
        now = time.monotonic()
        if is_due or now >= self._next_ping:
            self._next_ping = now + self._timeout / 2
            self.stay.ping()
            gevent.spawn(self._check_places)

    def refresh_soon(self) -> None:
        """Ask whether we are still a member, and who else is. Never blocks."""
        self._nudge.set()

    def _refresh(self) -> bool:
        """Keep the lease; false if it has ended."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            return False
        known = "" if self._roster.has_missing else self._roster.version
        self._hearsay.begin_look()
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
        if instead_of:
            gevent.spawn(self._free_quietly, instead_of)

    def _take_report(self, reply: Any, sent: float) -> None:
        """Take what a script reports: a lease that begins when it was sent, and the members."""
        lease = self._site.url.lease
        _, version, next_end, late, *changes = reply
        self._deadline = sent + lease
        self.stay.writer.renew(self._deadline)
        now = time.monotonic()
        jitter = random.uniform(0.0, lease / 30)  # not all at once, when somebody's lease ends
        self._due = min(sent + lease / 3, now + next_end / 1000 + jitter)
        for member in late:
            gevent.spawn(self._free_quietly, member.decode())
        if changes:
            self._catch_up(int(version))
            self._hearsay.take(version.decode(), changes, now)
        self._roster.lose_missing(now)
        self._hearsay.end_look()

    def _catch_up(self, version: int) -> None:
        """Hear what was published before the news: a member's last words come before its loss."""
        end = time.monotonic() + LOOK_SECONDS
        while self._hearsay.version < version and (left := end - time.monotonic()) > 0:
            self._has_heard.clear()
            self._has_heard.wait(left)

    def _start_over(self) -> None:
        old = self.stay
        self._is_member = False
        self._roster.lose_all()
        me = self._receiver.on_isolated()
        old.end(block=False)
        self._roster.become(me)
        self._listen()
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

    def on_refused(self, what: str, count: int) -> None:
        """Ignore it."""
