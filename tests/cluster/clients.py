"""Nodes of `local:` in the test's own loop, and clients of them in real threads."""

import contextlib

import gevent
import pytest

from greenrelay.cluster.client import connect
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.local import LocalBackend
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import leaks, wait_until

SECRET = "a secret of ours"
SECONDS = 10


class Nodes:
    """Nodes on one machine, and their clients; all are ended with the test."""

    def __init__(self, directory):
        self.directory = directory
        self.backends = {}
        """By the name of the node."""
        self.url = f"local:?secret={SECRET}"
        self._stack = contextlib.ExitStack()
        self._pool = gevent.get_hub().threadpool

    def node(self, name, secret=SECRET):
        """Return a node that has joined."""
        node = Node(name)
        backend = self.backends[name] = LocalBackend(lease=2.0)
        cluster = Cluster(node, backend, secret=secret)
        cluster.start()
        self._stack.callback(self._end, node, cluster)
        return node

    def spawn(self, node, function, *args, **options):
        """Spawn a process on a node."""
        with on_node(node):
            return node.spawn(function, args, **options)

    def client(self, url=None, **options):
        """Return a client, made in a thread of its own."""
        client = self.there(connect, url or self.url, **options)
        self._stack.callback(self.there, client.close)
        return client

    def there(self, function, *args, **options):
        """Return what a function gives in another thread, while this one's loop runs."""
        return self._pool.apply(function, args, options)

    def soon(self, function, *args, **options):
        """Have a function called in another thread; `.get()` gives what it gave."""
        return self._pool.spawn(function, *args, **options)

    def close(self):
        self._stack.close()

    @staticmethod
    def _end(node, cluster):
        cluster.stop()
        for entity in node:
            entity.kill("killed")
        wait_until(lambda: not leaks(node))


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Give the means to make nodes and clients, in a directory of the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    nodes = Nodes(str(tmp_path))
    yield nodes
    nodes.close()
    assert list(tmp_path.iterdir()) == [], "something is left in the directory"
