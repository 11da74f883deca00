"""`greenrelay.connect(url)`: a cluster for programs that are no node, without gevent and Flask.

    with greenrelay.connect("redis://…") as cluster:
        cluster.send("mailer", "order.paid", {"order": 17})
        price = cluster.call("pricing", "quote", {"item": 4})

For scripts, task queues, cron jobs; for many threads at once, and for programs on asyncio, which
call it in a thread: `await asyncio.to_thread(cluster.call, …)`. What processes do with `send`,
`call` and so on is here the same, except that a thread may be kept waiting: for a cluster that is
away, and while more than a MiB is on its way.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final

from greenrelay.cluster import operations
from greenrelay.cluster.operations import encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.urls import ClusterURL, read_url
from greenrelay.cluster.values import pack
from greenrelay.cluster.visitor import Visitor
from greenrelay.cluster.ways import open_way
from greenrelay.errors import (
    CallTimeout,
    ClusterError,
    InvalidPID,
    NameNotRegistered,
)
from greenrelay.message import check_topic
from greenrelay.pid import PID

CALL_TIMEOUT_SECONDS: Final = 5.0
TIMEOUT_SECONDS: Final = 5.0
"""For a cluster that is away, and for room on the way to a node."""


def connect(url: str, *, secret: str | None = None, timeout: float = TIMEOUT_SECONDS) -> Client:
    """Return a client of a cluster. Blocks until it knows the nodes, and what they tell.

    Args:
        url: as for `GREENRELAY_CLUSTER`: `local:…` or `redis://…`.
        secret: if the nodes have one, and the URL does not say it; by default
            `GREENRELAY_CLUSTER_SECRET`.
        timeout: seconds for which a call waits at most when the cluster is away.

    Raises:
        ClusterError: it can't be reached; one clear line.
        ConfigurationError: the URL names no cluster.
    """
    client = Client(read_url(url, secret), timeout)
    try:
        client._enter()
    except BaseException:
        client.close()
        raise
    return client


class Client:
    """A cluster, seen from outside: see `connect()`.

    Close it, or use it in a `with` statement: what was sent goes out, and the nodes know at once
    that it has gone. After a fork the child connects anew when it first uses it.
    """

    def __init__(self, where: ClusterURL, timeout: float) -> None:
        self._where = where
        self._timeout = timeout
        self._is_closed = False
        self._begin()
        _CLIENTS.add(self)

    def _begin(self) -> None:
        self._entering = threading.Lock()
        self._way = open_way(self._where)
        self._visitor = Visitor(self._way, self._where.secret, self._where.max_envelope)
        self._has_entered = False
        self._finalizer = weakref.finalize(self, self._way.stop)

    def __repr__(self) -> str:
        return f"<greenrelay client of {self._where.shown}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- being there -----------------------------------------------------------------------

    def close(self) -> None:
        """Leave, as soon as what was sent is out; idempotent. Blocks for 2 s at most.

        Calls that still wait in other threads raise `ClusterError`.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._visitor.end_calls(ClusterError("the client was closed"))
        self._finalizer()

    def _enter(self) -> Visitor:
        """Return what we know of the cluster, of which we are a member now."""
        if self._is_closed:
            raise ClusterError("the client is closed; connect() gives another one")
        if not self._has_entered:
            with self._entering:
                if not self._has_entered:
                    self._way.start(self._visitor.me, self._visitor)
                    self._has_entered = True
        self._visitor.await_news(self._timeout)
        return self._visitor

    def _after_fork(self) -> None:
        """Begin anew, in the child: threads and connections are the parent's."""
        self._finalizer.detach()
        self._way.abandon()
        self._begin()

    # -- sending ---------------------------------------------------------------------------

    def send(self, dest: str, topic: str, payload: Any = None) -> bool:
        """Send a message.

        Args:
            dest: a PID, its text, or a registered name.
            topic: not empty, and without a leading `@`.
            payload: what can travel: what JSON has, bytes, dates, `Decimal`, `UUID`, PIDs.

        Returns:
            `True`: it was handed over. `False`: its node is no member, or takes nothing more.

        Raises:
            NameNotRegistered: `dest` is a name that nobody holds.
            NotPortable: the payload can't travel; the text says where in it.
            ClusterError: the cluster is away.
            InvalidPID, ValueError: as for `process.send()`.
        """
        check_topic(topic)
        body = pack(payload)
        visitor = self._enter()
        with visitor.lock:
            pid = _resolve(visitor, dest)
            peer = visitor.find(pid)
        if peer is None:
            return False
        data = encode(operations.Send(pid, topic, body, None, 0))
        return self._hand_over(visitor, peer, data)

    def broadcast(self, pids: Iterable[str], topic: str, payload: Any = None) -> int:
        """Send one message to many, which crosses once to each node.

        Returns:
            How many it was handed over for. Unknown names and nodes are passed over.

        Raises:
            TypeError: `pids` is one PID instead of several.
            NotPortable, ClusterError, ValueError: as for `send()`.
        """
        check_topic(topic)
        if isinstance(pids, str):
            raise TypeError(f"broadcast() takes several PIDs; send({pids!r}, …) takes one")
        body = pack(payload)
        visitor = self._enter()
        there: dict[Peer, list[PID]] = {}
        with visitor.lock:
            for dest in pids:
                try:
                    pid = _resolve(visitor, dest)
                except (NameNotRegistered, InvalidPID):
                    continue
                peer = visitor.find(pid)
                if peer is not None:
                    there.setdefault(peer, []).append(pid)
        return sum(
            self._send_many(visitor, peer, many, topic, body) for peer, many in there.items()
        )

    def _send_many(
        self, visitor: Visitor, peer: Peer, pids: list[PID], topic: str, body: bytes
    ) -> int:
        data = encode(operations.SendMany(pids, topic, body, None))
        if len(pids) > 1 and not peer.has_room_for(len(data)):
            half = len(pids) // 2
            return sum(
                self._send_many(visitor, peer, part, topic, body)
                for part in (pids[:half], pids[half:])
            )
        return len(pids) if self._hand_over(visitor, peer, data) else 0

    def _hand_over(self, visitor: Visitor, peer: Peer, data: bytes) -> bool:
        peer.check_size(data)
        visitor.await_room(peer, self._timeout)
        with visitor.lock:
            is_taken = visitor.hand_over(peer, data)
        if not is_taken and not self._way.is_joined:
            raise ClusterError(f"the cluster is away: {self._way.problem}")
        return is_taken

    def call(
        self,
        dest: str,
        topic: str,
        payload: Any = None,
        timeout: float | None = CALL_TIMEOUT_SECONDS,
    ) -> Any:
        """Send a request, wait for `Message.reply(payload)`, and return that payload.

        Args:
            timeout: seconds; `None` waits for ever.

        Raises:
            CallTimeout: there is no reply in time; a late one reaches nobody.
            ProcessDown: `dest` ended before it replied, or was dead, or its node was lost.
            NameNotRegistered, NotPortable, ClusterError, InvalidPID, ValueError: as for `send()`.
        """
        check_topic(topic)
        body = pack(payload)
        visitor = self._enter()
        with visitor.lock:
            callee = _resolve(visitor, dest)
        reply_to, call = visitor.begin_call(callee, topic, body)
        try:
            if not call.done.wait(timeout):
                raise CallTimeout(
                    f"no reply from {dest} to {topic!r} in {timeout} s; "
                    "call(…, timeout=…) waits longer"
                )
        finally:
            visitor.end_call(reply_to)
        if call.error is not None:
            raise call.error
        return call.value

    # -- names and groups ------------------------------------------------------------------

    def lookup(self, name: str) -> PID | None:
        """Return who holds a name, `None` if nobody does."""
        visitor = self._enter()
        with visitor.lock:
            return visitor.names.get(name)

    def group(self, name: str) -> ClientGroup:
        """Return the process group of this name."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"a group's name is a string that is not empty, got {name!r}")
        return ClientGroup(self, name)


class ClientGroup:
    """Many processes or connections under one name, seen from outside."""

    __slots__ = ("_client", "name")

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def members(self) -> list[PID]:
        """Return the members of which the cluster's nodes have told."""
        visitor = self._client._enter()
        with visitor.lock:
            return list(visitor.groups.get(self.name, ()))

    def broadcast(self, topic: str, payload: Any = None) -> int:
        """Send one message to all members, which crosses once to each node that has some.

        Returns:
            For how many it was handed over.

        Raises:
            NotPortable, ClusterError, ValueError: as for `Client.send()`.
        """
        check_topic(topic)
        data = encode(operations.GroupSend(self.name, topic, pack(payload), None))
        visitor = self._client._enter()
        with visitor.lock:
            peers = list(visitor.groups.get(self.name, {}).values())
        taken = {
            peer for peer in dict.fromkeys(peers) if self._client._hand_over(visitor, peer, data)
        }
        return sum(peer in taken for peer in peers)


def _resolve(visitor: Visitor, dest: str) -> PID:
    if not isinstance(dest, str) or "@" in dest:
        return PID.parse(dest)
    pid = visitor.names.get(dest)
    if pid is None:
        raise NameNotRegistered(f"no node of the cluster has told who holds the name {dest!r}")
    return pid


_CLIENTS: Final[weakref.WeakSet[Client]] = weakref.WeakSet()
"""All of the interpreter, for the one moment at which none of them can be asked: a fork."""


def _begin_anew() -> None:
    for client in list(_CLIENTS):
        client._after_fork()


os.register_at_fork(after_in_child=_begin_anew)
