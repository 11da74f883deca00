"""Telling another node all there is: when it comes up, and again when something was lost.

    Sync ─ names, members of groups, links, monitors, who is full ─► Synced

Between the two come ordinary operations, which say nothing new to who knows them already. What
stood there and has not been told again by `Synced` is gone. So names, groups, monitors and links
heal, however many envelopes are lost; messages are sent once.
"""

from __future__ import annotations

from collections.abc import Iterator

from greenrelay.cluster import operations
from greenrelay.cluster.members import Members
from greenrelay.cluster.names import Names
from greenrelay.cluster.operations import encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.pressure import Pressure
from greenrelay.cluster.slices import Slices
from greenrelay.cluster.ties import Ties


class Syncing:
    """What one node tells the others of all that is."""

    def __init__(
        self, names: Names, members: Members, ties: Ties, pressure: Pressure, slices: Slices
    ) -> None:
        self._names = names
        self._members = members
        self._ties = ties
        self._pressure = pressure
        self._slices = slices
        self._running: set[Peer] = set()

    def tell(self, peer: Peer) -> None:
        """Begin to tell a member, unless it is being told just now."""
        if peer not in self._running:
            self._running.add(peer)
            self._slices.add(self._tell(peer))

    def _tell(self, peer: Peer) -> Iterator[None]:
        self._running.discard(peer)  # what is lost from now on takes another one
        peer.send(encode(operations.Sync()))
        for part in (self._names.snapshot(), self._members.snapshot(), self._ties.snapshot(peer)):
            for operation in part:
                peer.send(encode(operation))
                yield
        for pid in self._pressure.told(peer):
            peer.send(encode(operations.Full(pid)))
        peer.send(encode(operations.Synced()))

    def ask(self, peer: Peer) -> None:
        """Have a member tell all, and tell it all: something between us was lost."""
        peer.send(encode(operations.Resync()))
        self.tell(peer)

    # -- being told --------------------------------------------------------------------------

    def on_sync(self, peer: Peer, news: operations.Sync) -> None:
        """Begin to note what comes."""
        peer.told = set()

    def on_resync(self, peer: Peer, news: operations.Resync) -> None:
        """Tell all."""
        self.tell(peer)

    def on_synced(self, peer: Peer, news: operations.Synced) -> None:
        """Take out what has not come."""
        told, peer.told = peer.told, None
        if told is None:
            return  # its beginning was lost: it will be told again
        peer.has_synced = True
        for name in peer.names - told:
            self._names.forget(peer, name)
        for join in peer.joins - told:
            self._members.forget(peer, join)
        for pid in peer.full - told:
            self._pressure.note_drained(peer, pid)

    def on_name(self, peer: Peer, news: operations.Name) -> None:
        """Take a name; of a member that is lost it is void, and may be another's by now."""
        if not peer.is_up:
            return
        if peer.told is not None:
            peer.told.add(news)
        self._names.on_name(peer, news)

    def on_join(self, peer: Peer, news: operations.Join) -> None:
        """Take a member of a group; there is none of a member that is lost."""
        if not peer.is_up:
            return
        if peer.told is not None:
            peer.told.add((news.group, news.pid))
        self._members.on_join(peer, news)

    def on_full(self, peer: Peer, news: operations.Full) -> None:
        """Take the news that a process there is full."""
        if peer.told is not None:
            peer.told.add(news.pid)
        self._pressure.note_full(peer, news.pid)

    def on_drained(self, peer: Peer, news: operations.Drained) -> None:
        """Take the news that it is not any more."""
        self._pressure.note_drained(peer, news.pid)
