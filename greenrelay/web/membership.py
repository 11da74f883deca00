"""An app's membership in a cluster: begun by its server, or else by its first request."""

from __future__ import annotations

import logging
import time
from typing import Final

from greenrelay.cluster.joining import join
from greenrelay.errors import GreenRelayError
from greenrelay.logs import log_now
from greenrelay.processes.node import Node

log = logging.getLogger("greenrelay.cluster")

RETRY_SECONDS: Final = 10.0
"""Between attempts of requests: each may take as long as the service does to answer."""


class Membership:
    """What makes the node of an app a member.

    Args:
        url: of the cluster.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_joining = False
        self._retry_at = 0.0

    def join(self, node: Node) -> None:
        """Make a node a member, unless it is. Switches: yes.

        Raises:
            ConfigurationError, ClusterError: it can't be; one clear line.
        """
        if node.table.elsewhere is None:
            self._is_joining = True
            try:
                join(node, self.url)
            finally:
                self._is_joining = False

    def require(self, node: Node) -> None:
        """Make it one for a request; if that fails, what it does here goes on. Switches: yes."""
        is_needed = node.table.elsewhere is None and not (node.is_draining or self._is_joining)
        if is_needed and time.monotonic() >= self._retry_at:
            try:
                self.join(node)
            except GreenRelayError as error:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                log_now(log, logging.ERROR, "node %s is in no cluster: %s", node.name, error)
