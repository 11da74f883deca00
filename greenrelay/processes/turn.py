"""What surrounds the handling of each item that a process takes: an app's context, say."""

from __future__ import annotations

from typing import Protocol


class Turn(Protocol):
    """What surrounds each item: left before a process waits, entered for the next item."""

    def enter(self) -> None:
        """Begin a turn."""

    def leave(self) -> None:
        """End it, and give back what it held."""

    def close(self, error: BaseException | None) -> None:
        """End the last turn: the process ends, by `error` if there is one."""

    def fresh(self) -> Turn:
        """Return the same for another process."""
