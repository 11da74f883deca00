"""Messages that are sent later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent


class Timer:
    """One message that waits for its time.

    Args:
        seconds: from now on.
        fire: called in the hub; must not block.
    """

    __slots__ = ("_fire", "_watcher")

    def __init__(self, seconds: float, fire: Callable[[], None]) -> None:
        self._fire: Callable[[], None] | None = fire
        self._watcher: Any = gevent.get_hub().loop.timer(seconds, ref=False)
        self._watcher.start(self._on_time)

    def cancel(self) -> bool:
        """Do not send; `False`: it has been sent, or cancelled before."""
        is_in_time = self._fire is not None
        self._fire = None
        self._watcher.close()
        return is_in_time

    @property
    def is_waiting(self) -> bool:
        """Whether it may still be sent."""
        return self._fire is not None

    def _on_time(self) -> None:
        fire = self._fire
        self.cancel()
        if fire is not None:
            fire()
