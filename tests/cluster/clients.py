"""Nodes in the test's own loop, and clients of them in real threads, on each backend."""

import contextlib
import secrets

import gevent
import pytest

from greenrelay.cluster.client import connect
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.redis_keys import Keys
from greenrelay.cluster.redis_scripts import Scripts
from greenrelay.cluster.urls import open_backend
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import leaks, wait_until
from tests.cluster.redis_servers import RedisServer, need_redis

SECRET = "a secret of ours"
SECONDS = 10


class Nodes:
    """Nodes of one cluster, and their clients; all are ended with the test.

    Args:
        address: the cluster's URL without a secret and a lease.
        directory: for temporary files.
    """

    def __init__(self, address, directory):
        self.address = address
        self.directory = directory
        self.backends = {}
        """By the name of the node."""
        self.url = f"{address}&lease=2s&secret={SECRET}"
        self._stack = contextlib.ExitStack()
        self._pool = gevent.get_hub().threadpool

    def node(self, name, secret=SECRET):
        """Return a node that has joined."""
        node = Node(name)
        backend = self.backends[name] = open_backend(self.url)
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

    def take_for_lost(self, name, client):
        """Have a node tell all others that a client is lost."""
        backend, me = self.backends[name], client._visitor.me
        if self.address.startswith("local:"):
            backend._mesh._declare(me.incarnation, "the test says so")
        else:
            scripts = Scripts(Keys(backend._url.deployment), me, 2.0, "PUBLISH", 1)
            backend._control.ask(scripts.leave(), SECONDS)

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


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """A server for a module's tests, which use a deployment each."""
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    assert server.cli("keys", "*") in ([], [""]), "a key is left"
    server.stop()


@pytest.fixture(params=["local", "redis"])
def nodes(request, tmp_path, monkeypatch):
    """Give the means to make nodes and clients, which meet nobody of another test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    address = "local:?"
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        address = f"redis://{server.address}?deployment={secrets.token_hex(8)}"
    nodes = Nodes(address, str(tmp_path))
    yield nodes
    nodes.close()
    assert list(tmp_path.iterdir()) == [], "something is left in the directory"
