"""The last stretch of a connection: it has been told its end, or has ended, and is waited for.

    Farewell ─┬─ ending, reason   how it ends for everybody, when the client has answered or has not
              └─ Patience         how long the client may take for that, and for its last bytes

It acts by the connection's verbs and sets nothing of it. Time is an argument: no clock here.
"""

from __future__ import annotations

from typing import Protocol

from greenrelay.relay.bytestream import ByteStream
from greenrelay.relay.endings import Ending
from greenrelay.relay.patience import Patience


class Leaver(Protocol):
    """What a session is to its farewell."""

    transport: ByteStream

    def wake_at(self, at: float) -> None:
        """Have the farewell asked again at that time."""

    def end(self, ending: Ending, reason: str) -> None:
        """Leave the target and the node's table; again is no error."""

    def finish(self) -> None:
        """Close the socket."""


class Farewell:
    """How one connection ends, and the time that its client still has.

    Args:
        ending: the end that the client has been told.
        reason: for the target's leave.
    """

    __slots__ = ("_patience", "ending", "reason")

    def __init__(self, ending: Ending, reason: str) -> None:
        self.ending, self.reason = ending, reason
        self._patience: Patience | None = None

    def wait(self, connection: Leaver, now: float) -> None:
        """Let the client take what it is sent; when its time is up, close the socket."""
        left = connection.transport.undelivered
        if self._patience is None:
            self._patience = Patience(now, left)
        due = self._patience.next_check(now, left)
        if due > now:
            connection.wake_at(due)
            return
        connection.end(self.ending, self.reason)
        connection.finish()

    def wait_anew(self, connection: Leaver, now: float) -> None:
        """Do the same when the client has answered, which is progress."""
        if self._patience is not None:
            self._patience.renew(now, connection.transport.undelivered)
        self.wait(connection, now)
