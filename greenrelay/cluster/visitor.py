"""A member that owns nothing: whom it knows, what it has heard of them, and which calls wait.

    Client ─ send ─► peer ─► one envelope ─► way.publish      in the caller's thread
    calls, names, groups ◄─ operations ◄─ peer ◄─ on_bytes    in the way's own thread

It speaks to nodes as they speak to each other, with the same operations and envelopes, and has no
loop: several threads share it. Rules: whoever reads or changes anything has the lock; nobody waits
with it; a way is called with it and never calls back from there.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from greenrelay.cluster import operations
from greenrelay.cluster.backend import Backend, Member
from greenrelay.cluster.operations import BadOperation, Operation, decode, encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.values import pack, unpack
from greenrelay.cluster.ways import Way
from greenrelay.errors import ClusterError, EnvelopeError, ProcessDown
from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.wire import NOCONNECTION, NOPROC

log = logging.getLogger("greenrelay.cluster")

HOST_CALL: Final = "call"
REPLY: Final = "@reply"
INCARNATION_BYTES: Final = 12
QUIET_SECONDS: Final = 1.0
"""Between two lines about what is refused."""
LOOK_SECONDS: Final = 0.02
WAY_BYTES: Final = 1024 * 1024
"""Who sends waits while more is on its way to the same node."""


class Call:
    """One call that waits for its reply."""

    __slots__ = ("callee", "done", "error", "value")

    def __init__(self, callee: PID) -> None:
        self.callee = callee
        self.done = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None

    def end(self, value: Any = None, error: Exception | None = None) -> None:
        """Give the caller its reply, or what it gets instead; the first one counts."""
        if not self.done.is_set():
            self.value, self.error = value, error
            self.done.set()


class Visitor:
    """What a client knows of its cluster.

    Args:
        way: how bytes get to the nodes.
        secret: signs what is sent, and must have signed what comes.
        max_bytes: of one envelope.
    """

    def __init__(self, way: Way, secret: str | None, max_bytes: int) -> None:
        self.lock = threading.RLock()
        self.way = way
        self.me = _make_member(f"client-{secrets.token_hex(4)}")
        """Who we are just now."""
        self.names: dict[str, PID] = {}
        self.groups: dict[str, dict[PID, Peer]] = {}
        self._peers: dict[str, Peer] = {}
        self._calls: dict[PID, Call] = {}
        carrier = cast(Backend, way)  # a peer asks no more of it than a way has
        self._make_peer: Callable[..., Peer] = lambda member: Peer(
            self.me, member, carrier, _later, secret=secret, max_bytes=max_bytes
        )
        self._is_settled = False
        self._refusal = ""
        """Why something that came was not taken, the last time."""
        self._told_at = -QUIET_SECONDS
        self._handlers: dict[type, Callable[[Peer, Any], None]] = {
            operations.Send: self._on_send,
            operations.Ended: self._on_ended,
            operations.Name: self._on_name,
            operations.Unname: self._on_unname,
            operations.Join: self._on_join,
            operations.Leave: self._on_leave,
            operations.Sync: self._on_sync,
            operations.Synced: self._on_synced,
            operations.Resync: self._on_resync,
            operations.Monitor: self._on_monitor,
        }

    # -- being there -----------------------------------------------------------------------

    def await_news(self, seconds: float) -> None:
        """Wait until everybody who is there has told which names and groups there are.

        Raises:
            ClusterError: we are no member, or understand nobody, and that does not change in time.
        """
        end = time.monotonic() + seconds
        while not (self._is_settled and self.way.is_joined):
            with self.lock:
                synced = [peer.has_synced for peer in self._peers.values()]
                self._is_settled = self.way.is_joined and all(synced)
            if self._is_settled:
                return
            if time.monotonic() > end:
                self._check_news(any(synced))
                self._is_settled = True  # who hangs is waited for once
                return
            time.sleep(LOOK_SECONDS)

    def _check_news(self, has_some: bool) -> None:
        if not self.way.is_joined:
            raise ClusterError(f"the cluster is away: {self.way.problem or 'no answer'}")
        if self._refusal and not has_some:
            raise ClusterError(f"no node is understood: {self._refusal}; is the secret the same?")

    def find(self, pid: str) -> Peer | None:
        """Return the node that a PID lives on; `None`: it is no member."""
        return self._peers.get(pid.partition("@")[2].partition("/")[0])

    def end_calls(self, error: Exception) -> None:
        """Give all who wait for a reply an error."""
        with self.lock:
            for call in self._calls.values():
                call.end(error=error)

    # -- sending ---------------------------------------------------------------------------

    def hand_over(self, peer: Peer, *parts: bytes) -> bool:
        """Send operations in one envelope, with the lock; `False`: they were not handed over."""
        before = peer.undelivered
        taken = [peer.send(part) for part in parts]
        peer.flush()
        return all(taken) and peer.undelivered == before

    def await_room(self, peer: Peer, seconds: float) -> None:
        """Wait while much is on its way to a node, without the lock."""
        end = time.monotonic() + seconds
        while peer.pending() > WAY_BYTES and time.monotonic() < end:
            time.sleep(LOOK_SECONDS / 10)

    def begin_call(self, callee: PID, topic: str, payload: bytes) -> tuple[PID, Call]:
        """Ask a process; its reply ends the call. `end_call()` has to follow.

        Raises:
            ProcessDown: its node is no member.
        """
        with self.lock:
            peer = self.find(callee)
            if peer is None:
                raise ProcessDown(callee, NOCONNECTION)
            reply_to = PID.make(HOST_CALL, self.me.node, secrets.token_bytes(INCARNATION_BYTES))
            request = encode(operations.Call(callee, topic, payload, None, reply_to))
            peer.check_size(request)
            call = self._calls[reply_to] = Call(callee)
            if not self.hand_over(peer, encode(operations.Monitor(callee)), request):
                call.end(error=ProcessDown(callee, NOCONNECTION))
        return reply_to, call

    def end_call(self, reply_to: PID) -> None:
        """Wait for a reply no longer."""
        with self.lock:
            callee = self._calls.pop(reply_to).callee
            peer = self.find(callee)
            if peer is not None and not any(call.callee == callee for call in self._waiting()):
                self.hand_over(peer, encode(operations.Demonitor(callee)))

    def _waiting(self) -> Iterable[Call]:
        return self._calls.values()

    # -- what the way tells ----------------------------------------------------------------

    def on_up(self, member: Member) -> None:
        """Tell a node that we have nothing to tell, and wait for what it has."""
        with self.lock:
            former = self._peers.get(member.node)
            if former is not None:
                self.on_lost(former.member)
            peer = self._peers[member.node] = self._make_peer(member)
            self._tell(peer)

    def on_lost(self, member: Member) -> None:
        """Forget what hangs on a node."""
        with self.lock:
            peer = self._peers.get(member.node)
            if peer is None or peer.member != member:
                return
            del self._peers[member.node]
            peer.lose()
            self._forget(peer, set(peer.names), set(peer.joins))
            for call in self._waiting():
                if call.callee.node == member.node:
                    call.end(error=ProcessDown(call.callee, NOCONNECTION))

    def on_isolated(self) -> Member:
        """Become another member."""
        with self.lock:
            self._is_settled = False
            self.me = _make_member(self.me.node)
            return self.me

    def on_maybe_lost(self, what: str, count: int) -> None:
        """Have everybody tell all again."""
        self._refuse(f"{count} envelopes may have been lost: {what}")
        with self.lock:
            for peer in self._peers.values():
                self.hand_over(peer, encode(operations.Resync()))

    def on_refused(self, what: str, count: int) -> None:
        """Tell what was no member's, once a second at most."""
        self._refuse(f"refused: {what}")

    def on_bytes(self, member: Member, data: bytes) -> None:
        """Take what a node tells."""
        with self.lock:
            peer = self._peers.get(member.node)
            if peer is None or peer.member != member:
                return
            try:
                told = peer.open(data)
            except EnvelopeError as error:
                self._refuse(f"refused from node {member.node}: {error}")
                return
            if peer.missing > 0:
                self.hand_over(peer, encode(operations.Resync()))
            for part in told:
                self._take(peer, part)

    def _take(self, peer: Peer, data: bytes) -> None:
        try:
            operation = decode(data)
            handler = self._handlers.get(type(operation))
            if handler is not None:  # else it is for processes, which we have none of
                handler(peer, operation)
        except (BadOperation, EnvelopeError) as error:
            self._refuse(f"refused from node {peer.member.node}: {error}")

    def _refuse(self, text: str) -> None:
        self._refusal = text
        now = time.monotonic()
        if now - self._told_at >= QUIET_SECONDS:
            self._told_at = now
            log_now(log, logging.WARNING, "%s", text)

    # -- what nodes tell -------------------------------------------------------------------

    def _tell(self, peer: Peer) -> None:
        watched = {call.callee for call in self._waiting() if self.find(call.callee) is peer}
        told: list[Operation] = [operations.Sync(), *map(operations.Monitor, watched)]
        self.hand_over(peer, *map(encode, told), encode(operations.Synced()))

    def _on_resync(self, peer: Peer, news: operations.Resync) -> None:
        self._tell(peer)

    def _on_send(self, peer: Peer, news: operations.Send) -> None:
        call = self._calls.get(news.dest)
        if call is not None and news.topic == REPLY and call.callee.node == peer.member.node:
            call.end(unpack(news.payload))

    def _on_ended(self, peer: Peer, news: operations.Ended) -> None:
        _require_theirs(peer, news.pid)
        for call in self._waiting():
            if call.callee == news.pid:
                call.end(error=ProcessDown(news.pid, news.reason))

    def _on_monitor(self, peer: Peer, news: operations.Monitor) -> None:
        ended = operations.Ended(news.pid, NOPROC, time.time(), pack(None))
        self.hand_over(peer, encode(ended))

    def _on_sync(self, peer: Peer, news: operations.Sync) -> None:
        peer.told = set()

    def _on_synced(self, peer: Peer, news: operations.Synced) -> None:
        told, peer.told = peer.told, None
        if told is not None:  # else its beginning was lost: it will be told again
            peer.has_synced = True
            self._forget(peer, peer.names - told, peer.joins - told)

    def _on_name(self, peer: Peer, news: operations.Name) -> None:
        _require_theirs(peer, news.pid)
        _note(peer, news)
        peer.names.add(news)
        self.names[news.name] = news.pid

    def _on_unname(self, peer: Peer, news: operations.Unname) -> None:
        _require_theirs(peer, news.pid)
        self._forget(peer, {operations.Name(*news)}, set())

    def _on_join(self, peer: Peer, news: operations.Join) -> None:
        _require_theirs(peer, news.pid)
        _note(peer, (news.group, news.pid))
        peer.joins.add((news.group, news.pid))
        self.groups.setdefault(news.group, {})[news.pid] = peer

    def _on_leave(self, peer: Peer, news: operations.Leave) -> None:
        _require_theirs(peer, news.pid)
        self._forget(peer, set(), {(news.group, news.pid)})

    def _forget(self, peer: Peer, names: set[operations.Name], joins: set[tuple[str, PID]]) -> None:
        peer.names -= names
        peer.joins -= joins
        for name, pid in names:
            if self.names.get(name) == pid:
                del self.names[name]
        for group, pid in joins:
            members = self.groups.get(group, {})
            members.pop(pid, None)
            if not members:
                self.groups.pop(group, None)


def _make_member(node: str) -> Member:
    return Member(node, secrets.token_urlsafe(INCARNATION_BYTES))


def _later(flush: Callable[[], None]) -> None:
    """Do nothing: whoever sends flushes, when all is there that goes together."""


def _note(peer: Peer, told: object) -> None:
    if peer.told is not None:
        peer.told.add(told)


def _require_theirs(peer: Peer, pid: PID) -> None:
    if pid.node != peer.member.node:
        raise BadOperation(f"news of {pid}, which lives elsewhere")
