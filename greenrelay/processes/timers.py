"""Messages that are sent later.

By hand, because a timer of gevent's is bound to its loop's thread and knows of nobody's end: here
it is cancelled from any thread, and with the process that its message was for.
"""

from __future__ import annotations

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


class Timers:
    """The timers of one node, by the PID or name that their message goes to.

    Args:
        thread: the node's.
    """

    def __init__(self, thread: HubThread) -> None:
        self._thread = thread
        self._waiting: dict[str, set[Timer]] = {}

    def start(self, seconds: float, dest: str, fire: Callable[[], None]) -> Timer:
        """Call `fire` in so many seconds, unless `dest` has ended by then."""
        waiting = self._waiting.setdefault(dest, set())

        def forget(timer: Timer) -> None:
            waiting.discard(timer)
            if not waiting and self._waiting.get(dest) is waiting:
                del self._waiting[dest]

        timer = Timer(seconds, fire, forget, self._thread)
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
