"""Whether a WebSocket's client is still there: it is pinged, and answers or is given up.

Any byte is a sign of life. Who has been asked for one and has been silent for two intervals is
gone, if we have listened; see `listening`. A pong that we have asked for is no message of the
client's own, and does not count towards its rate.
"""

from __future__ import annotations

from typing import Protocol

from greenrelay.protocol.frames import OP_PING, encode_frame
from greenrelay.relay.alarms import next_beat
from greenrelay.relay.bytestream import ByteStream
from greenrelay.relay.config import RelayConfig
from greenrelay.relay.endings import PING_TIMEOUT, Ending
from greenrelay.relay.listening import INFINITY, NEVER
from greenrelay.wire import PING_INTERVALS_UNTIL_GONE


class Pinged(Protocol):
    """What a WebSocket's session is to its pings."""

    config: RelayConfig
    last_seen: float
    transport: ByteStream

    def fail(self, ending: Ending) -> None:
        """Tell the client the end, and do not wait for it."""

    def finish(self) -> None:
        """Close the socket."""


class Pings:
    """The pings of one connection, an alarm; off when `ping_interval` is.

    Args:
        at: when the first one is due.
    """

    __slots__ = ("_asked_at", "_at", "_listening", "_pongs_due")

    def __init__(self, at: float) -> None:
        self._at = at
        self._asked_at = 0.0
        """When the first ping was sent since the client was last heard of, if that is later."""
        self._pongs_due = 0
        """Pongs that we have asked for."""
        self._listening = NEVER

    def restart(self, at: float) -> None:
        """Ping at that time next, as if nobody had been asked until then."""
        self._at, self._asked_at = at, 0.0

    def take_pong(self) -> bool:
        """Take a pong; `False`: nobody has asked for it."""
        if self._pongs_due:
            self._pongs_due -= 1
            return True
        return False

    def due(self, connection: Pinged) -> float:
        """Return when to ping, or to look whether the client has answered."""
        if not connection.config.ping_interval:
            return INFINITY
        if self._asked_at <= connection.last_seen:
            return self._at
        return min(self._at, self._listening.due(self._asked_at, self._gone_at(connection)))

    def ring(self, connection: Pinged, now: float) -> None:
        """Ping, or give up a client that does not answer."""
        if self._is_gone(connection, now):
            connection.fail(PING_TIMEOUT)
            connection.finish()
        elif now >= self._at:
            self._at = next_beat(self._at, connection.config.ping_interval, now)
            if self._asked_at <= connection.last_seen:
                self._asked_at = now
            self._pongs_due += 1
            # Past the session's write(): a ping is no activity that keeps an idle connection.
            connection.transport.write(encode_frame(OP_PING, b""), True)

    def _gone_at(self, connection: Pinged) -> float:
        """Return when the client, who has been asked, will have been silent for too long."""
        interval, seen = connection.config.ping_interval, connection.last_seen
        return max(seen + interval * PING_INTERVALS_UNTIL_GONE, self._asked_at + interval)

    def _is_gone(self, connection: Pinged, now: float) -> bool:
        asked_at, gone_at = self._asked_at, self._gone_at(connection)
        if asked_at <= connection.last_seen or now < self._listening.due(asked_at, gone_at):
            return False
        if not connection.transport.is_reading:
            self._asked_at = now  # it is us who do not listen: the question stands
            return False
        listening = self._listening.renew(asked_at, gone_at, now)
        if listening is not None:
            self._listening = listening
        return listening is None
