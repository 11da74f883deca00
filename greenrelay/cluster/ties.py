"""Monitors and links between two nodes.

A watcher of a process elsewhere stands in our own topology, under its PID; its node is told once,
and has one watcher for all of ours. A link stands in both topologies. Rules: an `Exit` or
`LinkDown` is fired where its entry is taken out, so that there is one, whatever races; what came
before an end is on the way before the news of it.

An unlink is awaited: until the other node has taken note of it, a `Link` of the same pair that
comes from there was sent before, and is void, as the unlink came after it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from greenrelay.cluster import operations
from greenrelay.cluster.operations import encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.message import Exit, LinkDown, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.table import Table
from greenrelay.processes.topology import told_ref
from greenrelay.wire import NOCONNECTION, NOPROC, NORMAL

MAX_REASON_CHARS: Final = 4000
"""Of an exception's text; its own node has all of it in the log."""


class FarWatcher:
    """All of another node's watchers of one process of ours.

    Args:
        peer: the other node.
        pack_value: gives the bytes of what a process has returned.
    """

    __slots__ = ("_pack_value", "_watching", "peer")

    def __init__(
        self,
        peer: Peer,
        watching: dict[PID, MonitorRef],
        pack_value: Callable[[Peer, Exit], bytes],
    ) -> None:
        self.peer = peer
        self._watching = watching
        self._pack_value = pack_value

    def on_exit(self, exit: Exit) -> None:
        """Tell the other node."""
        self._watching.pop(exit.sender, None)
        value, reason = self._pack_value(self.peer, exit), _short(exit.reason)
        self.peer.send(encode(operations.Ended(exit.sender, reason, exit.at, value)))


class Ties:
    """Who watches whom across nodes, as one node knows it.

    Args:
        table: of the node.
        peers: the other members.
        pack_value: gives the bytes of what a process has returned.
    """

    def __init__(
        self, table: Table, peers: Peers, pack_value: Callable[[Peer, Exit], bytes]
    ) -> None:
        self._table = table
        self._topology = table.topology
        self._peers = peers
        self._pack_value = pack_value
        self._watching: dict[Peer, dict[PID, MonitorRef]] = {}
        """By member: processes of ours that it watches."""
        self._unlinking: dict[Peer, Counter[tuple[PID, PID]]] = {}
        """By member: unlinks, ours and theirs, of which it has not taken note yet."""

    # -- what processes of ours do -------------------------------------------------------

    def watch(self, pid: PID) -> bool:
        """Have the end of `pid` told; `False`: its node is no member."""
        peer = self._peers.of(pid)
        if peer is None:
            return False
        if pid not in peer.watched:
            peer.watched.add(pid)
            peer.send(encode(operations.Monitor(pid)))
        return True

    def unwatch(self, pid: PID) -> None:
        """Have it told no more, if nobody here watches `pid`."""
        peer = self._peers.of(pid)
        if peer is not None and pid in peer.watched and not self._topology.refs(pid):
            peer.watched.discard(pid)
            peer.send(encode(operations.Demonitor(pid)))

    def link(self, ours: PID, theirs: PID) -> bool:
        """Have the link known there; `False`: that is no member."""
        peer = self._peers.of(theirs)
        if peer is None:
            return False
        peer.linked.add(theirs)
        return peer.send(encode(operations.Link(ours, theirs)))

    def unlink(self, ours: PID, theirs: PID) -> None:
        """Have it forgotten there."""
        peer = self._peers.of(theirs)
        if peer is not None:
            self._forget_link(peer, theirs)
            self._unlinking.setdefault(peer, Counter())[ours, theirs] += 1
            peer.send(encode(operations.Unlink(ours, theirs)))

    def tell_link(self, theirs: PID, news: LinkDown) -> None:
        """Tell of the end of a process of ours that was linked."""
        peer = self._peers.of(theirs)
        if peer is not None:
            self._forget_link(peer, theirs)
            down = operations.LinkDown(news.sender, theirs, _short(news.reason), news.at)
            peer.send(encode(down))

    def _forget_link(self, peer: Peer, theirs: PID) -> None:
        if not self._topology.linked(theirs):
            peer.linked.discard(theirs)

    # -- what is told by others ------------------------------------------------------------

    def on_monitor(self, peer: Peer, news: operations.Monitor) -> None:
        """Watch a process of ours for another node."""
        watching = self._watching.setdefault(peer, {})
        if news.pid in watching:
            return
        watcher = FarWatcher(peer, watching, self._pack_value)
        if news.pid in self._table:
            watching[news.pid] = self._table.monitor(watcher, news.pid)
        else:
            watcher.on_exit(Exit(news.pid, NOPROC, time.time()))

    def on_demonitor(self, peer: Peer, news: operations.Demonitor) -> None:
        """Watch it no more."""
        ref = self._watching.get(peer, {}).pop(news.pid, None)
        if ref is not None:
            self._topology.unmonitor(ref)

    def on_ended(self, peer: Peer, news: operations.Ended, value: object) -> None:
        """Tell the watchers of ours."""
        peer.watched.discard(news.pid)
        for _ in self._fire(news.pid, news.reason, news.at, value):
            pass

    def on_link(self, peer: Peer, news: operations.Link) -> None:
        """Note a link; if our process is dead, say so."""
        theirs, ours = news
        if self._is_unlinking(peer, ours, theirs):
            return
        if ours in self._table:
            self._topology.link(ours, theirs)
            peer.linked.add(theirs)
        else:
            peer.send(encode(operations.LinkDown(ours, theirs, NOPROC, time.time())))

    def _is_unlinking(self, peer: Peer, ours: PID, theirs: PID) -> bool:
        unlinking = self._unlinking.get(peer)
        return unlinking is not None and unlinking[ours, theirs] > 0

    def on_unlink(self, peer: Peer, news: operations.Unlink) -> None:
        """Forget a link, and say so."""
        theirs, ours = news
        self._topology.unlink(ours, theirs)
        self._forget_link(peer, theirs)
        peer.send(encode(operations.Unlinked(ours, theirs)))

    def on_unlinked(self, peer: Peer, news: operations.Unlinked) -> None:
        """Take note that one of our unlinks has arrived."""
        theirs, ours = news
        unlinking = self._unlinking.get(peer)
        if unlinking is not None and unlinking[ours, theirs]:
            unlinking[ours, theirs] -= 1
            if not unlinking[ours, theirs]:
                del unlinking[ours, theirs]

    def on_link_down(self, peer: Peer, news: operations.LinkDown) -> None:
        """Tell a process of ours, if the link is there still."""
        theirs, ours, reason, at = news
        if theirs in self._topology.linked(ours):
            self._topology.unlink(ours, theirs)
            self._forget_link(peer, theirs)
            entity = self._table.find(ours)
            if entity is not None and reason != NORMAL:
                entity.on_link_down(LinkDown(theirs, reason, at))

    # -- all of it -----------------------------------------------------------------------------

    def snapshot(self, peer: Peer) -> Iterator[operations.Operation]:
        """Give what a member has to know of what we are to each other."""
        for (ours, theirs), times in list(self._unlinking.get(peer, {}).items()):
            self._unlinking[peer][ours, theirs] = 1  # what was told before may be lost
            yield from [operations.Unlink(ours, theirs)] if times else []
        for theirs in list(peer.linked):
            for ours in self._topology.linked(theirs):
                yield operations.Link(ours, theirs)
        for pid in list(peer.watched):
            if pid in peer.watched:
                yield operations.Monitor(pid)

    def lose(self, peer: Peer) -> Iterator[None]:
        """Tell processes of ours that all they watched there is lost, a step at a time."""
        self._unlinking.pop(peer, None)
        at = time.time()
        watching = self._watching.pop(peer, {})
        while watching:  # what ends between two steps takes itself out
            self._topology.unmonitor(watching.popitem()[1])
            yield
        while peer.watched:
            yield from self._fire(peer.watched.pop(), NOCONNECTION, at, None)
        while peer.linked:
            theirs = peer.linked.pop()
            for ours in self._topology.linked(theirs):
                self._topology.unlink(ours, theirs)
                entity = self._table.find(ours)
                if entity is not None:
                    entity.on_link_down(LinkDown(theirs, NOCONNECTION, at))
                yield

    def _fire(self, pid: PID, reason: str, at: float, value: object) -> Iterator[None]:
        watchers = self._topology.entries(pid)
        for ref, watcher in watchers:
            # One of them may have had another's taken away.
            if self._topology.unmonitor(ref):
                watcher.on_exit(Exit(pid, reason, at, value, ref=told_ref(ref)))
            yield


def _short(reason: str) -> str:
    """Return a reason as an envelope can carry it: an exception's text may be anything."""
    return reason[:MAX_REASON_CHARS].encode("utf-8", "replace").decode()
