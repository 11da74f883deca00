"""Messages to processes of other nodes: packed once, sent once to each node that has receivers.

Rule: what can't go, for what it is or for its size, is the sender's error, before anybody has got
anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from greenrelay.cluster import operations
from greenrelay.cluster.operations import encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.cluster.values import pack
from greenrelay.errors import InvalidPID
from greenrelay.message import Message, Request
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.table import Table

Parcel = tuple[Peer, bytes]
"""An operation, and to whom it goes."""


class Outgoing:
    """What one node sends to the others.

    Args:
        table: of the node.
        peers: the other members.
    """

    def __init__(self, table: Table, peers: Peers) -> None:
        self._table = table
        self._peers = peers

    def prepare(self, pid: PID, message: Message) -> Callable[[], bool] | None:
        """Return what sends a message, to be called in the node's thread; `None`: to no member.

        Raises:
            NotPortable: it can't go there.
        """
        peer = self._peers.of(pid)
        if peer is None:
            return None
        payload, sender = pack(message.payload), message.sender
        operation: operations.Operation
        if isinstance(message, Request):
            operation = operations.Call(pid, message.topic, payload, sender, message.reply_to)
        else:
            operation = operations.Send(pid, message.topic, payload, sender, message.size)
        data = encode(operation)
        peer.check_size(data)
        return partial(peer.send, data)

    def broadcast(self, pids: Iterable[str], message: Message) -> int:
        """Deliver to many, here and elsewhere, or to none; return how many took it.

        Raises:
            NotPortable: it can't go there.
        """
        here, there = self._sort(pids)
        payload = pack(message.payload) if there else b""
        parcels: list[Parcel] = []
        for peer, dests in there.items():
            parcels += _parcels(peer, dests, message, payload)
        return _deliver(here, message) + _send(parcels, sum(map(len, there.values())))

    def _sort(self, pids: Iterable[str]) -> tuple[list[Entity], dict[Peer, list[PID]]]:
        find, lookup = self._table.find, self._table.registry.lookup
        here: list[Entity] = []
        there: dict[Peer, list[PID]] = {}
        for dest in pids:
            pid: str = dest if "@" in dest else lookup(dest) or ""
            entity = find(pid)
            if entity is not None:
                here.append(entity)
                continue
            peer = self._peers.of(pid)
            if peer is not None:
                try:
                    there.setdefault(peer, []).append(PID.parse(pid))
                except InvalidPID:
                    continue  # as one that is dead
        return here, {peer: dests for peer, dests in there.items() if dests}

    def broadcast_group(self, group: str, message: Message) -> int:
        """Deliver to the members of a group, or to none; return how many took it.

        Raises:
            NotPortable: it can't go there.
        """
        here, there = [], Counter[Peer]()
        for pid in self._table.groups.members(group):
            entity = self._table.find(pid)
            peer = self._peers.of(pid) if entity is None else None
            if entity is not None:
                here.append(entity)
            elif peer is not None:
                there[peer] += 1
        parcels: list[Parcel] = []
        if there:
            operation = operations.GroupSend(
                group, message.topic, pack(message.payload), message.sender
            )
            data = encode(operation)
            for peer in there:
                peer.check_size(data)
                parcels.append((peer, data))
        return _deliver(here, message) + _send(parcels, there.total())


def _parcels(peer: Peer, dests: list[PID], message: Message, payload: bytes) -> list[Parcel]:
    """Return one operation for many, or several if one would be too large."""
    data = encode(operations.SendMany(dests, message.topic, payload, message.sender))
    if len(dests) > 1 and not peer.has_room_for(len(data)):
        half = len(dests) // 2
        first = _parcels(peer, dests[:half], message, payload)
        return first + _parcels(peer, dests[half:], message, payload)
    peer.check_size(data)
    return [(peer, data)]


def _deliver(entities: list[Entity], message: Message) -> int:
    return sum([entity.deliver(message) for entity in entities])


def _send(parcels: list[Parcel], count: int) -> int:
    for peer, data in parcels:
        peer.send(data)
    return count
