"""Joining the cluster that a URL names, for those who serve an app.

Rule: what only a cluster needs is imported when there is one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from greenrelay.errors import ConfigurationError
from greenrelay.logs import log_now
from greenrelay.processes.node import Node

if TYPE_CHECKING:
    from greenrelay.cluster.cluster import Cluster

log = logging.getLogger("greenrelay.cluster")


def check_url(url: str) -> None:
    """Raise `ConfigurationError` for what names no cluster; the text says what to write."""
    _require_library()
    from greenrelay.cluster.urls import open_backend

    open_backend(url)  # which is started by `join()` only


def join(node: Node, url: str) -> Cluster:
    """Make a node a member of a cluster, until the cluster's `stop()`. Switches: yes.

    Call it in the thread of the node's event loop.

    Raises:
        ConfigurationError: the URL names no cluster.
        ClusterError: it can't be joined: one clear line.
    """
    _require_library()
    from greenrelay.cluster.cluster import Cluster
    from greenrelay.cluster.urls import open_backend, read_url

    where = read_url(url)
    backend = open_backend(where)
    cluster = Cluster(node, backend, secret=where.secret, max_bytes=where.max_envelope)
    cluster.start()
    log_now(log, logging.INFO, "node %s is in the cluster %s", node.name, where.shown)
    return cluster


def leave(node: Node) -> None:
    """Leave the cluster that a node is a member of, if it is one of any. Switches: yes."""
    elsewhere = node.table.elsewhere
    if elsewhere is not None:
        elsewhere.stop()


def _require_library() -> None:
    try:
        import msgpack  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError(
            "a cluster needs msgpack, which is not installed: pip install 'greenrelay[cluster]'"
        ) from None
