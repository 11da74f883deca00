"""A supervisor's children in their order: who runs, who is to be started, who waits for whom.

Which children are started anew when one has ended is one table (`_AFFECTED`).

A child that waits for its `ready()` holds up those after it, until it is ready or will not be
started again. One that was added later holds up nobody where nobody depends on it (`one_for_one`).
Rule: nothing here starts, waits or ends anything; it says whom, and `supervision` does it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final, Literal

from greenrelay.message import Request
from greenrelay.pid import PID
from greenrelay.processes.children import Child, Running

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

# Who is ended and started anew, by strategy, when one child has ended.
_AFFECTED: Final[dict[Strategy, Callable[[list[Running], Running], list[Running]]]] = {
    "one_for_one": lambda every, one: [one],
    "one_for_all": lambda every, one: every,
    "rest_for_one": lambda every, one: [each for each in every if each.number >= one.number],
}
STRATEGIES: Final[tuple[str, ...]] = tuple(_AFFECTED)


class Roster:
    """The children of one life of a supervisor.

    Args:
        strategy: who is affected by the end of one.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._every: dict[Running, None] = {}
        self._due: dict[Running, None] = {}
        """Those that are to be started, now or later."""
        self._starting: dict[Running, None] = {}
        """Those that run and are not ready."""
        self._pids: dict[str, Running] = {}
        """By the PID that each has, and by the one that it is known by."""
        self._names: dict[str, Running] = {}
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._every))

    def add(self, child: Child, request: Request | None = None) -> Running:
        """Enter a child behind the others; it is due at once.

        Args:
            request: the call by which it came.
        """
        running = Running(child, next(self._numbers), request)
        self._every[running] = None
        self._due[running] = None
        if child.name is not None:
            self._names[child.name] = running
        return running

    def remove(self, running: Running) -> None:
        """Take out a child that does not run."""
        self._every.pop(running, None)
        self._due.pop(running, None)
        if running.child.name is not None:
            self._names.pop(running.child.name, None)
        if running.known_as is not None:
            self._pids.pop(running.known_as, None)

    # -- finding one ---------------------------------------------------------------

    def find(self, dest: str) -> Running | None:
        """Return a child by its PID, the one that it is known by, or its name."""
        return self._names.get(dest) or self._pids.get(dest)

    def running_as(self, pid: PID | None) -> Running | None:
        """Return the child that runs as `pid` just now."""
        running = None if pid is None else self._pids.get(pid)
        return None if running is None or running.pid != pid else running

    def affected(self, running: Running) -> list[Running]:
        """Return who is started anew when this one has failed, in order."""
        return _AFFECTED[self._strategy](list(self), running)

    # -- what becomes of it ----------------------------------------------------------

    def plan(self, running: Running, due: float) -> None:
        """Have it started when the monotonic clock says `due`."""
        running.plan(due)
        self._due[running] = None

    def begin(self, running: Running, pid: PID, is_ours: bool) -> None:
        """Note that it runs; see `Running.begin()`."""
        running.begin(pid, is_ours)
        self._due.pop(running, None)
        self._pids[pid] = running
        if running.ready_by is not None:
            self._starting[running] = None

    def note_ready(self, running: Running) -> None:
        """Note that it is ready: those after it may begin."""
        running.ready_by = None
        self._starting.pop(running, None)

    def end(self, running: Running) -> PID | None:
        """Note that it runs no more, and is not to be started; see `Running.end()`."""
        pid = running.end()
        self._due.pop(running, None)
        self._starting.pop(running, None)
        if pid is not None and pid != running.known_as:
            self._pids.pop(pid, None)
        return pid

    @property
    def is_settled(self) -> bool:
        """Whether nobody is still to be started, or to be ready."""
        return not (self._due or self._starting)

    # -- when ------------------------------------------------------------------------

    def startable(self, now: float) -> list[Running]:
        """Return whose time to be started has come, in order."""
        if not self._due:
            return []
        ready = [each for each in self._free() if each.due is not None and each.due <= now]
        return sorted(ready, key=_number)

    def overdue(self, now: float) -> list[Running]:
        """Return who should have been ready by now."""
        return [each for each in self._starting if (each.ready_by or math.inf) <= now]

    def next_time(self) -> float | None:
        """Return when there is something to do next, if nothing happens; `None`: never."""
        times = [each.ready_by for each in self._starting] + [each.due for each in self._free()]
        soonest = min((time for time in times if time is not None), default=math.inf)
        return None if soonest == math.inf else soonest

    def _free(self) -> list[Running]:
        """Return those to be started that nobody before them holds up."""
        if not self._due:
            return []
        holding = (each.number for each in (*self._starting, *self._due) if self._holds(each))
        last = min(holding, default=math.inf)
        return [each for each in self._due if each.number <= last]

    def _holds(self, running: Running) -> bool:
        if running.is_added and self._strategy == "one_for_one":
            return False
        return running.child.waits_ready


def _number(running: Running) -> int:
    return running.number
