"""How many connections a node, and one client address, may have."""

from __future__ import annotations

from collections import Counter

from greenrelay.message import Exit
from greenrelay.pid import PID
from greenrelay.processes.node import Node
from greenrelay.protocol.refusals import ADDRESS_FULL, SERVER_FULL


class Quota:
    """How many connections a node, and one client address, may have; 0 is off.

    Args:
        per_node, per_address: the bounds.
    """

    def __init__(self, per_node: int = 0, per_address: int = 0) -> None:
        self.per_node = per_node
        self.per_address = per_address
        self._addresses: dict[PID, str] = {}
        self._counts: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Raise `RefusedError` when one more would be too many."""
        if self.per_node and len(self._addresses) >= self.per_node:
            raise SERVER_FULL.error()
        if self.per_address and self._counts[address] >= self.per_address:
            raise ADDRESS_FULL.error()

    def count(self, node: Node, pid: PID, address: str) -> None:
        """Count a connection until it ends."""
        if self.per_node or self.per_address:
            self._addresses[pid] = address
            self._counts[address] += 1
            node.monitor_ahead(self, pid)

    def on_exit(self, exit: Exit) -> None:
        """A counted connection has ended."""
        address = self._addresses.pop(exit.sender)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
