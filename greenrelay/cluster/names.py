"""Names that are unique among all nodes: claimed through the backend, known everywhere.

    claim ─► the backend says who holds it ─► ours: registered, and told to all
    Name / Unname of others ─► the node's own registry, so that no lookup ever waits

Rule: the backend decides. A node that comes back after others took it for lost asks for all its
names again; what somebody has taken meanwhile is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent
from gevent.event import Event

from greenrelay.cluster import operations
from greenrelay.cluster.backend import Backend
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.errors import ClusterError, InvalidPID, NameTaken
from greenrelay.logs import log_now, log_soon
from greenrelay.pid import PID
from greenrelay.processes.registry import NameChange
from greenrelay.processes.table import Table

log = logging.getLogger("greenrelay.cluster")

RETRY_SECONDS: Final = 1.0
"""Between attempts to get our names back, while the backend is away."""
DEAD_HOLDER_SECONDS: Final = 0.05
"""Between attempts at a name whose holder's node is gone, which the backend may not know yet."""
DEAD_HOLDER_ATTEMPTS: Final = 20


class Names:
    """The names of one node, among those of the others.

    Args:
        node: its name.
        table: of the node.
        peers: the other members.
        backend: decides who holds a name.
        check: raises `NotPortable` for a value that can't go to the others.
    """

    def __init__(
        self,
        node: str,
        table: Table,
        peers: Peers,
        backend: Backend,
        check: Callable[[Any, str], None],
    ) -> None:
        self._check = check
        self._node = node
        self._table = table
        self._registry = table.registry
        self._peers = peers
        self._backend = backend
        self._claiming: dict[str, Event] = {}
        """Names that are being asked for; who wants one of them waits."""
        self._confirmed: set[str] = set()
        """Ours, as the backend has it."""
        self._era = 0
        """Grows when the backend has forgotten all our names."""
        self._reclaiming = False
        self._again = Event()
        """Set when there is a new reason to ask."""

    def start(self) -> None:
        """Have changes told to others."""
        self._registry.add_hook(self._on_change)

    def stop(self) -> None:
        """Have them told no more, and forget what others hold."""
        self._era += 1
        self._registry.remove_hook(self._on_change)
        for name, pid in list(self._registry.items()):
            if pid.node != self._node:
                self._registry.forget(name, pid)

    # -- asking ----------------------------------------------------------------------------

    def claim(self, name: str, pid: PID) -> PID:
        """Give a name to a process of ours, unless it is held; return who holds it.

        Switches: yes.

        Raises:
            ClusterError: the backend is away.
            NotPortable: the name can't be told to others.
        """
        self._check(name, "name")
        while True:
            holder = self._registry.lookup(name)
            if holder is not None:
                return holder
            claiming = self._claiming.get(name)
            if claiming is None:
                return self._claim_alone(name, pid)
            claiming.wait()

    def _claim_alone(self, name: str, pid: PID) -> PID:
        done = self._claiming[name] = Event()
        try:
            era = -1
            while era != self._era:  # else it was for one that the backend has forgotten
                era = self._era
                holder = self._ask(name, pid)
        finally:
            del self._claiming[name]
            done.set()
        if holder != pid:
            return holder
        if pid not in self._table:  # it has ended meanwhile
            self._backend.release(name, pid)
            return pid
        try:
            self._confirmed.add(name)
            self._registry.register(name, pid)
        except NameTaken as taken:  # as this node's own, meanwhile
            self._confirmed.discard(name)
            self._backend.release(name, pid)
            return PID(taken.holder)
        return pid

    def _ask(self, name: str, pid: PID) -> PID:
        """Return who holds a name, and not somebody of whom we know that he is gone."""
        for _ in range(DEAD_HOLDER_ATTEMPTS):
            try:
                holder = PID.parse(self._backend.claim(name, pid))
            except InvalidPID as error:
                raise ClusterError(
                    f"the name {name!r} is held by what is no PID: {error}"
                ) from None
            if holder == pid or self._is_there(holder):
                return holder
            gevent.sleep(DEAD_HOLDER_SECONDS)
        return holder

    def _is_there(self, pid: PID) -> bool:
        return pid in self._table if pid.node == self._node else self._peers.of(pid) is not None

    # -- telling -----------------------------------------------------------------------------

    def _on_change(self, change: NameChange) -> None:
        name, pid, is_held = change
        if pid.node != self._node:
            return
        if is_held:
            if name in self._confirmed:
                self._peers.tell(operations.Name(name, pid))
        elif name in self._confirmed:
            self._confirmed.discard(name)
            self._backend.release(name, pid)
            self._peers.tell(operations.Unname(name, pid))

    def snapshot(self) -> Iterator[operations.Operation]:
        """Give what a new member has to know."""
        for name in list(self._confirmed):
            pid = self._registry.lookup(name)
            if pid is not None and name in self._confirmed and pid.node == self._node:
                yield operations.Name(name, pid)

    # -- being told ----------------------------------------------------------------------------

    def on_name(self, peer: Peer, news: operations.Name) -> None:
        """Note who holds a name there."""
        name, pid = news
        peer.names.add(news)
        ours = self._registry.lookup(name)
        if ours is not None and ours.node == self._node and not self._registry.is_own(name):
            self._warn(name, ours, pid)
        self._registry.note(name, pid)

    def on_unname(self, peer: Peer, news: operations.Unname) -> None:
        """Note that he does not any more."""
        self.forget(peer, operations.Name(*news))

    def forget(self, peer: Peer, name: operations.Name) -> None:
        """Take out what is not so any more."""
        peer.names.discard(name)
        self._registry.forget(*name)

    def lose(self, peer: Peer) -> Iterator[None]:
        """Free the names of a member that is gone, a step at a time."""
        while peer.names:
            self._registry.forget(*peer.names.pop())
            yield

    # -- coming back ------------------------------------------------------------------------------

    def reclaim(self) -> None:
        """Ask for all names of ours, which the backend does not know yet, or no more."""
        self._era += 1
        self._again.set()
        self._confirmed.clear()
        if not self._reclaiming:
            self._reclaiming = True
            gevent.spawn_raw(self._reclaim)

    def _reclaim(self) -> None:
        try:
            era = -1
            while era != self._era:
                era = self._era
                self._again.clear()
                for name, pid in list(self._registry.items()):
                    if pid.node == self._node and name not in self._confirmed:
                        self._reclaim_one(name, pid, era)
        finally:
            self._reclaiming = False

    def _reclaim_one(self, name: str, pid: PID, era: int) -> None:
        while era == self._era and self._registry.lookup(name) == pid:
            try:
                holder = self._ask(name, pid)
            except ClusterError as error:
                log_now(log, logging.WARNING, "the name %r is not claimed yet: %s", name, error)
                self._again.wait(RETRY_SECONDS)
                continue
            if era != self._era:
                return
            if self._registry.lookup(name) != pid:
                if holder == pid:
                    self._backend.release(name, pid)
            elif holder == pid:
                self._confirmed.add(name)
                self._peers.tell(operations.Name(name, pid))
            else:
                self._warn(name, pid, holder)
                self._registry.note(name, holder)
            return

    def _warn(self, name: str, ours: PID, theirs: PID) -> None:
        text = "the name %r is not %s's any more: %s has taken it"
        log_soon(log, logging.WARNING, text, name, ours, theirs)
