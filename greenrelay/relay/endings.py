"""Every way a connection can end, in one table.

    how it ends ─► Ending ─┬─ exit_reason ─► its monitors and links
                           ├─ code, text  ─► the client: a close frame, or the event `done`
                           └─ code        ─► the target's leave, beside a reason

Where a row and its exit reason have one name, the reason is written `wire.NAME`.

Two rules: no connection ends in a way that is not a row here; whether an end is logged and
counted depends on its exit reason alone. What a row can't know is given by whoever ends the
connection, with `_replace()` or `because()`: its comment says what that is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from greenrelay import wire
from greenrelay.errors import ProtocolError
from greenrelay.wire import (
    CLOSE_ABNORMAL,
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NO_STATUS,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_SERVICE_RESTART,
    CLOSE_TOO_BIG,
    CLOSE_TRY_AGAIN,
    TARGET_EXITED,
    TARGET_FAILED,
)


class Ending(NamedTuple):
    """One way to end."""

    exit_reason: str
    """What monitors and links are told."""
    code: int
    """What the client is told, where the protocol has close codes, and the target."""
    text: str = ""
    """What the client is told beside it."""
    is_logged: bool = False
    """Whether it has a line of its own; what the others have to say is logged where it is found."""
    is_counted: bool = False
    """Whether `Node.counts` counts it, by its exit reason."""

    def because(self, reason: str) -> Ending:
        """Return the same with another exit reason, logged and counted as that one's row is."""
        return Ending(reason, self.code, self.text, reason in _LOGGED, reason in _COUNTED)


# -- the client ends it: its own code; nothing is said, or its code is said back -----------------
CLIENT_CLOSED: Final = Ending(wire.NORMAL, CLOSE_NO_STATUS)
CLIENT_FAILED: Final = Ending(wire.CONNECTION_LOST, CLOSE_NO_STATUS, is_counted=True)
CLIENT_GONE: Final = Ending(wire.CONNECTION_LOST, CLOSE_ABNORMAL, is_counted=True)

# -- the client is at fault ------------------------------------------------------------------------
RULE_BROKEN: Final = Ending(
    wire.PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR, is_counted=True
)  # code and text
TOO_BIG: Final = Ending(wire.MESSAGE_TOO_BIG, CLOSE_TOO_BIG, is_counted=True)  # text
RATE_LIMITED: Final = Ending(wire.RATE_LIMITED, CLOSE_POLICY, "rate limited", True, True)
SLOW_CONSUMER: Final = Ending(wire.SLOW_CONSUMER, CLOSE_TRY_AGAIN, "slow consumer")

# -- time is up ------------------------------------------------------------------------------------
PING_TIMEOUT: Final = Ending(wire.PING_TIMEOUT, CLOSE_INTERNAL_ERROR, "ping timeout", True, True)
IDLE_TIMEOUT: Final = Ending(wire.IDLE_TIMEOUT, CLOSE_NORMAL, "idle timeout", True, True)
HARD_TIMEOUT: Final = Ending(wire.HARD_TIMEOUT, CLOSE_NORMAL, "hard timeout", True, True)

# -- somebody asks for it --------------------------------------------------------------------------
CLOSED_BY_SERVER: Final = Ending(wire.NORMAL, CLOSE_NORMAL)  # code and text
ASKED: Final = Ending(wire.CANCELLED, CLOSE_GOING_AWAY)  # text
STOPPED: Final = Ending(wire.SHUTDOWN, CLOSE_SERVICE_RESTART, "shutdown")
TERMINATED: Final = Ending(wire.KILLED, CLOSE_ABNORMAL)  # exit reason; the client is told nothing

# -- another process ends: its own exit reason -----------------------------------------------------
LINK_FAILED: Final = Ending(wire.KILLED, CLOSE_INTERNAL_ERROR, "linked process failed")
TARGET_DONE: Final = Ending(wire.NORMAL, CLOSE_NORMAL, TARGET_EXITED)
TARGET_BROKEN: Final = Ending(wire.KILLED, CLOSE_INTERNAL_ERROR, TARGET_FAILED)
TARGET_LOST: Final = Ending(wire.NOCONNECTION, CLOSE_SERVICE_RESTART, TARGET_FAILED)

TABLE: Final = {
    "CLIENT_CLOSED": CLIENT_CLOSED,
    "CLIENT_FAILED": CLIENT_FAILED,
    "CLIENT_GONE": CLIENT_GONE,
    "RULE_BROKEN": RULE_BROKEN,
    "TOO_BIG": TOO_BIG,
    "RATE_LIMITED": RATE_LIMITED,
    "SLOW_CONSUMER": SLOW_CONSUMER,
    "PING_TIMEOUT": PING_TIMEOUT,
    "IDLE_TIMEOUT": IDLE_TIMEOUT,
    "HARD_TIMEOUT": HARD_TIMEOUT,
    "CLOSED_BY_SERVER": CLOSED_BY_SERVER,
    "ASKED": ASKED,
    "STOPPED": STOPPED,
    "TERMINATED": TERMINATED,
    "LINK_FAILED": LINK_FAILED,
    "TARGET_DONE": TARGET_DONE,
    "TARGET_BROKEN": TARGET_BROKEN,
    "TARGET_LOST": TARGET_LOST,
}
"""Every row by its name."""
_LOGGED: Final = frozenset(row.exit_reason for row in TABLE.values() if row.is_logged)
_COUNTED: Final = frozenset(row.exit_reason for row in TABLE.values() if row.is_counted)

_IN_ORDER: Final = frozenset({wire.NORMAL, wire.CANCELLED, wire.SHUTDOWN})
_CLIENTS_NORMAL_CODES: Final = frozenset({CLOSE_NORMAL, CLOSE_GOING_AWAY, CLOSE_NO_STATUS})
"""1005 is a browser's `close()`."""


def target_ended(reason: str, is_leaving: bool = False) -> Ending:
    """Return how a connection ends whose target has ended for `reason`.

    Args:
        is_leaving: whether the target's node is another one that stops: whatever its processes
            make of that, the client is to come again.
    """
    if is_leaving and reason != wire.NOCONNECTION:
        return STOPPED.because(reason)
    if reason in _IN_ORDER:
        return TARGET_DONE.because(reason)
    return (TARGET_LOST if reason == wire.NOCONNECTION else TARGET_BROKEN).because(reason)


def client_closed(code: int) -> Ending:
    """Return how a connection ends whose client has closed with `code`."""
    row = CLIENT_CLOSED if code in _CLIENTS_NORMAL_CODES else CLIENT_FAILED
    return row._replace(code=code)


def client_erred(error: ProtocolError) -> Ending:
    """Return how a connection ends whose client has broken a rule of the protocol."""
    row = TOO_BIG if error.close_code == CLOSE_TOO_BIG else RULE_BROKEN
    return row._replace(code=error.close_code, text=error.reason)


def printable(text: str) -> str:
    """Return an ending's text as UTF-8 can carry it: a lone surrogate becomes a `?`."""
    return text.encode("utf-8", "replace").decode()
