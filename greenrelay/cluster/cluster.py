"""A node among others: whom it knows, what it tells them, and what becomes of it when they go.

    node ─ elsewhere ─► Cluster ─► peers ─► backend        what our processes do to others
    node ◄─ incoming ◄─ Cluster ◄─ on_bytes ◄─ backend     what others do to ours

It only holds the parts together; each of them has a file. Rules: everything happens in the thread
of the node's loop; a member that is lost is dealt with in slices, so that nobody waits for it.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import gevent

from greenrelay.cluster import operations
from greenrelay.cluster.backend import Backend, Member
from greenrelay.cluster.envelope import MAX_ENVELOPE_BYTES
from greenrelay.cluster.incoming import Incoming
from greenrelay.cluster.inquiries import Inquiries
from greenrelay.cluster.members import Members
from greenrelay.cluster.names import Names
from greenrelay.cluster.operations import BadOperation
from greenrelay.cluster.outgoing import Outgoing
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.cluster.pressure import Pressure
from greenrelay.cluster.remote import RemoteEntity
from greenrelay.cluster.reports import Reports
from greenrelay.cluster.slices import Slices
from greenrelay.cluster.syncing import Syncing
from greenrelay.cluster.ties import Ties
from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import ClusterError, EnvelopeError, NotPortable
from greenrelay.logs import log_soon
from greenrelay.message import Exit, Message
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.node import Node
from greenrelay.wire import NOCONNECTION, NOPROC

log = logging.getLogger("greenrelay.cluster")

INCARNATION_BYTES: Final = 12
FIRST_NEWS_SECONDS: Final = 2.0
"""How long a start waits for the names and groups of those who are there already."""
LOOK_SECONDS: Final = 0.005
MAX_FORMER_MEMBERS: Final = 10_000
"""So many are remembered: each client that closes is one, and a cron job may be one a minute. It is
a second guard: the backend tells of nobody who has not joined just now."""
RESYNC_SECONDS: Final = 1.0
"""Between a loss and telling all again: others are likely to be lost with it."""


class Cluster:
    """What a node has to do with the other members. Make it in the node's thread.

    Args:
        node: ours.
        backend: carries the bytes.
        secret: signs every envelope, and refuses what is not signed with it.
        max_bytes: of one envelope.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        node: Node,
        backend: Backend,
        *,
        secret: str | None = None,
        max_bytes: int = MAX_ENVELOPE_BYTES,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.node = node
        self._random = random
        self._backend = backend
        self._max_bytes = max_bytes
        self._make_peer = partial(Peer, secret=secret, max_bytes=max_bytes)
        self.me = self._make_member()
        """Who we are just now."""
        self.peers = Peers()
        """The other members."""
        self._former: dict[Member, None] = {}
        """Those that were lost last: another start has another incarnation, and what one of these
        has sent to us, as who we are now, could be taken a second time."""
        self._table = node.table
        self._reports = Reports(node)
        self._slices = Slices()
        self._pressure = Pressure()
        self._ties = Ties(node.table, self.peers, self._pack_value)
        self._names = Names(node.name, node.table, self.peers, backend, self.check_portable)
        self._members = Members(node.name, node.groups, self.peers, self.check_portable)
        self._outgoing = Outgoing(node.table, self.peers)
        self._inquiries = Inquiries(node, self.peers)
        self._syncing = Syncing(
            self._names, self._members, self._ties, self._pressure, self._slices
        )
        self._incoming = Incoming(node, self._pressure, self._reports)
        self._wire()
        self._is_resync_due = self._is_leaving = False
        self._has_warned = False
        # What a relay asks of a process elsewhere, and what a node does, are the parts' own.
        self.prepare, self.broadcast = self._outgoing.prepare, self._outgoing.broadcast
        self.broadcast_group = self._outgoing.broadcast_group
        self.is_full, self.hold = self._pressure.is_full, self._pressure.hold
        self.forget = self._pressure.forget
        self.watch, self.unwatch = self._ties.watch, self._ties.unwatch
        self.link, self.unlink = self._ties.link, self._ties.unlink
        self.tell_link = self._ties.tell_link
        self.claim, self.ask = self._names.claim, self._inquiries.ask

    def _make_member(self) -> Member:
        incarnation = base64.urlsafe_b64encode(self._random(INCARNATION_BYTES)).decode()
        return Member(self.node.name, incarnation)

    def _wire(self) -> None:
        ties, syncing, inquiries = self._ties, self._syncing, self._inquiries
        take = self._incoming.handle
        take(operations.Monitor, ties.on_monitor)
        take(operations.Demonitor, ties.on_demonitor)
        take(operations.Ended, self._on_ended, True)
        take(operations.Link, ties.on_link, True)
        take(operations.Unlink, ties.on_unlink, True)
        take(operations.Unlinked, ties.on_unlinked, True)
        take(operations.LinkDown, ties.on_link_down, True)
        take(operations.Name, syncing.on_name, True)
        take(operations.Unname, self._names.on_unname, True)
        take(operations.Join, syncing.on_join, True)
        take(operations.Leave, self._members.on_leave, True)
        take(operations.Full, syncing.on_full, True)
        take(operations.Drained, syncing.on_drained, True)
        take(operations.Sync, syncing.on_sync)
        take(operations.Synced, syncing.on_synced)
        take(operations.Resync, syncing.on_resync)
        take(operations.Draining, self._on_draining)
        take(operations.Ask, inquiries.on_ask)
        take(operations.Answer, inquiries.on_answer)

    # -- being a member --------------------------------------------------------------------

    def start(self) -> None:
        """Join, and learn what those who are there have to tell. Switches: yes.

        Raises:
            ClusterError: it can't; one clear line.
        """
        if self._table.elsewhere is not None:
            raise ClusterError(f"node {self.node.name!r} is in a cluster already")
        self._table.elsewhere = self
        self._names.start()
        self._members.start()
        try:
            self._backend.start(self.me, self)
        except BaseException:
            self._leave()
            raise
        self._names.reclaim()
        deadline = time.monotonic() + FIRST_NEWS_SECONDS
        while not all(peer.has_synced for peer in self.peers) and time.monotonic() < deadline:
            gevent.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Leave: what is on its way goes out, then others are lost to us, and we to them.

        Switches: yes; idempotent.
        """
        if self._is_leaving or self._table.elsewhere is not self:
            return
        self._is_leaving = True
        for peer in self.peers:
            self._flush(peer)
        self._backend.stop()
        for peer in self.peers:
            self.on_lost(peer.member)
        while len(self._slices):
            gevent.sleep(LOOK_SECONDS)
        self._leave()

    def _leave(self) -> None:
        self._names.stop()
        self._members.stop()
        self._slices.close()
        if self._table.elsewhere is self:
            self._table.elsewhere = None

    # -- what the backend tells --------------------------------------------------------------

    def on_up(self, member: Member) -> None:
        """Tell a new member all there is."""
        if member.node == self.node.name:
            text = f"another node is called {member.node!r}, too: give each its own --node"
            self._reports.note("cluster_refused", text)
            return
        if member in self._former:
            text = f"node {member.node!r} can't come back under the incarnation that was lost"
            self._reports.note("cluster_refused", text)
            return
        former = self.peers.named(member.node)
        if former is not None:
            self.on_lost(former.member)
        peer = self._make_peer(self.me, member, self._backend, self._soon)
        self.peers.add(peer)
        self._syncing.tell(peer)
        if self.node.is_draining:
            self.tell_draining(True)
        log_soon(log, logging.INFO, "node %s is up", member.node)

    def on_bytes(self, member: Member, data: bytes) -> None:
        """Do what a member tells."""
        peer = self.peers.find(member)
        if peer is None:
            self._incoming.refuse(member.node, BadOperation("it is no member"))
            return
        try:
            told = peer.open(data)
        except EnvelopeError as error:
            self._incoming.refuse(member.node, error)
            return
        if peer.missing > 0:
            text = f"{peer.missing} envelopes of node {member.node!r} were lost"
            self._reports.note("cluster_lost", text, peer.missing)
            self._syncing.ask(peer)
        self._incoming.take(peer, told)

    def on_lost(self, member: Member) -> None:
        """Let everything go that hangs on a member, in slices."""
        peer = self.peers.find(member)
        if peer is None:
            return
        self.peers.remove(peer)
        self._former[member] = None
        if len(self._former) > MAX_FORMER_MEMBERS:
            del self._former[next(iter(self._former))]
        peer.lose()
        self._slices.add(self._work_off(peer))
        log_soon(log, logging.INFO, "node %s is lost", member.node)

    def _work_off(self, peer: Peer) -> Iterator[None]:
        yield from self._incoming.finish(peer)
        yield from self._names.lose(peer)
        yield from self._members.lose(peer)
        yield from self._ties.lose(peer)
        self._inquiries.lose(peer)
        self._pressure.lose(peer)

    def on_isolated(self) -> Member:
        """Become another member: the others have taken us for lost."""
        for peer in self.peers:
            self.on_lost(peer.member)
        self.me = self._make_member()
        self._former.clear()
        self._names.reclaim()
        text = "others had lost node %s, which comes back as another one"
        log_soon(log, logging.WARNING, text, self.node.name)
        return self.me

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Count a loss, and tell all again, soon."""
        self._reports.note("cluster_lost", f"lost between nodes, perhaps: {what}", count)
        self._resync_later()

    def on_refused(self, what: str, count: int) -> None:
        """Count what was no member's."""
        self._reports.note("cluster_refused", f"refused: {what}", count)

    # -- to others -------------------------------------------------------------------------------

    def note_unsent(self, pid: PID, message: Message, error: NotPortable) -> None:
        """Count and tell what a connection could not send: clients choose what that is."""
        text = f"{message.topic!r} from {message.sender} to {pid} was not sent: {error}"
        self._reports.note("cluster_dropped", text)

    def _soon(self, flush: Callable[[], None]) -> None:
        peer: Any = flush.__self__  # type: ignore[attr-defined]  # a method of a peer
        gevent.get_hub().loop.run_callback(self._flush, peer)

    def _flush(self, peer: Peer) -> None:
        sent, undelivered = peer.sent, peer.undelivered
        peer.flush()
        self.node.counts["cluster_sent"] += peer.sent - sent
        if peer.undelivered > undelivered:
            text = f"the way to node {peer.member.node!r} is full, or away: messages are dropped"
            self._reports.note("cluster_dropped", text, peer.undelivered - undelivered)
            self._resync_later()
        self._pressure.look_at_way(peer)

    def _resync_later(self) -> None:
        if not self._is_resync_due:
            self._is_resync_due = True
            gevent.spawn_later(RESYNC_SECONDS, self._resync)

    def _resync(self) -> None:
        self._is_resync_due = False
        for peer in self.peers:
            self._syncing.ask(peer)

    def _pack_value(self, peer: Peer, exit: Exit) -> bytes:
        """Return the bytes of what a process has returned; of nothing, if they can't go there."""
        try:
            self.check_portable(exit.value, "value")
            value = pack(exit.value, "value")
        except NotPortable as error:
            if not self._has_warned:
                self._has_warned = True
                text = "what %s returned does not go to other nodes, which get None: %s"
                log_soon(log, logging.WARNING, text, exit.sender, error)
            return pack(None)
        return value

    def _on_ended(self, peer: Peer, news: operations.Ended) -> None:
        self._pressure.note_ended(peer, news.pid)
        self._ties.on_ended(peer, news, unpack(news.value))

    def _on_draining(self, peer: Peer, news: operations.Draining) -> None:
        peer.is_draining = news.is_draining

    # -- what the node asks ------------------------------------------------------------------------

    def is_elsewhere(self, pid: PID) -> bool:
        """Tell whether a PID is another node's."""
        return pid.node != self.node.name

    def is_leaving(self, pid: PID) -> bool:
        """Tell whether a PID's node is another one, and about to stop, or no member any more."""
        peer = self.peers.of(pid)
        return self.is_elsewhere(pid) and (peer is None or peer.is_draining)

    def tell_draining(self, is_draining: bool) -> None:
        """Have the others know that we are about to stop, or are not any more."""
        self.peers.tell(operations.Draining(is_draining))

    def absence(self, pid: PID) -> str:
        """Return why nobody is there."""
        is_member = not self.is_elsewhere(pid) or self.peers.of(pid) is not None
        return NOPROC if is_member else NOCONNECTION

    def reach(self, pid: str) -> Entity | None:
        """Return what stands for a process of another node; `None`: that is no member."""
        peer = self.peers.of(pid)
        return None if peer is None else RemoteEntity(PID.parse(pid), peer, self)

    def check_portable(self, value: Any, what: str) -> None:
        """Raise `NotPortable` for what can't go to another node, or is too large for it."""
        size = len(pack(value, what))
        if size > self._max_bytes // 2:
            raise NotPortable(f"a {what} of {size} bytes is too large for other nodes")
