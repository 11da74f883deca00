"""Groups of all nodes: each tells the others who of its own has joined and left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from greenrelay.cluster import operations
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.errors import NotPortable
from greenrelay.logs import log_soon
from greenrelay.pid import PID
from greenrelay.processes.groups import Change, Groups, Meta

log = logging.getLogger("greenrelay.cluster")


class Members:
    """The groups of one node, with the members that live elsewhere.

    Args:
        node: its name.
        groups: its table.
        peers: the other members of the cluster.
        check: raises `NotPortable` for a value that can't go to them.
    """

    def __init__(
        self, node: str, groups: Groups, peers: Peers, check: Callable[[Any, str], None]
    ) -> None:
        self._check = check
        self._node = node
        self._groups = groups
        self._peers = peers

    def start(self) -> None:
        """Have changes told to others."""
        self._groups.add_hook(self._on_change)

    def stop(self) -> None:
        """Have them told no more."""
        self._groups.remove_hook(self._on_change)

    def _on_change(self, change: Change) -> None:
        if change.pid.node == self._node:
            if change.kind == "join":
                self._peers.tell(self._join(change.group, change.pid, change.meta))
            else:
                self._peers.tell(operations.Leave(change.group, change.pid))

    def snapshot(self) -> Iterator[operations.Operation]:
        """Give what a new member of the cluster has to know."""
        for group in list(self._groups):
            for pid, meta in self._groups.details(group).items():
                if pid.node == self._node and group in self._groups.groups(pid):
                    yield self._join(group, pid, meta)

    def _join(self, group: str, pid: PID, meta: Meta) -> operations.Join:
        """Return the news of a member, without metadata that can't go with it."""
        try:
            self._check(meta, "meta")
        except NotPortable as error:
            text = "%s is in the group %r without metadata for other nodes: %s"
            log_soon(log, logging.WARNING, text, pid, group, error)
            meta = {}
        return operations.Join(group, pid, meta)

    def on_join(self, peer: Peer, news: operations.Join) -> None:
        """Note a member of a group."""
        peer.joins.add((news.group, news.pid))
        self._groups.join(*news)

    def on_leave(self, peer: Peer, news: operations.Leave) -> None:
        """Note that it is none any more."""
        self.forget(peer, (news.group, news.pid))

    def forget(self, peer: Peer, join: tuple[str, PID]) -> None:
        """Take out what is not so any more."""
        peer.joins.discard(join)
        self._groups.leave(*join)

    def lose(self, peer: Peer) -> Iterator[None]:
        """Let the processes of a member that is gone leave their groups, a step at a time."""
        while peer.joins:
            self._groups.leave(*peer.joins.pop())
            yield
