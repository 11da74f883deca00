"""Where a test's processes live: `here`, in the test, and `there`: on the same node, on another
node of the interpreter, in another interpreter. The assertions are the same.
"""

from __future__ import annotations

import contextlib
import importlib
import secrets

import gevent
from gevent.event import AsyncResult

from greenrelay import process
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.local import LocalBackend
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.cluster.redis import open_redis
from greenrelay.pid import PID
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.protocol.duration import parse_duration
from greenrelay.testing import leaks, wait_until

ACTS = "tests.cluster.acts:"


def resolve(act):
    """Return what a text names; a name alone is one of `acts`."""
    if callable(act):
        return act
    module, _, name = (act if ":" in act else ACTS + act).partition(":")
    return getattr(importlib.import_module(module), name)


def make_backend(way):
    """Return a backend: `("memory", name)`, `("local", folder, lease)` or `("redis", URL)`."""
    kind, where, *more = way
    if kind == "local":
        return LocalBackend(root=where, lease=parse_duration(*more))
    return MemoryBackend(where) if kind == "memory" else open_redis(where)


def start_place(name, backend):
    """Return a node of this interpreter that is a member."""
    node = Node(name, max_mailbox=20)
    place = Place(node, Cluster(node, backend))
    place.backend = backend
    place.cluster.start()
    return place


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

    def ask(self, act, *args):
        """Return what a function gives for the place; it is no process."""
        with on_node(self.node):
            return resolve(act)(self, *args)

    def is_busy(self):
        """Tell whether anything waits to be sent, or done."""
        peers = list(self.cluster.peers)
        return len(self.cluster._slices) or any(peer.pending() or peer._waiting for peer in peers)

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
        place = start_place(name, MemoryBackend(self.name))
        self.all.append(place)
        return place

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
            wait_until(lambda: not any(place.is_busy() for place in self.all))
            gevent.sleep(0.002)

    def stop(self):
        for place in list(self.all):
            place.end()
        for place in list(self.all):
            self.settle()
            found = leaks(place.node)
            self.close(place)
            assert not found


class FarPlaces:
    """A node here, and others in interpreters of their own.

    Args:
        service: joins them.
        others: their names; the first one is `there`.
    """

    def __init__(self, service, *others):
        self._way = service.way
        self._far = service.start(*(others or ["there"]))
        self.there = self._far[0]
        self.here = start_place("here", make_backend(self._way))
        self.all = [self.here, *self._far]
        self.settle()

    def add(self, name):
        """Return one more place, in this interpreter."""
        self.all.append(start_place(name, make_backend(self._way)))
        return self.all[-1]

    def settle(self):
        """Wait until nothing is under way: what is asked comes behind all that was sent before."""
        for _ in range(2):
            for one in self.all:
                for other in self.all:
                    if one is not other:
                        one.run(
                            "tests.cluster.acts:ask_after", PID(f"proc@{other.name}/{'A' * 16}")
                        )
            wait_until(
                lambda: not any(place.ask("tests.cluster.far_node:is_busy") for place in self.all)
            )

    def stop(self):
        for place in self.all:
            place.end()
        self.settle()
        found = [place.ask("tests.cluster.far_node:find_leaks") for place in self.all]
        for place in self.all:
            if place not in self._far:
                place.cluster.stop()
        assert not any(found), found


class OnePlace:
    """One node, without a cluster: there is here."""

    def __init__(self):
        self.here = self.there = Place(Node("here", max_mailbox=20))

    def settle(self):
        gevent.sleep(0.001)

    def stop(self):
        self.here.end()
        wait_until(lambda: not leaks(self.here.node))


KINDS = ("one-node", "memory", "local", "redis")
"""One node; two in one interpreter; two interpreters over Unix sockets, and over Redis."""


def make_places(kind, services):
    if kind == "one-node":
        return OnePlace()
    return MemoryPlaces() if kind == "memory" else FarPlaces(services.get(kind))


@contextlib.contextmanager
def open_places(kind, services=None):
    places = make_places(kind, services)
    try:
        with on_node(places.here.node):
            yield places
    finally:
        places.stop()
