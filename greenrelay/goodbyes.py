"""The ways a connection can end: what its monitors, its client and its target are told."""

from __future__ import annotations

from typing import Final, NamedTuple

from greenrelay.wire import (
    CLOSE_NORMAL,
    CLOSE_SERVICE_RESTART,
    CLOSE_TRY_AGAIN,
    IDLE_TIMEOUT,
    NOCONNECTION,
    NORMAL,
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
    NORMAL: Goodbye(NORMAL, CLOSE_NORMAL, TARGET_EXITED),
    NOCONNECTION: Goodbye(NOCONNECTION, CLOSE_SERVICE_RESTART, TARGET_FAILED),
    IDLE_TIMEOUT: Goodbye(IDLE_TIMEOUT, CLOSE_NORMAL, "idle timeout"),
    SLOW_CONSUMER: Goodbye(SLOW_CONSUMER, CLOSE_TRY_AGAIN, "slow consumer"),
    SHUTDOWN: Goodbye(SHUTDOWN, CLOSE_SERVICE_RESTART, "shutdown"),
}
