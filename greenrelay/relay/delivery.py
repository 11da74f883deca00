"""What a connection is to those who send to it: a message becomes bytes, and is written.

    anyone ─► deliver ─► encode (once for all) ─► bytes ─► transport
                           └─ fails: one line in the log, and the connection lives

One rule: nothing a message carries raises out of `deliver`, whatever it is.
It is the base of a session, and no object that a session holds: that would be a call more for each
message, and an object more for each idle connection. What a session decides for it stands last.
"""

from __future__ import annotations

import enum
import logging
from typing import Protocol

from greenrelay.logs import log_soon
from greenrelay.message import Message
from greenrelay.pid import PID
from greenrelay.processes.endings import describe_error
from greenrelay.processes.entity import PromptEntity
from greenrelay.processes.node import Node
from greenrelay.relay.bytestream import ByteStream
from greenrelay.relay.config import RelayConfig
from greenrelay.relay.connections import Connections
from greenrelay.relay.endings import SLOW_CONSUMER, Ending
from greenrelay.relay.wheel import Entry, TimerWheel
from greenrelay.wire import CONTROL_BACKLOG_BYTES

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
    """What the connections of one relay share: the last frame, so that all of a broadcast's
    receivers get one that was encoded once."""

    frame: bytes
    """The last one encoded."""
    message: Message | None
    """What it was made of."""
    bad: Message | None
    """The last message that could not be encoded."""

    def refuse(self, message: Message) -> None:
        """Remember that `message` can't be encoded."""


class Recipient(PromptEntity, Entry):
    """What a connection is to its senders, and how it writes to its client.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        frames: shared by all connections of a relay.
    """

    __slots__ = (
        "config",
        "frames",
        "last_active",
        "messages_out",
        "node",
        "pid",
        "sends_as_encoded",
        "state",
        "transport",
        "wheel",
    )

    HOST: str
    """What stands before the `@` of its PID."""
    transport: ByteStream
    LOG: logging.Logger
    """Where the mistakes of those who send to it are told."""

    def __init__(self, node: Node, wheel: TimerWheel, config: RelayConfig, frames: Frames) -> None:
        super().__init__()
        self.pid: PID = node.make_pid(self.HOST)
        self.node = node
        self.config = config
        self.messages_out = 0
        """Messages to the client so far."""
        self.wheel = wheel
        self.frames = frames
        self.state = OPENING
        self.last_active = wheel.clock()
        """When the last message came or went."""
        self.sends_as_encoded = False
        """Whether a frame goes out as `frames` has it, and nothing else is to be done: no filter,
        no compression, no idle time to count. `deliver()` then takes the shortest way.
        Kept here: for a broadcast to thousands, it is one object less to fetch from memory."""

    @property
    def is_open(self) -> bool:
        """Whether it is neither opening nor ending."""
        return self.state is OPEN

    def use(self, transport: ByteStream) -> None:
        """Have the bytes carried by `transport`, before anything else is done."""
        self.transport = transport

    def deliver(self, message: Message) -> bool:
        """Forward a message to the client, or obey it; `False`: it is too late."""
        if self.state > OPEN:
            return False
        if not self.sends_as_encoded:
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
        sink = self.transport.sink
        if sink is None:
            self.write(frame)
            return True
        # What write() comes to when nothing is unsent, without its two calls.
        try:
            sent = sink.send(frame)
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
        self.frames.refuse(message)
        self.note_bad_message(message, describe_error(error).removeprefix("error: "))

    def note_bad_message(self, message: Message, fault: str) -> None:
        """Tell in the log what is wrong with a message: once, however many receive it."""
        if self.node.shared(Connections).note_bad_message(message):
            about = self.pid, message.topic, message.sender, fault
            log_soon(self.LOG, logging.ERROR, "%s: bad %.80s from %s: %.300s", *about)

    def write(self, data: bytes) -> None:
        """Send bytes of one message, or do what the slow consumer policy says."""
        if self.config.idle_timeout:
            self.last_active = self.wheel.clock()
        transport = self.transport
        if transport.sink is None and self._is_beyond_backlog(len(data)):
            self._on_backlog(data)
        else:
            transport.write(data)

    def _is_beyond_backlog(self, size: int) -> bool:
        """Tell whether so many bytes more are too many to wait; without others they are not."""
        unsent = self.transport.unsent
        is_beyond = unsent and unsent + size > self.config.max_backlog > 0
        return bool(is_beyond) and self.state is OPEN

    def _on_backlog(self, data: bytes) -> None:
        policy = self.config.slow_consumer
        if policy == "close":
            self._close_slow()
        elif policy == "drop_new":
            self.node.count("slow_consumer.dropped")
            log_soon(log, logging.DEBUG, "%s reads too slowly, one dropped", self.pid)
        else:
            excess = self.transport.unsent + len(data) - self.config.max_backlog
            dropped = self.transport.drop_oldest(excess)
            self.node.count("slow_consumer.dropped", dropped)
            log_soon(log, logging.DEBUG, "%s reads too slowly, %d dropped", self.pid, dropped)
            self.transport.write(data)

    def write_control(self, data: bytes) -> None:
        """Send a control frame, which no policy drops; a client that causes too many is closed."""
        spare = 0 if self.config.slow_consumer == "close" else CONTROL_BACKLOG_BYTES
        if self._is_beyond_backlog(len(data) - spare):
            self._close_slow()
        else:
            self.transport.write(data, True)

    def _close_slow(self) -> None:
        self.node.count("slow_consumer.closed")
        unsent = self.transport.unsent
        log_soon(log, logging.WARNING, "%s reads too slowly, %d unsent", self.pid, unsent)
        self.transport.discard_unsent()
        self.fail(SLOW_CONSUMER)

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

    def encode_ending(self, ending: Ending) -> bytes:
        """Return what the client is told at the end."""
        raise NotImplementedError

    def told_text(self, ending: Ending) -> str:
        """Return the ending's text as the client gets it."""
        return ending.text

    def fail(self, ending: Ending) -> None:
        """Tell the client the end behind what waits, and end at once: nothing is awaited of it."""
        raise NotImplementedError
