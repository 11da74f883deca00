"""Many nodes in one interpreter, over `memory:`: what a cluster of some size does to each of them.

Everybody shares one event loop and one core, so times are those of all nodes together, one after
the other: what a node alone takes is about the N-th part of it. Counts are exact.

A `Crowd` is so many nodes. To join, claim, broadcast and lose are a method each, with findings.
"""

from __future__ import annotations

import argparse
import gc
import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from benchmarks.costs import SAID, Finding, costs
from greenrelay import process
from greenrelay.cluster.backend import Member
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.message import Exit
from greenrelay.pid import PID
from greenrelay.processes.node import Node

NODES = 200
NAMES_EACH = 5
MEMBERS_EACH = 5
MONITORS = 10_000
SECONDS = 300.0  # until something has come about, however many nodes there are
SELDOM = 0.05
"""Seconds between looks at what takes long to look at, and would be a pause itself."""


class CountedBackend(MemoryBackend):
    """Counts what is published."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.envelopes = 0
        self.bytes = 0

    def publish(self, member: Member, data: bytes) -> bool:
        self.envelopes += 1
        self.bytes += len(data)
        return super().publish(member, data)


class Counter:
    """Watches processes, and counts their ends."""

    def __init__(self) -> None:
        self.count = 0

    def on_exit(self, exit: Exit) -> None:
        self.count += 1


class Place:
    """A node, and what it is joined by."""

    def __init__(self, name: str, exchange: str) -> None:
        self.node = Node(name)
        self.backend = CountedBackend(exchange)
        self.cluster = Cluster(self.node, self.backend)
        self.longest = 0.0
        """Seconds of CPU that the cluster has taken from this node's loop in one go."""
        for owner, turn in self._turns():
            setattr(owner, turn, self._timed(getattr(owner, turn)))

    def _turns(self) -> list[tuple[object, str]]:
        """Return what the loop calls in a cluster, where it is called anew each time."""
        slices = self.cluster._slices
        heard = ("on_up", "on_bytes", "on_lost", "_flush")
        return [(slices, "_turn"), *((self.cluster, name) for name in heard)]

    def _timed(self, turn: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object) -> None:
            began = time.thread_time()
            turn(*args)
            self.longest = max(self.longest, time.thread_time() - began)

        return call

    def spawn(self, function: Callable[..., object], *args: object) -> PID:
        with process.on_node(self.node):
            return process.spawn(function, *args)

    def end(self) -> None:
        """End what lives here."""
        for entity in self.node:
            entity.kill("killed")


def idle() -> None:
    process.inbox().receive()


def hear(heard: list[int]) -> None:
    for _ in process.inbox():
        heard[0] += 1


class Crowd:
    """So many nodes that know each other.

    Args:
        size: how many.
        names: that each of them holds; each has a process of its own for them.
        members: of the group `everybody`, on each.
    """

    def __init__(self, size: int, names: int = NAMES_EACH, members: int = MEMBERS_EACH) -> None:
        self._exchange = f"crowd-{id(self)}"
        self._names, self._members = names, members
        self.places: list[Place] = []
        self.heard = [0]
        """How many messages the members of the group have had."""
        self.members = 0
        """Of the group."""
        for _ in range(size):
            self._add()
        self.settle()

    def _add(self) -> Place:
        place = Place(f"n{len(self.places):04}", self._exchange)
        place.cluster.start()
        self.places.append(place)
        return place

    def settle(self) -> None:
        """Wait until all know what all others have, and nothing is under way."""
        wait(lambda: all(self._is_quiet(place) for place in self.places), SELDOM)

    def _is_quiet(self, place: Place) -> bool:
        peers = list(place.cluster.peers)
        is_whole = len(peers) == len(self.places) - 1
        return is_whole and all(peer.has_synced and not peer.pending() for peer in peers)

    def populate(self) -> None:
        """Give every node its names and its members of the group, and wait until all know."""
        for place in self.places:
            self._fill(place)
        wait(lambda: all(map(self._is_full, self.places)), SELDOM)

    def _is_full(self, place: Place) -> bool:
        members = len(place.node.groups.members("everybody"))
        names = len(list(place.node.registry.items()))
        return members == self.members and names == len(self.places) * self._names

    def _fill(self, place: Place) -> None:
        for _ in range(self._members):
            place.node.groups.join("everybody", place.spawn(hear, self.heard))
            self.members += 1
        if self._names:
            place.spawn(hold_names, place, self._names)

    # -- what is measured ----------------------------------------------------------------

    def join(self) -> list[Finding]:
        """Have one more node join."""
        before = self._count()
        began, cpu = time.perf_counter(), time.thread_time()
        with self._pauses() as longest:
            newest = self._add()
            wait(lambda: self._has_met_all(newest))
        envelopes, size = (now - then for now, then in zip(self._count(), before, strict=True))
        others = len(self.places) - 1
        return [
            Finding("a join: until all know all", (time.perf_counter() - began) * 1e3, "ms"),
            Finding("a join: CPU of all nodes", (time.thread_time() - cpu) * 1e3, "ms"),
            Finding("a join: envelopes, of all nodes", envelopes, ""),
            Finding("a join: envelopes for each other node", envelopes / others, ""),
            Finding("a join: bytes, of all nodes", size, "bytes"),
            *show_pauses("a join", longest),
        ]

    def _has_met_all(self, newest: Place) -> bool:
        others = self.places[:-1]
        theirs = [place.cluster.peers.named(newest.node.name) for place in others]
        peers = [*newest.cluster.peers, *theirs]
        return len(peers) == 2 * len(others) and all(each and each.has_synced for each in peers)

    def _count(self) -> tuple[int, int]:
        backends = [place.backend for place in self.places]
        return sum(each.envelopes for each in backends), sum(each.bytes for each in backends)

    def claim(self) -> list[Finding]:
        """Have a process be given a name."""
        first = self.places[0]
        before = self._count()
        began = time.perf_counter()
        first.spawn(hold_name, "the one")
        wait(lambda: first.node.registry.lookup("the one") is not None)
        claimed = time.perf_counter()
        wait(lambda: all(p.node.registry.lookup("the one") for p in self.places))
        return [
            Finding("a name: until it is ours", (claimed - began) * 1e3, "ms"),
            Finding("a name: until all know", (time.perf_counter() - began) * 1e3, "ms"),
            Finding("a name: envelopes", self._count()[0] - before[0], ""),
        ]

    def broadcast(self) -> list[Finding]:
        """Tell all members of the group."""
        self.heard[0] = 0
        before = self._count()
        began, cpu = time.perf_counter(), time.thread_time()
        self.places[0].spawn(process.group("everybody").broadcast, "said", SAID)
        wait(lambda: self.heard[0] == self.members)
        return [
            Finding("a group's broadcast: members", self.members, ""),
            Finding("a group's broadcast: envelopes", self._count()[0] - before[0], ""),
            Finding(
                "a group's broadcast: until the last", (time.perf_counter() - began) * 1e3, "ms"
            ),
            Finding("a group's broadcast: CPU", (time.thread_time() - cpu) * 1e3, "ms"),
        ]

    def lose(self, monitors: int, watching: int) -> list[Finding]:
        """Have a node die of which so many nodes together have so many monitors."""
        lost, watchers = self.places[-1], self.places[:watching]
        counter = Counter()
        pids = [lost.spawn(idle) for _ in range(100)]
        for number in range(monitors):
            watchers[number % watching].node.monitor(counter, pids[number // watching % len(pids)])
        wait(lambda: not any(p.pending() for place in watchers for p in place.cluster.peers))
        began = time.perf_counter()
        with self._pauses() as longest:
            lost.backend.die()
            self.places.pop()
            wait(lambda: counter.count == monitors and self._has_lost(lost))
        lost.end()
        lost.cluster.stop()
        what = f"a loss, {monitors:,} monitors of {watching:,}"
        return [
            Finding(f"{what}: until all are told", (time.perf_counter() - began) * 1e3, "ms"),
            *show_pauses(what, longest),
        ]

    @contextmanager
    def _pauses(self) -> Iterator[dict[str, float]]:
        """Give the longest times that loops stood still meanwhile; seconds of CPU.

        Of one node's loop: in one go of its cluster. Of the loop that all nodes have here together:
        between two turns of a greenlet.
        """
        longest, is_over = {"one node": 0.0, "all in one loop": 0.0}, False

        def tick() -> None:
            last = time.thread_time()
            while not is_over:
                gevent.sleep(0)
                now = time.thread_time()
                longest["all in one loop"] = max(longest["all in one loop"], now - last)
                last = now

        for place in self.places:
            place.longest = 0.0
        gc.collect()
        ticking = gevent.spawn(tick)
        gevent.sleep(0)
        try:
            yield longest
        finally:
            is_over = True
            ticking.join()
            longest["one node"] = max(place.longest for place in self.places)

    def _has_lost(self, lost: Place) -> bool:
        name = lost.node.name
        return not any(place.cluster.peers.named(name) for place in self.places)

    def close(self) -> None:
        """End it all."""
        for place in self.places:
            place.end()
        self.settle()
        while self.places:
            self.places.pop().cluster.stop()


def hold_name(name: str) -> None:
    process.registry.register(name, process.pid())
    idle()


def hold_names(place: Place, count: int) -> None:
    for number in range(count):
        process.registry.register(f"{place.node.name}-{number}", process.pid())
    idle()


def wait(condition: Callable[[], bool], every: float = 0.001) -> None:
    """Let the loop turn until something is so, and look every so many seconds."""
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not after {SECONDS:.0f} s")
        gevent.sleep(every)


def show_pauses(what: str, longest: dict[str, float]) -> list[Finding]:
    return [Finding(f"{what}: pause of {who}", t * 1e3, "ms CPU") for who, t in longest.items()]


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def simulate(nodes: int, monitors: int = MONITORS) -> Iterator[Finding]:
    """Give the findings for so many nodes, which live until the interpreter ends."""
    before, began = resident_bytes(), time.perf_counter()
    crowd = Crowd(nodes - 1)
    pairs = (nodes - 1) * (nodes - 2)
    yield Finding("all but one node join: together", time.perf_counter() - began, "s")
    yield Finding("a node, of another: memory", (resident_bytes() - before) / pairs, "bytes")
    crowd.populate()
    yield from crowd.join()
    yield from crowd.claim()
    yield from crowd.broadcast()
    yield from crowd.lose(monitors, 1)
    yield from crowd.lose(monitors, len(crowd.places) - 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=NODES, help="default: %(default)s")
    options = parser.parse_args()
    # Of nodes that die and leave there would be a line for each other node.
    logging.getLogger("greenrelay.cluster").setLevel(logging.ERROR)
    for finding in costs():
        print(finding, flush=True)
    print(
        f"\n{options.nodes} nodes; of each {NAMES_EACH} names and {MEMBERS_EACH} members of a group"
    )
    for finding in simulate(options.nodes):
        print(finding, flush=True)


if __name__ == "__main__":
    main()
