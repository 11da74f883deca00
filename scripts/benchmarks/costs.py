"""What one of each takes: a name, a member of a group, a monitor, a message; on the wire and for
a node that is told of it. docs/scale.md computes with these.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import NamedTuple

from greenrelay.cluster import operations
from greenrelay.cluster.backend import Member
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.envelope import Sealer
from greenrelay.cluster.operations import encode
from greenrelay.cluster.values import pack
from greenrelay.pid import PID
from greenrelay.processes.node import Node

ROUNDS = 5
SAID = {"text": "it is your move", "name": "Ann", "number": 7}
"""What a message carries."""


class Finding(NamedTuple):
    """One line of the table."""

    what: str
    value: float
    unit: str

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:,.2f}"
        return f"{self.what:54}{number:>12} {self.unit}"


def costs(count: int = 10_000) -> list[Finding]:
    """Return what stands in docs/scale.md as measured."""
    there = Member("web-10-0-0-17", "A" * 16)
    pid = PID(f"proc@{there.node}/AAAAAAAAAAAAAAAA")
    sealed = len(Sealer(there, Member("web-10-0-0-18", "B" * 16)).seal([]))
    said = pack(SAID)
    kinds = {
        "a name": operations.Name("room:123456", pid),
        "a member of a group": operations.Join("room:123456", pid, {}),
        "a monitor": operations.Monitor(pid),
        "a message": operations.Send(pid, "said", said, pid, 0),
        "a group's message": operations.GroupSend("room:123456", "said", said, pid),
    }
    wire = [
        Finding(f"{what}: on the wire", len(encode(one)), "bytes") for what, one in kinds.items()
    ]
    return [
        Finding("an envelope: besides its operations", sealed, "bytes"),
        *wire,
        Finding("a name elsewhere: memory", memory_of(note_name, count), "bytes"),
        Finding("a member elsewhere: memory", memory_of(note_member, count), "bytes"),
        Finding("a name elsewhere: to be told", time_of(note_name, count), "µs CPU"),
        Finding("a member elsewhere: to be told", time_of(note_member, count), "µs CPU"),
    ]


class Silent:
    """A backend that brings nothing anywhere."""

    def start(self, me: Member, receiver: object) -> None:
        pass

    def publish(self, member: Member, data: bytes) -> bool:
        return True

    def claim(self, name: str, pid: str) -> str:
        return pid

    def release(self, name: str, pid: str) -> None:
        pass

    def pending(self, member: Member) -> int:
        return 0

    def stop(self) -> None:
        pass


def note_name(number: int) -> operations.Operation:
    return operations.Name(f"room:{number}", some_pid(number))


def note_member(number: int) -> operations.Operation:
    return operations.Join(f"room:{number // 10}", some_pid(number), {})


def some_pid(number: int) -> PID:
    return PID(f"proc@web-10-0-0-17/{number:016}")


def take(make: Callable[[int], operations.Operation], count: int) -> Iterator[None]:
    """Have a node be told of so many by another one, an envelope each; then it forgets them.

    Gives thrice: before it is told, after it, and after the other one is lost.
    """
    cluster = Cluster(Node("web-10-0-0-18"), Silent())
    cluster.start()
    them = Member("web-10-0-0-17", "A" * 16)
    cluster.on_up(them)
    sealer = Sealer(them, cluster.me)
    envelopes = [sealer.seal([encode(make(number))]) for number in range(count)]
    gc.collect()
    yield
    for envelope in envelopes:
        cluster.on_bytes(them, envelope)
    yield
    cluster.on_lost(them)
    cluster.stop()  # which waits until all is forgotten
    yield


def memory_of(make: Callable[[int], operations.Operation], count: int) -> float:
    """Return the bytes that a node holds for each of so many that another one tells it of."""
    taking = take(make, count)
    next(taking)
    tracemalloc.start()
    next(taking)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    next(taking)
    return size / count


def time_of(make: Callable[[int], operations.Operation], count: int) -> float:
    """Return the microseconds of CPU that it takes to be told of one; the best of some rounds."""
    times = []
    for _ in range(ROUNDS):
        taking = take(make, count)
        next(taking)
        began = time.thread_time()
        next(taking)
        times.append(time.thread_time() - began)
        next(taking)
    return min(times) / count * 1e6
