"""How a supervisor ends a process, and what it puts off meanwhile.

    cancel ─► so many seconds ─► terminate ─► some more ─► it is left alone, and named in the log

Rule: what else happens while it waits is kept, in order, and not lost.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from greenrelay.logs import log_now
from greenrelay.message import Cancel, Event, Message
from greenrelay.pid import PID
from greenrelay.processes.channel import Channel
from greenrelay.processes.messaging import events, select
from greenrelay.processes.spawning import cancel, info, terminate
from greenrelay.processes.watching import unlink, unmonitor
from greenrelay.wire import SHUTDOWN

log = logging.getLogger("greenrelay.supervisor")


class Stopping:
    """The events of the calling process, some of them put off.

    Args:
        kill_seconds: how long a terminated child's `finally` blocks may take.
    """

    def __init__(self, kill_seconds: float) -> None:
        self._kill_seconds = kill_seconds
        self._events = events()
        self._later: deque[Event] = deque()
        """What has happened while a child was stopped, to be dealt with afterwards."""

    def next_event(self, inbox: Channel[Message], timeout: float | None) -> Event | Message | None:
        """Return what happens next, or has happened; `None` at the time-out. Switches: yes."""
        if self._later:
            return self._later.popleft()
        taken = select(self._events, inbox, timeout=timeout)
        return None if taken is None else taken[1]

    def stop(self, pid: PID, seconds: float | None) -> None:
        """End a child that is linked and monitored, and wait until it has. Switches: yes.

        Args:
            seconds: to go along with `cancel`; 0 terminates it at once, `None` is no limit.
        """
        if seconds != 0:
            cancel(pid, SHUTDOWN)
        if seconds == 0 or not self._has_ended(pid, seconds):
            if seconds:
                text = "%s did not end in %g s, in %s; terminating it"
                log_now(log, logging.WARNING, text, *_where(pid, seconds))
            terminate(pid)
            if not self._has_ended(pid, self._kill_seconds):
                text = "%s has not ended, in %s; it is left alone"
                log_now(log, logging.WARNING, text, *_where(pid))
        self.forget(pid)

    def forget(self, pid: PID) -> None:
        """Have nothing more to do with a child: what else it has caused is no news."""
        unlink(pid)
        unmonitor(pid)
        self._later = deque(event for event in self._later if not _is_end(event, pid))

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


def _where(pid: PID, *between: object) -> tuple[object, ...]:
    """Return a process, and the function in which it is just now."""
    return (pid, *between, (info(pid) or {}).get("function", "?"))


def _is_end(event: Event, pid: PID) -> bool:
    return event.sender == pid and not isinstance(event, Cancel)
