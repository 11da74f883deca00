"""A connection as everybody sees it who sends to it: a message becomes bytes, and is written.

    anyone ─► deliver ─► encode (once for all) ─► bytes ─► transport
                           └─ fails: one line in the log, and the connection lives

One rule: nothing a message carries raises out of `deliver`, whatever it is.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from typing import Protocol

from greenrelay.logs import log_soon
from greenrelay.message import Message
from greenrelay.processes.endings import describe_error
from greenrelay.processes.node import Node
from greenrelay.relay.config import RelayConfig
from greenrelay.relay.goodbyes import GOODBYES, Goodbye
from greenrelay.relay.membership import Member
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import CONTROL_BACKLOG_BYTES, SLOW_CONSUMER

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


class Frames(Protocol):
    """What the connections of one relay share, so that a broadcast costs once what it can."""

    frame: bytes
    """The last one encoded."""
    message: Message | None
    """What it was made of."""
    bad: Message | None
    """The last message that could not be encoded."""


class Recipient(Member):
    """One connection's relation to its client.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        frames: shared by all connections of a relay.
        host: what stands before the `@` of its PID.
    """

    __slots__ = ("frames", "is_plain", "last_active", "state", "wheel")

    LOG: logging.Logger
    """Where the mistakes of those who send to it are told."""

    def __init__(
        self, node: Node, wheel: TimerWheel, config: RelayConfig, frames: Frames, host: str
    ) -> None:
        super().__init__(node, config, host)
        self.wheel = wheel
        self.frames = frames
        self.state = OPENING
        self.last_active = wheel.clock()
        """When the last message came or went."""
        self.is_plain = False
        """Whether what others were sent can be sent as it is, and nothing else is to be done.
        Kept here: for a broadcast to thousands, it is one object less to fetch from memory."""

    def deliver(self, message: Message) -> bool:
        """Forward a message to the client, or obey it; `False`: it is too late."""
        if self.state > OPEN:
            return False
        if not self.is_plain:
            return self._deliver_specially(message)
        frames = self.frames
        if message is frames.message:  # again: it is a broadcast
            frame: bytes | None = frames.frame
        elif message is frames.bad:
            return True
        else:
            try:
                frame = self.encode(message)
            except Exception as error:
                self._refuse(message, error)
                return True
        if frame is None:
            return True
        self.messages_out += 1
        send = self.transport.send
        if send is None:
            self.write(frame)
            return True
        # What write() comes to when nothing is unsent, without its two calls.
        try:
            sent = send(frame)
        except OSError:
            sent = 0  # full, or lost: the next attempt tells
        if sent < len(frame):
            self.transport.keep(frame, sent)
        return True

    def _deliver_specially(self, message: Message) -> bool:
        if message is self.frames.bad:
            return True
        try:
            frame = self.encode(message)
        except Exception as error:
            self._refuse(message, error)
            return True
        if frame is not None:
            self.messages_out += 1
            self.write(self.pack(frame))
        return True

    def _refuse(self, message: Message, error: Exception) -> None:
        """Blame the sender, whatever its payload raises; the connection lives."""
        self.frames.bad = message
        self.blame(message, describe_error(error).removeprefix("error: "))

    def blame(self, message: Message, fault: str) -> None:
        """Tell in the log what is wrong with a message: once, however many receive it."""
        if self.node.blame(message):
            about = self.pid, message.topic, message.sender, fault
            log_soon(self.LOG, logging.ERROR, "%s: bad %.80s from %s: %.300s", *about)

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

    def write_control(self, data: bytes) -> None:
        """Send a control frame, which no policy drops; who asks for too many is closed."""
        unsent = self.transport.unsent
        spare = 0 if self.config.slow_consumer == "close" else CONTROL_BACKLOG_BYTES
        if unsent and self._is_beyond_backlog(unsent + len(data) - spare):
            self._close_slow()
        else:
            self.transport.write(data, True)

    def _close_slow(self) -> None:
        self.node.counts["slow_consumer.closed"] += 1
        unsent = self.transport.unsent
        log_soon(log, logging.WARNING, "%s reads too slowly, %d unsent", self.pid, unsent)
        self.transport.discard_unsent()
        self.fail(GOODBYES[SLOW_CONSUMER])

    @property
    def is_full(self) -> bool:
        """Connections do not slow each other down."""
        return False

    @property
    def is_killed(self) -> bool:
        """A connection that is killed is gone at once."""
        return False

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Do nothing: it is never full."""

    def forget_drained(self, key: object) -> None:
        """Do nothing: it is never full."""

    # -- what the subclass decides -----------------------------------------------------

    def encode(self, message: Message) -> bytes | None:
        """Return what a message becomes on the wire; `None`: nothing, or it was obeyed.

        Raises:
            Exception: any; it is the sender's mistake.
        """
        raise NotImplementedError

    def pack(self, frame: bytes) -> bytes:
        """Return a frame as this client gets it, if that is not how others do."""
        return frame

    def fail(self, goodbye: Goodbye) -> None:
        """Say goodbye and end at once: this client is not waited for."""
        raise NotImplementedError
