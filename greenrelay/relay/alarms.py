"""What happens on an open connection when nothing else does: heartbeats and time-outs.

    Pings, or a HardTimeout     what only one kind of connection has
    Timetable ─┬─ Heartbeat     while `heartbeat_interval` is on
               └─ IdleTimeout   while `idle_timeout` is on

    alarm.due(connection)        when, by the connection's timer wheel; infinity is never
    alarm.ring(connection, now)  at or after that time: act, and know when to ring next

An alarm acts by the connection's verbs and sets nothing of it. Time is an argument: no clock here.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from greenrelay.relay.bytestream import ByteStream
from greenrelay.relay.config import RelayConfig
from greenrelay.relay.endings import HARD_TIMEOUT, IDLE_TIMEOUT, Ending
from greenrelay.relay.listening import INFINITY, NEVER


class Connection(Protocol):
    """What a session is to its alarms."""

    config: RelayConfig
    opened_at: float
    last_active: float
    transport: ByteStream

    @property
    def is_open(self) -> bool:
        """Whether it is neither opening nor ending."""

    def send_heartbeat(self, uptime: float) -> None:
        """Tell whom it concerns that the connection is there."""

    def close(self, ending: Ending) -> None:
        """Tell the client the end, and wait for it."""


Kind = TypeVar("Kind", contravariant=True)
Rung = TypeVar("Rung", bound=Connection)


class Alarm(Protocol[Kind]):
    """Something that is due at a time, on a connection of some kind."""

    def due(self, connection: Kind) -> float:
        """Return when to ring next; infinity is never."""

    def ring(self, connection: Kind, now: float) -> None:
        """Do what is due."""


def ring_if_due(alarm: Alarm[Rung], connection: Rung, now: float) -> None:
    """Ring, if the time has come and the connection is still open."""
    if connection.is_open and now >= alarm.due(connection):
        alarm.ring(connection, now)


class Heartbeat:
    """A beat each `heartbeat_interval`, in step with the first.

    Args:
        at: when the first one is due.
    """

    __slots__ = ("_at",)

    def __init__(self, at: float) -> None:
        self._at = at

    def due(self, connection: Connection) -> float:
        """Return when the next beat is due."""
        return self._at

    def ring(self, connection: Connection, now: float) -> None:
        """Send a beat."""
        self._at = next_beat(self._at, connection.config.heartbeat_interval, now)
        connection.send_heartbeat(now - connection.opened_at)


class IdleTimeout:
    """The end of a connection that nothing has passed for `idle_timeout`.

    Args:
        since: before that time nobody has looked.
    """

    __slots__ = ("_listening", "_since")

    def __init__(self, since: float) -> None:
        self._since = since
        self._listening = NEVER

    def due(self, connection: Connection) -> float:
        """Return when to look whether the connection is idle."""
        sign = max(self._since, connection.last_active)
        return self._listening.due(sign, sign + connection.config.idle_timeout)

    def ring(self, connection: Connection, now: float) -> None:
        """Close the connection, if it has been idle and we have listened."""
        if not connection.transport.is_reading:
            self._since = now  # it is us who do not listen
            return
        sign = max(self._since, connection.last_active)
        listening = self._listening.renew(sign, sign + connection.config.idle_timeout, now)
        if listening is None:
            connection.close(IDLE_TIMEOUT)
        else:
            self._listening = listening


class HardTimeout:
    """The end of an event stream `hard_timeout` after its beginning, whatever passes."""

    __slots__ = ()

    def due(self, connection: Connection) -> float:
        """Return when the time is up."""
        limit = connection.config.hard_timeout
        return connection.opened_at + limit if limit else INFINITY

    def ring(self, connection: Connection, now: float) -> None:
        """Close the stream."""
        connection.close(HARD_TIMEOUT)


class Timetable:
    """The alarms that a configuration switches on and off: heartbeat and idle time-out.

    An alarm itself. It does not change, and connections that have neither share one.
    """

    __slots__ = ("_heartbeat", "_idle")

    def __init__(self, heartbeat: Heartbeat | None, idle: IdleTimeout | None) -> None:
        self._heartbeat = heartbeat
        self._idle = idle

    @staticmethod
    def begin(config: RelayConfig, now: float) -> Timetable:
        """Return the timetable of a connection that begins."""
        return _timetable(_heartbeat(config, now), _idle_timeout(config, now))

    def adapted(self, before: RelayConfig, config: RelayConfig, now: float) -> Timetable:
        """Return it for another configuration: an interval that has changed begins anew."""
        heartbeat, idle = self._heartbeat, self._idle
        if config.heartbeat_interval != before.heartbeat_interval:
            heartbeat = _heartbeat(config, now)
        if not config.idle_timeout or idle is None:
            idle = _idle_timeout(config, now)
        return _timetable(heartbeat, idle)

    def due(self, connection: Connection) -> float:
        """Return when one of them is due; infinity is never."""
        due = INFINITY if self._heartbeat is None else self._heartbeat.due(connection)
        return due if self._idle is None else min(due, self._idle.due(connection))

    def ring(self, connection: Connection, now: float) -> None:
        """Do what is due."""
        if self._heartbeat is not None:
            ring_if_due(self._heartbeat, connection, now)
        if self._idle is not None:
            ring_if_due(self._idle, connection, now)


_NOTHING_ON: Final = Timetable(None, None)


def _timetable(heartbeat: Heartbeat | None, idle: IdleTimeout | None) -> Timetable:
    return Timetable(heartbeat, idle) if heartbeat or idle else _NOTHING_ON


def _idle_timeout(config: RelayConfig, now: float) -> IdleTimeout | None:
    return IdleTimeout(now) if config.idle_timeout else None


def _heartbeat(config: RelayConfig, now: float) -> Heartbeat | None:
    interval = config.heartbeat_interval
    return Heartbeat(now + interval) if interval else None


def next_beat(due: float, interval: float, now: float) -> float:
    """Return the first time after `now` in step with `due`; what a stall swallowed is gone."""
    return due + interval * (int((now - due) / interval) + 1)
