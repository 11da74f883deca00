"""What several tests of nodes that talk begin with: places, and members in other processes."""

import pytest

from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS
from tests.cluster.members import MemberProcess
from tests.cluster.placed import box, cluster, places, watcher

__all__ = ["box", "cluster", "places", "processes", "watcher"]


class Processes:
    """Starts members in processes; calling it returns when all know each other."""

    def __init__(self, root):
        self._root = root
        self.started = []

    def start(self, node, **options):
        """Start one, and wait for nothing."""
        member = MemberProcess(node, root=self._root, **options)
        self.started.append(member)
        return member

    def __call__(self, *nodes, **options):
        fresh = [self.start(node, **options) for node in nodes]
        for member in fresh:
            member.wait_for("joined")
        living = [member for member in self.started if member.process.poll() is None]
        names = {member.node for member in living}
        wait_until(lambda: all(m.is_up == names - {m.node} for m in living), SECONDS)
        return fresh[0] if len(fresh) == 1 else fresh


@pytest.fixture
def processes(tmp_path):
    processes = Processes(str(tmp_path))
    yield processes
    for member in processes.started:
        member.end()
