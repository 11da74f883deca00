"""Messages that are sent later, once or again and again.

By hand, because a timer of gevent's is bound to its loop's thread and knows of nobody's end: here
it is cancelled from any thread, and with the process that its message was for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent

from greenrelay.processes.hubthread import HubThread


class Timer:
    """One message that waits for its time.

    Args:
        seconds: from now on.
        fire: called in the hub; must not block.
        forget: called once, when it does not wait any more.
        thread: of the event loop that it waits in; made there, it is cancelled from anywhere.
    """

    __slots__ = ("_fire", "_forget", "_thread", "_watcher")

    def __init__(
        self,
        seconds: float,
        fire: Callable[[], None],
        forget: Callable[[Timer], None],
        thread: HubThread,
    ) -> None:
        self._fire: Callable[[], None] | None = fire
        self._forget = forget
        self._thread = thread
        self._watcher: Any = gevent.get_hub().loop.timer(seconds)
        # Without `update` it counts from the start of the loop's turn, and may run out at once.
        self._watcher.start(self._on_time, update=True)

    def cancel(self) -> bool:
        """Do not send; `False`: it has been sent, or cancelled before."""
        if not self._thread.is_here():
            return self._thread.run(self.cancel)
        if self._fire is None:
            return False
        self._fire = None
        self._watcher.close()
        self._forget(self)
        return True

    @property
    def is_waiting(self) -> bool:
        """Whether it may still be sent."""
        return self._fire is not None

    def _on_time(self) -> None:
        fire = self._fire
        if self.cancel() and fire is not None:
            fire()


class Ticker(Timer):
    """One message that is sent at the same distance again and again, until it is cancelled.

    Each time is counted from the beginning, so that no delay adds up; times that have passed
    while the event loop stood still are left out.

    Args:
        clock: tells the seconds that it goes by.
    """

    __slots__ = ("_began", "_clock", "_count", "_period")

    def __init__(
        self,
        seconds: float,
        fire: Callable[[], None],
        forget: Callable[[Timer], None],
        thread: HubThread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period = seconds
        self._clock = clock
        self._began = clock()
        self._count = 1
        super().__init__(seconds, fire, forget, thread)

    def _on_time(self) -> None:
        if self._fire is not None:
            self._watcher.close()
            self._watcher = gevent.get_hub().loop.timer(self._next())
            self._watcher.start(self._on_time, update=True)
            self._fire()

    def _next(self) -> float:
        """Return the seconds until the next time. The loop may have come a little early to this."""
        passed = self._clock() - self._began
        self._count = max(self._count, int(passed / self._period)) + 1
        return max(0.0, self._count * self._period - passed)


class Timers:
    """The timers of one node, by the PID or name that their message goes to.

    Args:
        thread: the node's.
    """

    def __init__(self, thread: HubThread) -> None:
        self._thread = thread
        self._waiting: dict[str, set[Timer]] = {}

    def start(
        self, seconds: float, dest: str, fire: Callable[[], None], kind: type[Timer] = Timer
    ) -> Timer:
        """Call `fire` in so many seconds, unless `dest` has ended by then.

        Args:
            kind: `Ticker`: and again in as many, until `dest` has ended.
        """
        waiting = self._waiting.setdefault(dest, set())

        def forget(timer: Timer) -> None:
            waiting.discard(timer)
            if not waiting and self._waiting.get(dest) is waiting:
                del self._waiting[dest]

        timer = kind(seconds, fire, forget, self._thread)
        waiting.add(timer)
        return timer

    def remove(self, dest: str) -> None:
        """Cancel what waits for a process that has ended."""
        for timer in tuple(self._waiting.get(dest, ())):
            timer.cancel()

    def clear(self) -> None:
        """Cancel all that wait."""
        for dest in tuple(self._waiting):
            self.remove(dest)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))
