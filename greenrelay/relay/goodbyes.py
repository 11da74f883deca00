"""The ways a connection can end: what its monitors, its client and its target are told,
and how long that may take.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from greenrelay.wire import (
    CANCELLED,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NORMAL,
    CLOSE_SERVICE_RESTART,
    CLOSE_TIMEOUT_SECONDS,
    CLOSE_TRY_AGAIN,
    CONNECTION_LOST,
    HARD_TIMEOUT,
    IDLE_TIMEOUT,
    MAX_CLOSE_SECONDS,
    MESSAGE_TOO_BIG,
    NOCONNECTION,
    NORMAL,
    PING_TIMEOUT,
    PROTOCOL_ERROR,
    RATE_LIMITED,
    SHUTDOWN,
    SLOW_CONSUMER,
    TARGET_EXITED,
    TARGET_FAILED,
)


class Goodbye(NamedTuple):
    """One way to end: what monitors are told, and what the client is."""

    exit_reason: str
    code: int
    """Close code, where the protocol has one."""
    text: str


GOODBYES: Final = {
    IDLE_TIMEOUT: Goodbye(IDLE_TIMEOUT, CLOSE_NORMAL, "idle timeout"),
    SLOW_CONSUMER: Goodbye(SLOW_CONSUMER, CLOSE_TRY_AGAIN, "slow consumer"),
    SHUTDOWN: Goodbye(SHUTDOWN, CLOSE_SERVICE_RESTART, "shutdown"),
}

_IN_ORDER: Final = frozenset({NORMAL, CANCELLED, SHUTDOWN})


def target_goodbye(reason: str) -> Goodbye:
    """Return what a connection says when its target has ended for `reason`."""
    if reason in _IN_ORDER:
        return Goodbye(reason, CLOSE_NORMAL, TARGET_EXITED)
    if reason == NOCONNECTION:
        return Goodbye(reason, CLOSE_SERVICE_RESTART, TARGET_FAILED)
    return Goodbye(reason, CLOSE_INTERNAL_ERROR, TARGET_FAILED)


def printable(text: str) -> str:
    """Return a goodbye's text as UTF-8 can carry it: a lone surrogate becomes a `?`."""
    return text.encode("utf-8", "replace").decode()


LOGGED: Final = frozenset({PING_TIMEOUT, IDLE_TIMEOUT, HARD_TIMEOUT, RATE_LIMITED})
"""Exit reasons that are worth a line of their own; what the others have to say is logged
where they are found."""

COUNTED: Final = LOGGED | {CONNECTION_LOST, PROTOCOL_ERROR, MESSAGE_TOO_BIG}
"""Exit reasons that `Node.counts` counts by their name."""

CHECK_SECONDS: Final = 1.0
"""Between two looks at how much has gone out: a goodbye may take so much longer than it should."""


class Patience:
    """How long a goodbye may still take: 5 s from the last progress, 60 s in all.

    Args:
        now: when it begins.
        left: bytes that the peer has not got yet.
    """

    __slots__ = ("_checked_at", "_ends_at", "_left", "_since")

    def __init__(self, now: float, left: int) -> None:
        self._ends_at = now + MAX_CLOSE_SECONDS
        self.renew(now, left)

    def renew(self, now: float, left: int) -> None:
        """Take it as progress that the peer has answered."""
        self._since = self._checked_at = now
        self._left = left

    def next_check(self, now: float, left: int) -> float:
        """Return when to look again; if that is not later than `now`, it has taken too long."""
        is_late = now - self._checked_at > 2 * CHECK_SECONDS  # it was us who stood still
        if left < self._left or is_late:
            self._since = now
        self._checked_at, self._left = now, left
        return min(now + CHECK_SECONDS, self._since + CLOSE_TIMEOUT_SECONDS, self._ends_at)
