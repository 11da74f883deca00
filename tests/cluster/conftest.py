"""What several tests of nodes that talk begin with."""

from tests.cluster.members import processes
from tests.cluster.placed import box, cluster, places, watcher

__all__ = ["box", "cluster", "places", "processes", "watcher"]
