"""How the node of a server joins its cluster: which URL counts, and what if it can't.

    --cluster URL ─► GREENRELAY_CLUSTER of the app ─► of the environment ─► several workers: local:

An empty one is an answer, too: no cluster. Whoever joins leaves when it has drained.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenrelay.processes.node import Node
from greenrelay.web.middleware import RelayMiddleware

if TYPE_CHECKING:  # needs msgpack, which is an extra's
    from greenrelay.cluster.cluster import Cluster

CLUSTER_VARIABLE = "GREENRELAY_CLUSTER"


def chosen_url(
    middleware: RelayMiddleware | None, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return the URL of the cluster that somebody has chosen; `None`: nobody has."""
    if middleware is not None and middleware.cluster is not None:
        return middleware.cluster
    return environ.get(CLUSTER_VARIABLE)


def join_cluster(node: Node, url: str) -> Cluster:
    """Have a node join a cluster. Switches: yes.

    Raises:
        ConfigurationError: the URL is wrong, or a library is missing.
        ClusterError: the cluster can't be reached; one clear line.
    """
    from greenrelay.cluster.cluster import Cluster
    from greenrelay.cluster.urls import open_backend, read_url

    where = read_url(url)
    backend = open_backend(where)
    cluster = Cluster(node, backend, secret=where.secret, max_bytes=where.max_envelope)
    cluster.start()
    return cluster
