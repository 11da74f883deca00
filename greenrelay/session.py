"""What both relays share: a connection that is a process, from join to leave.

    OPENING ─ begin() ─► OPEN ─ close() ─► CLOSING ─┐
                          │                          ├─► LINGERING ─► CLOSED
                          └─ end() ──────────────────┘
    OPENING    known to everybody, nothing on the wire yet
    CLOSING    we said goodbye and wait for the peer's
    LINGERING  ended for everybody; the last bytes are still on their way, and what the
               client still sends is dropped
    CLOSED     the socket is gone

Join is the first and leave the last message its target gets. Two rules: no method
blocks, switches or raises; what is due later is due through the one timer wheel.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable
from typing import Any

from greenrelay.config import RelayConfig
from greenrelay.goodbyes import COUNTED, GOODBYES, LOGGED, Goodbye, Patience, target_goodbye
from greenrelay.logs import log_soon
from greenrelay.membership import Member
from greenrelay.message import Exit, LinkDown, Message
from greenrelay.node import Node
from greenrelay.pid import PID
from greenrelay.wheel import TimerWheel
from greenrelay.wire import (
    CANCELLED,
    CLOSE_ABNORMAL,
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CONNECTION_LOST,
    CONTROL_BACKLOG_BYTES,
    IDLE_TIMEOUT,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    SLOW_CONSUMER,
    TARGET_FAILED,
)

log = logging.getLogger("greenrelay.session")


class State(enum.IntEnum):
    """Where a connection stands; it only ever moves down this list."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    LINGERING = 3
    CLOSED = 4


# Looked up for every message: in Python 3.11 `State.OPEN` takes as long as a call.
OPENING, OPEN, CLOSING, LINGERING, CLOSED = State


class Session(Member):
    """One connection: an entity of a node on one side, a transport's receiver on the other.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        host: what stands before the `@` of its PID.
    """

    __slots__ = (
        "_goodbye",
        "_patience",
        "heartbeat_due",
        "last_active",
        "opened_at",
        "state",
        "wheel",
        "wheel_tick",
    )

    def __init__(self, node: Node, wheel: TimerWheel, config: RelayConfig, host: str) -> None:
        super().__init__(node, config, host)
        self.wheel = wheel
        self.state = OPENING
        self.wheel_tick = 0
        self.opened_at = self.last_active = wheel.clock()
        self.heartbeat_due = self.opened_at + config.heartbeat_interval
        self._goodbye: tuple[str, str, int] | None = None
        """Exit reason, leave reason and code of a goodbye under way."""
        self._patience: Patience | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.state.name}>"

    # -- beginning ---------------------------------------------------------------

    def join(self) -> None:
        """Enter the node's table and tell the target; the wire comes later, with `begin()`."""
        self.node.add(self)
        target = self.node.find(self.config.target_pid)
        if target is not None:
            self._attach(target)
        elif self.config.target_pid:  # it died while the request's body arrived
            self.close(Goodbye(NOPROC, CLOSE_INTERNAL_ERROR, TARGET_FAILED))

    def begin(self, early: bytes) -> None:
        """Send the response head and what has gathered behind it, then read.

        Args:
            early: what the server has already read of the client's bytes.
        """
        if self.state is OPENING:
            self.state = OPEN
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

    def is_choked(self) -> bool:
        """Tell whether reading should pause until the target has drained."""
        # In CLOSING, the client's goodbye must get through.
        return self.state is OPEN and super().is_choked()

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection, wholly or not at all."""
        before = self.config
        super().control(payload)
        config, now = self.config, self.wheel.clock()
        if config.heartbeat_interval != before.heartbeat_interval:
            self.heartbeat_due = now + config.heartbeat_interval
        if not before.idle_timeout:
            self.last_active = now  # nobody has looked until now
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
        if self.state is OPEN:
            self.tick(now)
        elif self.state in (CLOSING, LINGERING):
            self._await_progress(now)
        if self.state is OPEN:
            self.reschedule()

    def tick(self, now: float) -> None:
        """Do what is due on an open connection."""
        if self.config.heartbeat_interval and now >= self.heartbeat_due:
            interval = self.config.heartbeat_interval
            self.heartbeat_due = next_beat(self.heartbeat_due, interval, now)
            self.send_heartbeat(now - self.opened_at)
        if self.config.idle_timeout and now >= self.last_active + self.config.idle_timeout:
            self.close(GOODBYES[IDLE_TIMEOUT])

    # -- to the client -----------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes of one message, or do what the slow consumer policy says."""
        if self.config.idle_timeout:
            self.last_active = self.wheel.clock()
        unsent = self.transport.unsent
        if unsent and self._is_beyond_backlog(unsent + len(data)):
            self._on_backlog(data)
        else:
            self.transport.write(data)

    def _is_beyond_backlog(self, size: int) -> bool:
        return self.state is OPEN and size > self.config.max_backlog > 0

    def write_control(self, data: bytes) -> None:
        """Send a control frame, which no policy drops; who asks for too many is closed."""
        unsent = self.transport.unsent
        spare = 0 if self.config.slow_consumer == "close" else CONTROL_BACKLOG_BYTES
        if unsent and self._is_beyond_backlog(unsent + len(data) - spare):
            self._close_slow()
        else:
            self.transport.write(data, True)

    def _on_backlog(self, data: bytes) -> None:
        counts = self.node.counts
        policy = self.config.slow_consumer
        if policy == "close":
            self._close_slow()
        elif policy == "drop_new":
            counts["slow_consumer.dropped"] += 1
            log_soon(log, logging.DEBUG, "%s reads too slowly, one dropped", self.pid)
        else:
            excess = self.transport.unsent + len(data) - self.config.max_backlog
            dropped = self.transport.drop_oldest(excess)
            counts["slow_consumer.dropped"] += dropped
            log_soon(log, logging.DEBUG, "%s reads too slowly, %d dropped", self.pid, dropped)
            self.transport.write(data)

    def _close_slow(self) -> None:
        self.node.counts["slow_consumer.closed"] += 1
        unsent = self.transport.unsent
        log_soon(log, logging.WARNING, "%s reads too slowly, %d unsent", self.pid, unsent)
        self.transport.discard_unsent()
        self.fail(GOODBYES[SLOW_CONSUMER])

    # -- ending ----------------------------------------------------------------------

    def close(self, goodbye: Goodbye) -> None:
        """Say goodbye after everything queued, and wait for the client's."""
        if self.state > OPEN:
            return
        exit_reason = goodbye.exit_reason
        # Words that somebody chose tell more than the reason; ours only repeat it.
        text = self.goodbye_text(goodbye) if exit_reason in (NORMAL, CANCELLED) else ""
        self._goodbye = (exit_reason, text or exit_reason, goodbye.code)
        self.transport.write(self.encode_goodbye(goodbye))
        self.state = CLOSING
        self.transport.resume()  # however busy the target is: the client's goodbye is ours
        self._await_progress(self.wheel.clock())

    def fail(self, goodbye: Goodbye) -> None:
        """Say goodbye and end at once: this client is not waited for."""
        if self.state is CLOSING:
            self.end(*self.farewell())
        elif self.state <= OPEN:
            self.transport.write(self.encode_goodbye(goodbye))
            self.end(goodbye.exit_reason, goodbye.exit_reason, goodbye.code)
        if not self.transport.unsent:
            self.on_flushed()

    def farewell(self) -> tuple[str, str, int]:
        """Return exit reason, leave reason and code of the goodbye under way."""
        assert self._goodbye is not None  # set before the state is CLOSING
        return self._goodbye

    def end(self, exit_reason: str, reason: str, code: int) -> None:
        """Leave the target and the node's table; the transport may still have to be flushed.

        Args:
            exit_reason: for monitors and links.
            reason: for the target's leave.
            code: for the target's leave: the close code.
        """
        if self.state >= LINGERING:
            return
        self.state = LINGERING
        if exit_reason in COUNTED:
            self.node.counts[exit_reason] += 1
        if exit_reason in LOGGED:
            log_soon(log, logging.INFO, "%s ended: %s", self.pid, exit_reason)
        self._detach(reason, code)
        self.node.end(self, Exit(self.pid, exit_reason, time.time()))
        self.node.lingering.add(self)
        now = self.wheel.clock()
        if self._patience is not None:
            self._patience.renew(now, self.transport.undelivered)
        self._await_progress(now)

    def _await_progress(self, now: float) -> None:
        """Let the client take what it is sent, or put an end to it."""
        left = self.transport.undelivered
        if self._patience is None:
            self._patience = Patience(now, left)
        due = self._patience.next_check(now, left)
        if due > now:
            self.wheel.schedule(self, due)
            return
        if self.state is CLOSING:
            self.end(*self.farewell())
        self.finish()

    def finish(self) -> None:
        """Close the socket."""
        if self.state is not CLOSED:
            self.state = CLOSED
            self.wheel.cancel(self)
            self.node.lingering.discard(self)
            self.transport.close()

    def kill(self, reason: str = KILLED) -> None:
        """End with `reason`, the socket at once."""
        self.end(reason, reason, CLOSE_ABNORMAL)
        self.finish()

    def cancel(self, sender: PID | None = None, reason: str | None = None) -> None:
        """Say goodbye: somebody asks for it."""
        self.close(Goodbye(CANCELLED, CLOSE_GOING_AWAY, reason or ""))

    def drain(self) -> None:
        """Say goodbye: the server stops."""
        self.close(GOODBYES[SHUTDOWN])

    def on_flushed(self) -> None:
        """The last bytes are with the kernel: let the client read them before the end."""
        if self.state is LINGERING:
            # To close with unread input, or before more of it comes, would reset the
            # connection, and what the kernel still holds were lost.
            self.transport.shutdown_write()
            self.transport.resume()

    def on_eof(self) -> None:
        """The peer is gone, or only says that it will send nothing more."""
        if self.state is CLOSING:
            self.end(*self.farewell())
        elif self.state <= OPEN:
            self.end(CONNECTION_LOST, CONNECTION_LOST, CLOSE_ABNORMAL)
            self.finish()
        if not self.transport.unsent:
            self.finish()

    def on_link_down(self, news: LinkDown) -> None:
        """A linked process has ended abnormally."""
        self.close(Goodbye(news.reason, CLOSE_INTERNAL_ERROR, "linked process failed"))

    def on_exit(self, exit: Exit) -> None:
        """The target has ended."""
        self._monitor = None
        if self._target is not None and exit.sender == self._target.pid:
            self._target = None
            self.close(target_goodbye(exit.reason))

    # -- what the subclass decides -----------------------------------------------------

    def deliver(self, message: Message) -> bool:
        """Forward a message to the client, or obey it; `False`: it is too late."""
        raise NotImplementedError

    def encode_goodbye(self, goodbye: Goodbye) -> bytes:
        """Return what the client is told at the end."""
        raise NotImplementedError

    def goodbye_text(self, goodbye: Goodbye) -> str:
        """Return the goodbye's text as the client gets it."""
        return goodbye.text

    @property
    def is_full(self) -> bool:
        """Connections do not slow each other down."""
        return False

    @property
    def is_condemned(self) -> bool:
        """A connection that is killed is gone at once."""
        return False

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """A connection is never full."""

    def forget_drained(self, key: object) -> None:
        """A connection is never full."""


def next_beat(due: float, interval: float, now: float) -> float:
    """Return the first time after `now` in step with `due`; what a stall swallowed is gone."""
    return due + interval * (int((now - due) / interval) + 1)
