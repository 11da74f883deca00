"""Where a test's processes live: `here`, in the test, and `there`: on the same node, on another
node of the interpreter, in another interpreter. The assertions are the same.
"""

from __future__ import annotations

import contextlib
import importlib
import secrets
import tempfile

import gevent
from gevent.event import AsyncResult

from greenrelay import process
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.local import LocalBackend
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import leaks, wait_until

ACTS = "tests.cluster.acts:"


def resolve(act):
    """Return what a text names; a name alone is one of `acts`."""
    if callable(act):
        return act
    module, _, name = (act if ":" in act else ACTS + act).partition(":")
    return getattr(importlib.import_module(module), name)


class Place:
    """A node of this interpreter.

    Args:
        node: it.
        cluster: what it is joined with others by, if it is.
    """

    def __init__(self, node, cluster=None):
        self.node = node
        self.cluster = cluster
        self.name = node.name

    def spawn(self, act, *args, **options):
        """Start a process there, and return its PID."""
        with on_node(self.node):
            return process.spawn(resolve(act), *args, **options)

    def run(self, act, *args, timeout=5.0):
        """Run a function as a process there, and return its value, or raise what it raises."""
        outcome = AsyncResult()
        function = resolve(act)

        def body():
            try:
                outcome.set((function(*args), None))
            except Exception as error:
                outcome.set((None, error))

        self.spawn(body)
        value, error = outcome.get(timeout=timeout)
        if error is not None:
            raise error
        return value

    def end(self):
        """End what lives there."""
        for entity in self.node:
            entity.kill("killed")
        wait_until(lambda: not len(self.node))


class MemoryPlaces:
    """Nodes of one interpreter, joined over `memory:`."""

    def __init__(self):
        self.name = secrets.token_hex(8)
        self.all = []
        self.here = self.add("here")
        self.there = self.add("there")

    def add(self, name):
        """Return one more place."""
        node = Node(name, max_mailbox=20)
        backend = self.make_backend()
        cluster = Cluster(node, backend)
        cluster.start()
        place = Place(node, cluster)
        place.backend = backend
        self.all.append(place)
        return place

    def make_backend(self):
        """Return the backend of one more node."""
        return MemoryBackend(self.name)

    def kill(self, place):
        """Have a place die as an interpreter does: the others hear of it, and it does nothing."""
        place.backend.die()
        place.end()
        self.close(place)

    def close(self, place):
        """End a place in good order."""
        place.end()
        place.cluster.stop()
        if place in self.all:
            self.all.remove(place)

    def settle(self):
        """Wait until nothing is under way between the places."""
        for _ in range(3):
            wait_until(lambda: not any(self._under_way(place) for place in self.all))
            gevent.sleep(0.002)

    def _under_way(self, place):
        peers = list(place.cluster.peers)
        return len(place.cluster._slices) or any(peer.pending() or peer._waiting for peer in peers)

    def stop(self):
        for place in list(self.all):
            place.end()
        for place in list(self.all):
            self.settle()
            found = leaks(place.node)
            self.close(place)
            assert not found


class LocalPlaces(MemoryPlaces):
    """The same, joined over `local:`, that is, over sockets."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        super().__init__()

    def make_backend(self):
        return LocalBackend(root=self._folder.name)

    def stop(self):
        super().stop()
        self._folder.cleanup()


class OnePlace:
    """One node, without a cluster: there is here."""

    def __init__(self):
        self.here = self.there = Place(Node("here", max_mailbox=20))

    def settle(self):
        gevent.sleep(0.001)

    def stop(self):
        self.here.end()
        wait_until(lambda: not leaks(self.here.node))


KINDS = {"one node": OnePlace, "two nodes": MemoryPlaces, "over local": LocalPlaces}


@contextlib.contextmanager
def open_places(kind):
    places = KINDS[kind]()
    try:
        with on_node(places.here.node):
            yield places
    finally:
        places.stop()
