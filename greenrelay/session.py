"""What both relays share: a connection that is a process, from join to leave.

    OPENING ─ begin() ─► OPEN ─ close() ─► CLOSING ─┐
                          │                          ├─► LINGERING ─► CLOSED
                          └─ end() ──────────────────┘
    OPENING    known to everybody, nothing on the wire yet
    CLOSING    we said goodbye and wait for the peer's
    LINGERING  ended for everybody; the last bytes are still on their way
    CLOSED     the socket is gone

Join is the first and leave the last message its target gets. Two rules: no method
blocks, switches or raises; what is due later is due through the one timer wheel.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from typing import Any

import simplejson

from greenrelay.config import RelayConfig, parse_fields
from greenrelay.entity import Entity
from greenrelay.errors import ConfigurationError
from greenrelay.message import Exit, LinkDown, Message, MonitorRef
from greenrelay.node import Node
from greenrelay.pid import PID
from greenrelay.transport import Transport
from greenrelay.wheel import TimerWheel
from greenrelay.wire import (
    CLOSE_ABNORMAL,
    CLOSE_NORMAL,
    CLOSE_TIMEOUT_SECONDS,
    CONNECTION_LOST,
    KILLED,
    NORMAL,
    TRANSFERRED,
)


class State(enum.IntEnum):
    """Where a connection stands; it only ever moves down this list."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    LINGERING = 3
    CLOSED = 4


class Session:
    """One connection: an entity of a node on one side, a transport's receiver on the other.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        host: what stands before the `@` of its PID.
    """

    __slots__ = (
        "_monitor",
        "_target",
        "config",
        "heartbeat_due",
        "last_active",
        "message_count",
        "messages_out",
        "node",
        "opened_at",
        "pid",
        "state",
        "transport",
        "wheel",
        "wheel_tick",
    )

    transport: Transport

    # The subclass's topics.
    JOIN: str
    LEAVE: str
    HEARTBEAT: str

    def __init__(self, node: Node, wheel: TimerWheel, config: RelayConfig, host: str) -> None:
        self.pid: PID = node.make_pid(host)
        self.node = node
        self.wheel = wheel
        self.config = config
        self.state = State.OPENING
        self.wheel_tick = 0
        self.opened_at = self.last_active = wheel.clock()
        self.heartbeat_due = self.opened_at + config.heartbeat_interval
        self.message_count = 0
        """Client messages so far."""
        self.messages_out = 0
        """Messages to the client so far."""
        self._target: Entity | None = None
        self._monitor: MonitorRef | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.state.name}>"

    # -- beginning ---------------------------------------------------------------

    def join(self) -> None:
        """Enter the node's table and tell the target; the wire comes later, with `begin()`."""
        self.node.add(self)
        target = self.node.find(self.config.target_pid)
        if target is not None:
            self._attach(target)

    def begin(self, early: bytes) -> None:
        """Send the response head and what has gathered behind it, then read.

        Args:
            early: what the server has already read of the client's bytes.
        """
        if self.state is State.OPENING:
            self.state = State.OPEN
            self.reschedule()
        self.transport.start(early)

    def info(self) -> dict[str, Any]:
        """Return what it knows about itself; see `process.info()`."""
        return {
            "uptime": self.wheel.clock() - self.opened_at,
            "target": self._target.pid if self._target is not None else None,
            "state": self.state.name.lower(),
            "unsent": self.transport.unsent,
            "messages_in": self.message_count,
            "messages_out": self.messages_out,
            "remote_address": self.transport.remote_address,
        }

    # -- the target --------------------------------------------------------------

    def _attach(self, target: Entity) -> None:
        self._target = target
        self._monitor = self.node.monitor(self, target.pid)
        target.deliver(
            Message(self.JOIN, {"client_pid": self.pid, "metadata": self.config.metadata}, self.pid)
        )

    def _detach(self, reason: str, code: int) -> None:
        target, self._target = self._target, None
        if self._monitor is not None:
            self.node.topology.unmonitor(self._monitor)
            self._monitor = None
        if target is not None:
            self._forget_drained(target)
            target.deliver(
                Message(
                    self.LEAVE,
                    {
                        "client_pid": self.pid,
                        "reason": reason,
                        "code": code,
                        "metadata": self.config.metadata,
                    },
                    self.pid,
                )
            )

    def is_choked(self) -> bool:
        """Tell whether the target has enough to do; reading resumes when it has drained."""
        target = self._target
        if target is None or not target.is_full or self.state is not State.OPEN:
            return False  # in CLOSING, the client's close frame must get through
        mailbox = getattr(target, "mailbox", None)
        if mailbox is not None:
            mailbox.on_drained(self.pid, self.transport.resume)
        return True

    def _forget_drained(self, target: Entity) -> None:
        mailbox = getattr(target, "mailbox", None)
        if mailbox is not None:
            mailbox.forget_drained(self.pid)
            self.transport.resume()

    # -- control -----------------------------------------------------------------

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection, wholly or not at all.

        Args:
            payload: fields of the relay header, as a mapping or its JSON text.

        Raises:
            ConfigurationError: a field is unknown or malformed, or the new target is dead.
        """
        if isinstance(payload, (str, bytes)):
            try:
                payload = simplejson.loads(payload)
            except ValueError as error:
                raise ConfigurationError(f"ws.control is no JSON: {error}") from None
        if not isinstance(payload, dict):
            raise ConfigurationError(f"ws.control takes a mapping of fields, got {payload!r}")
        config = dataclasses.replace(self.config, **parse_fields(payload))
        if config.target_pid != self.config.target_pid:
            target = self.node.find(config.target_pid)
            if target is None:
                raise ConfigurationError(f"the new target {config.target_pid} is not alive")
            self._detach(TRANSFERRED, CLOSE_NORMAL)
            self.config = config
            self._attach(target)
        self.config = config
        self.heartbeat_due = self.wheel.clock() + config.heartbeat_interval
        self.reschedule()

    # -- time ----------------------------------------------------------------------

    def next_due(self) -> float:
        """Return when `on_timer` has something to do next; infinity is never."""
        due = float("inf")
        if self.config.heartbeat_interval:
            due = self.heartbeat_due
        if self.config.idle_timeout:
            due = min(due, self.last_active + self.config.idle_timeout)
        return due

    def reschedule(self) -> None:
        """Be told when the next thing is due."""
        due = self.next_due()
        if due == float("inf"):
            self.wheel.cancel(self)
        else:
            self.wheel.schedule(self, due)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        if self.state is State.OPEN:
            self.tick(now)
        elif self.state is State.CLOSING:
            self.end(*self.farewell())
            self.finish()
        elif self.state is State.LINGERING:
            self.finish()
        if self.state is State.OPEN:
            self.reschedule()

    def tick(self, now: float) -> None:
        """Do what is due on an open connection."""
        if self.config.heartbeat_interval and now >= self.heartbeat_due:
            interval = self.config.heartbeat_interval
            self.heartbeat_due = next_beat(self.heartbeat_due, interval, now)
            self._send_heartbeat(now)
        if self.config.idle_timeout and now >= self.last_active + self.config.idle_timeout:
            self.on_idle()

    def _send_heartbeat(self, now: float) -> None:
        if self._target is not None:
            self._target.deliver(
                Message(
                    self.HEARTBEAT,
                    {
                        "client_pid": self.pid,
                        "uptime": now - self.opened_at,
                        "message_count": self.message_count,
                        "metadata": self.config.metadata,
                    },
                    self.pid,
                )
            )

    # -- ending ----------------------------------------------------------------------

    def end(self, exit_reason: str, reason: str, code: int) -> None:
        """Leave the target and the node's table; the transport may still have to be flushed.

        Args:
            exit_reason: for monitors and links.
            reason: for the target's leave.
            code: for the target's leave: the close code.
        """
        if self.state >= State.LINGERING:
            return
        self.state = State.LINGERING
        self._detach(reason, code)
        self.node.end(self, Exit(self.pid, exit_reason, time.time()))
        self.wheel.schedule(self, self.wheel.clock() + CLOSE_TIMEOUT_SECONDS)

    def finish(self) -> None:
        """Close the socket."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.wheel.cancel(self)
            self.transport.close()

    def kill(self, reason: str = KILLED) -> None:
        """End with `reason`, the socket at once."""
        self.end(reason, reason, CLOSE_ABNORMAL)
        self.finish()

    def on_eof(self) -> None:
        """The peer is gone."""
        if self.state is State.CLOSING:
            self.end(*self.farewell())
        self.end(CONNECTION_LOST, CONNECTION_LOST, CLOSE_ABNORMAL)
        self.finish()

    def on_link_down(self, news: LinkDown) -> None:
        """A linked process has ended abnormally."""
        if self.state < State.LINGERING:
            self.on_linked_death(news.reason)

    def on_exit(self, exit: Exit) -> None:
        """The target has ended."""
        self._monitor = None
        if self._target is not None and exit.sender == self._target.pid:
            self._target = None
            if self.state <= State.OPEN:
                self.on_target_down(exit.reason)

    # -- what the subclass decides -----------------------------------------------------

    def deliver(self, message: Message) -> bool:
        """Forward a message to the client, or obey it; `False`: it is too late."""
        raise NotImplementedError

    def cancel(self, sender: PID | None, reason: str | None) -> None:
        """Say goodbye: somebody asks for it."""
        raise NotImplementedError

    @property
    def is_full(self) -> bool:
        """Connections do not slow each other down."""
        return False

    def farewell(self) -> tuple[str, str, int]:
        """Return exit reason, leave reason and code of the goodbye under way."""
        return NORMAL, NORMAL, CLOSE_ABNORMAL

    def on_idle(self) -> None:
        """Nothing has happened for `idle_timeout`."""
        raise NotImplementedError

    def on_target_down(self, reason: str) -> None:
        """Say goodbye: the target has ended."""
        raise NotImplementedError

    def on_linked_death(self, reason: str) -> None:
        """Say goodbye: a linked process has died."""
        raise NotImplementedError


def next_beat(due: float, interval: float, now: float) -> float:
    """Return when the next beat is due: in step, unless some were missed in a long stall."""
    return due + interval if due + interval > now else now + interval
