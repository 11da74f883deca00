"""Backpressure between nodes: a mailbox that is full there stops clients here.

    there   a message came, and the mailbox is over its mark ─► Full ─► … it has drained ─► Drained
    here    Full ─► the PID is full for its clients ─► Drained ─► they go on, a few at a time

Also the way itself may be full: when more bytes wait for a member than `HIGH_BYTES`, all that lives
there counts as full until half of it is on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import gevent

from greenrelay.cluster.operations import Drained, Full, encode
from greenrelay.cluster.peer import Peer
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity

HIGH_BYTES: Final = 4 * 1024 * 1024
"""Bytes on the way to one member from which on clients of its processes hold back."""
STEP_SECONDS: Final = 0.005
"""Between one batch of clients that go on and the next, twice as large: the news that they have
filled the mailbox again takes about as long."""
LOOK_SECONDS: Final = 0.02
"""How often a way that was full is looked at."""

Calls = dict[object, Callable[[], None]]


class Pressure:
    """Who is full there, and who holds back here; and the reverse."""

    def __init__(self) -> None:
        self._holding: dict[PID, Calls] = {}
        """Who holds back here, by the process there that they wait for."""
        self._told: dict[Peer, dict[PID, Entity]] = {}
        """Processes of ours of which a member has been told that they are full."""
        self._congested: set[Peer] = set()

    # -- ours, full for others -----------------------------------------------------------

    def look(self, peer: Peer, entity: Entity) -> None:
        """Tell a member that what it has just sent to is full, and later that it has drained."""
        told = self._told.setdefault(peer, {})
        pid = entity.pid
        if pid not in told:
            told[pid] = entity
            peer.send(encode(Full(pid)))
            entity.on_drained(peer, partial(self._on_drained, peer, pid))

    def _on_drained(self, peer: Peer, pid: PID) -> None:
        if self._told.get(peer, {}).pop(pid, None) is not None:
            peer.send(encode(Drained(pid)))

    def told(self, peer: Peer) -> list[PID]:
        """Return what of ours a member takes for full."""
        return list(self._told.get(peer, ()))

    # -- theirs, full for us ---------------------------------------------------------------

    def is_full(self, peer: Peer, pid: PID) -> bool:
        """Tell whether clients of a process should hold back."""
        return pid in peer.full or peer in self._congested

    def hold(self, pid: PID, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when they may go on."""
        self._holding.setdefault(pid, {})[key] = call

    def forget(self, pid: PID, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        holding = self._holding.get(pid)
        if holding is not None:
            holding.pop(key, None)
            if not holding:
                del self._holding[pid]

    def note_full(self, peer: Peer, pid: PID) -> None:
        """Take the news that a process there is full."""
        peer.full.add(pid)

    def note_drained(self, peer: Peer, pid: PID) -> None:
        """Take the news that it is not any more."""
        peer.full.discard(pid)
        self._go_on(peer, pid, 1)

    def note_ended(self, peer: Peer, pid: PID) -> None:
        """Take the news that it has ended: nobody waits for it."""
        peer.full.discard(pid)
        for call in self._holding.pop(pid, {}).values():
            call()

    def _go_on(self, peer: Peer, pid: PID, count: int) -> None:
        holding = self._holding.get(pid)
        if holding is None or self.is_full(peer, pid):
            return
        for key in list(holding)[:count]:
            holding.pop(key)()
        if holding:
            _later(STEP_SECONDS, self._go_on, peer, pid, 2 * count)
        elif self._holding.get(pid) is holding:
            del self._holding[pid]

    # -- the way ------------------------------------------------------------------------------

    def look_at_way(self, peer: Peer) -> None:
        """Hold back from a member for which too much waits."""
        if peer not in self._congested and peer.pending() > HIGH_BYTES:
            self._congested.add(peer)
            _later(LOOK_SECONDS, self._look_again, peer)

    def _look_again(self, peer: Peer) -> None:
        if peer.is_up and 2 * peer.pending() > HIGH_BYTES:
            _later(LOOK_SECONDS, self._look_again, peer)
            return
        self._congested.discard(peer)
        for pid in list(self._holding):
            if pid.node == peer.member.node:
                self._go_on(peer, pid, 1)

    def lose(self, peer: Peer) -> None:
        """Let go of a member, of what it was told, and of those who hold back for it."""
        for entity in self._told.pop(peer, {}).values():
            entity.forget_drained(peer)
        self._congested.discard(peer)
        peer.full.clear()
        for pid in list(self._holding):
            if pid.node == peer.member.node:
                self.note_ended(peer, pid)


def _later(seconds: float, function: Callable[..., None], *args: object) -> None:
    timer = gevent.get_hub().loop.timer(seconds)

    def fire() -> None:
        timer.close()
        function(*args)

    timer.start(fire)
