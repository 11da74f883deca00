"""What comes from other nodes, and what is done about it: one table.

Rules: an operation that tells of a process tells of one that lives where it comes from, or is
refused; whatever one does, the next one is dealt with; no turn of the loop takes longer than a
slice, however much has come.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent

from greenrelay.cluster import operations
from greenrelay.cluster.operations import BadOperation, Operation, decode, subject
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.pressure import Pressure
from greenrelay.cluster.reports import Reports
from greenrelay.cluster.slices import SLICE_SECONDS
from greenrelay.cluster.values import unpack
from greenrelay.errors import EnvelopeError
from greenrelay.message import Message, Request
from greenrelay.pid import PID
from greenrelay.processes.calls import HOST_CALL, ReplyPath
from greenrelay.processes.entity import Entity
from greenrelay.processes.node import Node

REPLY: Final = "@reply"
"""The one topic that begins as no app's does."""

MANY_OPERATIONS: Final = 1_000
"""If more wait, as many are dealt with as come: then the loop reads less, and senders hold back."""

Handler = Callable[[Peer, Any], None]


class Incoming:
    """Does what other nodes tell.

    Args:
        node: ours.
        pressure: is told of those who are full.
        reports: is told of what is refused.
    """

    def __init__(self, node: Node, pressure: Pressure, reports: Reports) -> None:
        self._node = node
        self._pressure = pressure
        self._reports = reports
        self._queues: dict[Peer, deque[bytes]] = {}
        """What has come, and its turn has not."""
        self._handlers: dict[Any, tuple[Handler, bool]] = {
            operations.Send: (self._on_send, False),
            operations.Call: (self._on_call, False),
            operations.SendMany: (self._on_send_many, False),
            operations.GroupSend: (self._on_group_send, False),
            operations.Cancel: (self._on_cancel, False),
            operations.Kill: (self._on_kill, False),
        }

    def handle(self, kind: type, handler: Handler, is_theirs: bool = False) -> None:
        """Have `handler` deal with operations of a kind.

        Args:
            is_theirs: whether the first PID in it has to be one of the node that tells it.
        """
        self._handlers[kind] = handler, is_theirs

    def take(self, peer: Peer, data: list[bytes]) -> None:
        """Deal with operations, in order, behind those that came before."""
        queue = self._queues.get(peer)
        if queue is not None:
            queue.extend(data)
            if len(queue) > MANY_OPERATIONS:
                for _ in data:
                    self._do(peer, queue.popleft())
            return
        self._queues[peer] = deque(data)
        self._work(peer)

    def finish(self, peer: Peer) -> Iterator[None]:
        """Deal with what is left of a member's, a step at a time."""
        queue = self._queues.pop(peer, None)
        while queue:
            self._do(peer, queue.popleft())
            yield

    def _work(self, peer: Peer) -> None:
        queue = self._queues.get(peer)
        if queue is None:
            return
        end = time.perf_counter() + SLICE_SECONDS
        while queue:
            self._do(peer, queue.popleft())
            if queue and time.perf_counter() > end:
                timer = gevent.get_hub().loop.timer(0.0)
                timer.start(self._go_on, timer, peer)
                return
        if self._queues.get(peer) is queue:
            del self._queues[peer]

    def _go_on(self, timer: Any, peer: Peer) -> None:
        timer.close()
        self._work(peer)

    def _do(self, peer: Peer, data: bytes) -> None:
        try:
            operation = decode(data)
            handler, is_theirs = self._handlers[type(operation)]
            if is_theirs:
                _require_theirs(peer, operation)
            handler(peer, operation)
        except (BadOperation, EnvelopeError) as error:
            self.refuse(peer.member.node, error)
        except Exception:
            self._reports.fail("cluster_refused", f"what node {peer.member.node!r} told failed")

    def refuse(self, node: str, error: Exception) -> None:
        """Count and tell what is dropped."""
        self._reports.note("cluster_refused", f"refused from node {node!r}: {error}")

    # -- messages ------------------------------------------------------------------------------

    def _deliver(self, peer: Peer, entity: Entity, message: Message) -> None:
        entity.deliver(message)
        if entity.is_full:
            self._pressure.look(peer, entity)

    def _on_send(self, peer: Peer, news: operations.Send) -> None:
        entity = self._node.find(news.dest)
        if entity is None:
            return
        if news.topic[:1] == "@" and (news.topic != REPLY or news.dest.host != HOST_CALL):
            raise BadOperation(f"a message with the topic {news.topic!r}")
        message = Message(news.topic, _unpack(news.payload), news.sender, news.size)
        self._deliver(peer, entity, message)

    def _on_call(self, peer: Peer, news: operations.Call) -> None:
        entity = self._node.find(news.dest)
        if entity is not None:
            path = ReplyPath(self._node)
            payload = _unpack(news.payload)
            request = Request(_checked(news.topic), payload, news.sender, path, news.reply_to)
            self._deliver(peer, entity, request)

    def _on_send_many(self, peer: Peer, news: operations.SendMany) -> None:
        self._deliver_to(peer, news.dests, news)

    def _on_group_send(self, peer: Peer, news: operations.GroupSend) -> None:
        self._deliver_to(peer, self._node.groups.members(news.group), news)

    def _deliver_to(
        self, peer: Peer, pids: list[PID], news: operations.SendMany | operations.GroupSend
    ) -> None:
        message = Message(_checked(news.topic), _unpack(news.payload), news.sender)
        for pid in pids:
            entity = self._node.find(pid)
            if entity is not None:
                self._deliver(peer, entity, message)

    def _on_cancel(self, peer: Peer, news: operations.Cancel) -> None:
        entity = self._node.find(news.dest)
        if entity is not None:
            entity.cancel(news.sender, news.reason)

    def _on_kill(self, peer: Peer, news: operations.Kill) -> None:
        entity = self._node.find(news.dest)
        if entity is not None:
            entity.kill(news.reason)


def _checked(topic: str) -> str:
    if not topic or topic[0] == "@":
        raise BadOperation(f"a message with the topic {topic!r}")
    return topic


def _unpack(payload: bytes) -> Any:
    try:
        return unpack(payload)
    except Exception as error:  # whatever hostile bytes make of it
        raise BadOperation(f"a payload that can't be read: {error!r}") from None


def _require_theirs(peer: Peer, operation: Operation) -> None:
    pid = subject(operation)
    if pid.node != peer.member.node:
        raise BadOperation(f"{type(operation).__name__} of {pid}, which lives elsewhere")
