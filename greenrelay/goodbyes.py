"""The ways a connection can end: what its monitors, its client and its target are told."""

from __future__ import annotations

from typing import Final, NamedTuple

from greenrelay.wire import (
    CANCELLED,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NORMAL,
    CLOSE_SERVICE_RESTART,
    CLOSE_TRY_AGAIN,
    CONNECTION_LOST,
    HARD_TIMEOUT,
    IDLE_TIMEOUT,
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
