"""Supervisors: processes that start others, and start them again when they end.

    pid = process.Supervisor([ticker, "app.jobs:worker"], strategy="one_for_one").start()

Which children are started anew when one has ended is one table (`_AFFECTED`). Too many
restarts in too short a time, and the supervisor gives up: it ends its children in
reverse order and itself with reason `shutdown`, for its own supervisor to deal with.
It ends with the process that has started and linked it, and with nobody else.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NoReturn

from greenrelay.logs import log_now
from greenrelay.message import Cancel, Event, Exit, LinkDown, Message
from greenrelay.pid import PID
from greenrelay.processes.children import Child, Restarts, Running, is_number
from greenrelay.processes.current import current_node, require_process, spawn_place
from greenrelay.processes.endings import ProcessExit
from greenrelay.processes.messaging import events, inbox, select
from greenrelay.processes.spawning import Options, cancel, info, spawn, spawn_in, terminate
from greenrelay.processes.watching import monitor, trap_links, unlink, unmonitor
from greenrelay.wire import NOPROC, NORMAL, SHUTDOWN

log = logging.getLogger("greenrelay.supervisor")

KILL_SECONDS: Final = 5.0
"""How long a terminated child's `finally` blocks may take before it is left alone."""
MAX_SHOWN: Final = 5
"""So many of its children are named where a supervisor is: a line of the log has an end."""

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

# Which children are ended and started anew, by strategy: those from `first` on, up to `last`.
_AFFECTED: Final[dict[Strategy, Callable[[int, int], range]]] = {
    "one_for_one": lambda index, count: range(index, index + 1),
    "one_for_all": lambda index, count: range(count),
    "rest_for_one": lambda index, count: range(index, count),
}


class Supervisor:
    """Keep children running; call it in a process, or `start()` it as one.

    Args:
        children: callables, `"package.module:function"` texts, or `Child`ren, in the order
            in which they are started. A supervisor among them has no limit for its end.
        strategy: when one child has ended, `one_for_one` starts that one again,
            `one_for_all` all of them, `rest_for_one` it and those after it.
        max_restarts: so many restarts …
        within: … in so many seconds are borne; one more and the supervisor gives up.

    Raises:
        ValueError, TypeError: a child or the strategy is malformed.
    """

    kill_seconds = KILL_SECONDS

    def __init__(
        self,
        children: Iterable[Callable[..., Any] | str | Child],
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        within: float = 5.0,
    ) -> None:
        if strategy not in _AFFECTED:
            raise ValueError(f"strategy is one of {', '.join(_AFFECTED)}, got {strategy!r}")
        if isinstance(children, (str, Child)) or callable(children):
            raise TypeError(f"Supervisor() takes a list of children: [{children}]")
        if not (
            isinstance(max_restarts, int) and max_restarts >= 0 and is_number(within, least=1e-9)
        ):
            raise ValueError(
                "a supervisor takes max_restarts, 0 or more, within seconds, more than 0, "
                f"got {max_restarts!r} and {within!r}"
            )
        self.children = tuple(_as_child(child) for child in children)
        names = [child.name for child in self.children if child.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two children have the name {name!r}; one would never start")
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.within = within

    def __repr__(self) -> str:
        shown = [str(child) for child in self.children[:MAX_SHOWN]]
        if len(self.children) > MAX_SHOWN:
            shown.append("…")
        return f"<Supervisor {self.strategy}: {', '.join(shown) or 'no children'}>"

    def start(self, name: str | None = None, link: bool = False) -> PID:
        """Start a process that supervises, and return its PID.

        Args:
            name: registered for the supervisor.
            link: link it with the calling process: it ends when that one does, whatever
                the reason.
        """
        return spawn(self, name=name, link=link)

    def __call__(self) -> NoReturn:
        """Supervise in the calling process, until it is cancelled or gives up."""
        _Supervision(self).run()


class _Supervision:
    """One life of a supervisor."""

    def __init__(self, plan: Supervisor) -> None:
        self._plan = plan
        self._process = require_process("Supervisor()()")
        self._starter: PID | None = self._process.starter
        self._has_warned = False
        self._running = [Running(child) for child in plan.children]
        self._restarts = Restarts(plan.within)
        self._events = events()
        self._later: deque[Event] = deque()
        """What has happened while children were stopped, to be dealt with afterwards."""

    def run(self) -> NoReturn:
        """Start the children, and deal with what happens; ends by `ProcessExit` only."""
        trap_links()
        if self._starter is not None:
            monitor(self._starter)
        try:
            while True:
                self._start_due()
                event = self._wait()
                if event is not None:
                    self._handle(event)
        except ProcessExit as exit:
            self._stop_children(range(len(self._running)))
            raise exit

    # -- starting ----------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.due is not None and running.due <= now:
                self._start(running)

    def _start(self, running: Running) -> None:
        child = running.child
        holder = current_node().registry.lookup(child.name) if child.name else None
        if holder is not None:
            running.begin(holder, is_ours=False)
            monitor(holder)
            return
        options = Options(name=child.name, link=True, monitor=True)
        call = child.target, child.args, child.kwargs
        pid, is_ours = spawn_in(*spawn_place(), call, options)
        running.begin(pid, is_ours)
        if not is_ours:  # somebody has taken the name meanwhile, on another node perhaps
            unlink(pid)

    def _wait(self) -> Event | None:
        if self._later:
            return self._later.popleft()
        due = [running.due for running in self._running if running.due is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        taken = select(self._events, inbox(), timeout=timeout)
        if taken is None:
            return None
        item: Event | Message = taken[1]
        if not isinstance(item, Message):
            return item
        if not self._has_warned:
            self._has_warned = True
            log_now(log, logging.WARNING,
                "supervisor %s drops %r from %s, and whatever else is sent to it: send to its "
                "children, by their names", self._process.pid, item.topic, item.sender,
            )  # fmt: skip
        return None

    # -- what happens --------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if isinstance(event, Cancel):
            raise ProcessExit(SHUTDOWN)
        if event.sender == self._starter:
            self._on_starter_exit(event)
        if isinstance(event, LinkDown):
            return  # of somebody who has linked himself: only its starter takes it along
        index = self._index(event.sender)
        if index is not None:
            self._on_child_exit(index, event)

    def _on_starter_exit(self, event: Exit | LinkDown) -> None:
        self._starter = None
        if self._process.starter is None:
            return  # it has unlinked itself
        # Had it failed before the supervisor's first step, the link would have taken it along.
        raise ProcessExit(NORMAL if event.reason == NOPROC else event.reason)

    def _index(self, pid: PID) -> int | None:
        for index, running in enumerate(self._running):
            if running.pid == pid:
                return index
        return None

    def _on_child_exit(self, index: int, exit: Exit) -> None:
        running = self._running[index]
        running.end()
        if not running.is_ours:
            running.plan(0.0)  # the name is free: no restart, a first start
            return
        self._forget(exit.sender)
        if not running.child.is_restarted_after(exit.reason):
            text = "child %s ended: %s; it is not restarted"
            log_now(log, logging.INFO, text, running.child, exit.reason)
            return
        self._note_restart(running.child, exit)
        affected = _AFFECTED[self._plan.strategy](index, len(self._running))
        self._stop_children(affected)
        due = time.monotonic() + self._restarts.back_off()
        for each in affected:
            if self._running[each].child.restart != "temporary":
                self._running[each].plan(due)

    def _note_restart(self, child: Child, exit: Exit) -> None:
        plan = self._plan
        self._restarts.note()
        count = len(self._restarts)
        what = f"child {child} ended: {exit.reason}"
        if count > plan.max_restarts:
            text = "%s; %d ends in %g s are too many, giving up"
            log_now(log, logging.ERROR, text, what, count, plan.within)
            raise ProcessExit(SHUTDOWN)
        text = "%s; restart %d of %d in %g s"
        log_now(log, logging.WARNING, text, what, count, plan.max_restarts, plan.within)

    # -- stopping ------------------------------------------------------------------

    def _stop_children(self, indices: range) -> None:
        """End children in reverse order, each before the next is asked."""
        for index in reversed(indices):
            running = self._running[index]
            pid = running.end()
            if pid is not None and running.is_ours:
                self._stop(pid, running.child.shutdown)
            elif pid is not None:
                unmonitor(pid)

    def _stop(self, pid: PID, seconds: float | None) -> None:
        if seconds != 0:
            cancel(pid, SHUTDOWN)
        if seconds == 0 or not self._has_ended(pid, seconds):
            if seconds:
                text = "%s did not end in %g s, in %s; terminating it"
                log_now(log, logging.WARNING, text, *_where(pid, seconds))
            terminate(pid)
            if not self._has_ended(pid, self._plan.kill_seconds):
                text = "%s has not ended, in %s; it is left alone"
                log_now(log, logging.WARNING, text, *_where(pid))
        self._forget(pid)

    def _has_ended(self, pid: PID, seconds: float | None) -> bool:
        """Wait for a child's Exit; what else happens is kept for later."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not any(_is_end(event, pid) for event in self._later):
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            taken = select(self._events, timeout=timeout)
            if taken is None:
                return False
            self._later.append(taken[1])
        return True

    def _forget(self, pid: PID) -> None:
        """Have nothing more to do with a child: what else it has caused is no news."""
        unlink(pid)
        unmonitor(pid)
        self._later = deque(event for event in self._later if not _is_end(event, pid))


def _as_child(child: Callable[..., Any] | str | Child) -> Child:
    if isinstance(child, Child):
        return child
    return Child(child, shutdown=None) if isinstance(child, Supervisor) else Child(child)


def _where(pid: PID, *between: object) -> tuple[object, ...]:
    """Return a process, and the function in which it is just now."""
    return (pid, *between, (info(pid) or {}).get("function", "?"))


def _is_end(event: Event, pid: PID) -> bool:
    return event.sender == pid and not isinstance(event, Cancel)
