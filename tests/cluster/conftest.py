"""What several tests of nodes that talk begin with."""

from tests.cluster.placed import box, cluster, places, watcher

__all__ = ["box", "cluster", "places", "watcher"]
