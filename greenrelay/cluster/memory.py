"""The backend `memory:NAME`: nodes of one interpreter, for tests.

    publish ─► the other's event loop, its next turn ─► on_bytes

Members of one name meet in an `Exchange`, which the interpreter's object holds: a test begins with
none. What networks and machines do is here to be had: a member can `hang()`, `wake()` and `die()`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import gevent

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.errors import ClusterError
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.interpreter import this_interpreter


class Seat:
    """One member in an exchange, in its own thread.

    Args:
        member: who it is, at first.
        receiver: who is told.
    """

    def __init__(self, member: Member, receiver: Receiver) -> None:
        self.member = member
        self.in_flight: Counter[Member] = Counter()
        """Bytes on their way to others."""
        self._receiver = receiver
        self._thread = HubThread()
        self._known: dict[Member, None] = {}
        self._is_hanging = False
        self._held: deque[tuple[Callable[..., object], Any]] = deque()
        """What it would have been told while it hung."""

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have something called in its loop's next turn, or when it hangs no more."""
        self._thread.post(self._run, call, args)

    def _run(self, call: Callable[..., object], args: Any) -> None:
        if self._is_hanging:
            self._held.append((call, args))
        else:
            call(*args)

    def on_up(self, member: Member) -> None:
        """Hear of a member."""
        self._known[member] = None
        self._receiver.on_up(member)

    def on_lost(self, member: Member) -> None:
        """Hear of its end."""
        if member in self._known:
            del self._known[member]
            self._receiver.on_lost(member)

    def on_bytes(self, sender: Seat, member: Member, data: bytes) -> None:
        """Hear what it has published."""
        sender.in_flight[self.member] -= len(data)
        if member in self._known:
            self._receiver.on_bytes(member, data)

    def hang(self) -> None:
        """Hear nothing from now on."""
        self._is_hanging = True

    def resume(self) -> None:
        """Hear again, and first what has been missed."""
        self._is_hanging = False
        while self._held and not self._is_hanging:
            call, args = self._held.popleft()
            call(*args)

    def become_another(self) -> None:
        """Lose everybody, and come back."""
        self._is_hanging = False
        self._held.clear()
        for member in list(self._known):
            self.on_lost(member)
        self.member = self._receiver.on_isolated()


class Exchange:
    """Where members meet."""

    def __init__(self) -> None:
        self._seats: dict[Member, Seat] = {}
        self._names: dict[str, tuple[str, Member]] = {}

    def enter(self, seat: Seat) -> None:
        """Add a member, and have everybody told."""
        for other in list(self._seats.values()):
            other.post(other.on_up, seat.member)
            seat.post(seat.on_up, other.member)
        self._seats[seat.member] = seat

    def leave(self, member: Member) -> None:
        """Take a member out, with its names, and have the others told."""
        if self._seats.pop(member, None) is None:
            return
        for name, (_, holder) in list(self._names.items()):
            if holder == member:
                del self._names[name]
        for other in list(self._seats.values()):
            other.post(other.on_lost, member)

    def publish(self, sender: Seat, to: Member, data: bytes) -> bool:
        """Bring bytes to a member; `False`: there is none."""
        seat = self._seats.get(to)
        if seat is None or sender.member not in self._seats:
            return False
        sender.in_flight[to] += len(data)
        seat.post(seat.on_bytes, sender, sender.member, data)
        return True

    def claim(self, member: Member, name: str, pid: str) -> str:
        """Return who holds a name; `pid`, if it was free."""
        if member not in self._seats:
            raise ClusterError(f"node {member.node!r} is no member")
        return self._names.setdefault(name, (pid, member))[0]

    def release(self, member: Member, name: str, pid: str) -> None:
        """Free a name, if it is held by `pid`, a process of this member."""
        if self._names.get(name) == (pid, member):
            del self._names[name]


class Exchanges:
    """All exchanges of an interpreter."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}

    def named(self, name: str) -> Exchange:
        """Return the one of this name, made at first."""
        return self._exchanges.setdefault(name, Exchange())


class MemoryBackend:
    """A member of an exchange of this interpreter.

    Args:
        name: of the exchange.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._exchange = this_interpreter().shared(Exchanges).named(name)
        self._seat: Seat | None = None
        self._dropping = 0

    @property
    def _taken(self) -> Seat:
        if self._seat is None:
            raise ClusterError(f"memory:{self._name} has not been started, or is stopped")
        return self._seat

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join. Switches: yes."""
        seat = self._seat = Seat(me, receiver)
        self._exchange.enter(seat)
        gevent.sleep(0)

    def publish(self, member: Member, data: bytes) -> bool:
        """Hand bytes over for one member; `False`: it is none."""
        if self._seat is None:
            return False
        if self._dropping:
            self._dropping -= 1
            return True
        return self._exchange.publish(self._seat, member, data)

    def claim(self, name: str, pid: str) -> str:
        """Return who holds a name; `pid`, if it was free. Switches: yes."""
        gevent.sleep(0)
        return self._exchange.claim(self._taken.member, name, pid)

    def release(self, name: str, pid: str) -> None:
        """Free a name, if `pid` holds it."""
        if self._seat is not None:
            self._exchange.release(self._seat.member, name, pid)

    def pending(self, member: Member) -> int:
        """Return how many bytes have not arrived."""
        return 0 if self._seat is None else self._seat.in_flight[member]

    def stop(self) -> None:
        """Leave. Switches: yes."""
        seat, self._seat = self._seat, None
        if seat is not None:
            self._exchange.leave(seat.member)
            seat.hang()  # nothing is told to a receiver that has left
        gevent.sleep(0)

    # -- what may happen ---------------------------------------------------------------------

    def drop(self, count: int) -> None:
        """Lose the next envelopes on their way, so many of them."""
        self._dropping = count

    def hang(self) -> None:
        """Hear nothing."""
        self._taken.hang()

    def resume(self) -> None:
        """Hear again, before anybody has noticed."""
        self._taken.resume()

    def be_lost(self) -> None:
        """Hang, and have the others notice."""
        self._taken.hang()
        self._exchange.leave(self._taken.member)

    def wake(self) -> None:
        """Learn that the others have taken us for lost, and come back."""
        seat = self._taken
        seat.become_another()
        self._exchange.enter(seat)

    def die(self) -> None:
        """End as an interpreter that is killed: the others hear of it, nobody here does."""
        seat, self._seat = self._taken, None
        seat.hang()
        self._exchange.leave(seat.member)
