"""Which cluster the node of a server joins.

    --cluster URL ─► GREENRELAY_CLUSTER of the app ─► of the environment ─► several workers: local:

An empty one is an answer, too: no cluster. Whoever joins leaves when it has drained.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from greenrelay.web.middleware import RelayMiddleware

CLUSTER_VARIABLE = "GREENRELAY_CLUSTER"


def chosen_url(
    middleware: RelayMiddleware | None, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return the URL of the cluster that somebody has chosen; `None`: nobody has."""
    if middleware is not None and middleware.cluster is not None:
        return middleware.cluster
    return environ.get(CLUSTER_VARIABLE)
