"""What several tests of nodes that talk begin with."""

from tests.cluster.members import processes
from tests.cluster.placed import apart, box, cluster, places, services, watcher

__all__ = ["apart", "box", "cluster", "places", "processes", "services", "watcher"]
