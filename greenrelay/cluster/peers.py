"""The members that a node knows just now, by the name of their node."""

from __future__ import annotations

from collections.abc import Iterator

from greenrelay.cluster.backend import Member
from greenrelay.cluster.operations import Operation, encode
from greenrelay.cluster.peer import Peer


class Peers:
    """Every other member."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer: Peer) -> None:
        """Enter one; there is none of its node's name."""
        self._peers[peer.member.node] = peer

    def remove(self, peer: Peer) -> None:
        """Take one out."""
        if self._peers.get(peer.member.node) is peer:
            del self._peers[peer.member.node]

    def named(self, node: str) -> Peer | None:
        """Return the member whose node has this name, `None` if there is none."""
        return self._peers.get(node)

    def of(self, pid: str) -> Peer | None:
        """Return the member on whose node a PID is, `None` if there is none."""
        host, _, rest = pid.partition("@")
        return self._peers.get(rest.partition("/")[0])

    def find(self, member: Member) -> Peer | None:
        """Return a member in this very incarnation."""
        peer = self._peers.get(member.node)
        return peer if peer is not None and peer.member == member else None

    def tell(self, operation: Operation) -> None:
        """Send an operation to all, encoded once."""
        if self._peers:
            data = encode(operation)
            for peer in self._peers.values():
                peer.send(data)
