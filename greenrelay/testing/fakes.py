"""Connections without a socket, and time that passes when a test says so.

fake_websocket(node, target, clock)   a WebSocket that is open
ws.on_bytes(…)                        what its client sends
ws.transport.frames                   what its client has got
clock.advance(30)                     what is due happens on the way
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from greenrelay.processes.node import Node
from greenrelay.protocol.frames import OP_BINARY, OP_CLOSE, OP_TEXT
from greenrelay.relay.backlog import Backlog
from greenrelay.relay.config import EVENT_STREAM, relay_config
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.sse import EventCache, EventStreamSession
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.relay.wheel import RESOLUTION_SECONDS, TimerWheel


class Control(NamedTuple):
    """A ping, pong or close frame."""

    opcode: int
    code: int
    """Of a close frame; 0 is none."""
    payload: bytes
    """A close frame's reason."""


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wheel = TimerWheel(self)
        """What tells connections the time."""

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what is due on the way."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + RESOLUTION_SECONDS)
            self.wheel.advance(self.now)

    def jump(self, seconds: float) -> None:
        """Let time pass all at once, as on a machine that stood still."""
        self.now += seconds
        self.wheel.advance(self.now)


class FakeTransport:
    """Stands in for a session's transport: records what is written, touches no socket.

    Args:
        receiver: the session; gets early bytes, and is told of a flush.
        unsent: as if so many bytes had not been sent yet.
    """

    remote_address = "192.0.2.1:50000"

    def __init__(self, receiver: Any = None, unsent: int = 0) -> None:
        self.receiver = receiver
        self.unsent = unsent
        """Set it to play a client that does not read; `flush()` ends that."""
        self.room: int | None = None
        """Bytes that a `send()` takes, to play a socket that is nearly full; by default all."""
        self.is_closed = False
        self.is_reading = False
        self.is_deferred = False
        """Whether the receiver waits for its turn."""
        self.holds_turns = False
        """Set it to play other connections that have a turn, too."""
        self._is_turning = False
        self.is_shut = False
        """Whether the session has said that it will write no more."""
        self._on_closed: Callable[[], object] | None = None
        self._sent = b""
        self._waiting = Backlog()

    @property
    def written(self) -> bytes:
        """Everything that was written, and not dropped again."""
        return self._sent + bytes(self._waiting.peek(self._waiting.size))

    @property
    def undelivered(self) -> int:
        """As `unsent`: there is no kernel that could hold more."""
        return self.unsent

    def start(self, early: bytes = b"") -> None:
        """Begin to read, with what has come early."""
        self.is_reading = True
        if early and self.receiver is not None:
            self.receiver.on_bytes(early)

    @property
    def sink(self) -> FakeTransport | None:
        """The way around `write()`, there while nothing is unsent, as a real transport's."""
        return None if self.unsent or self.is_closed else self

    def send(self, data: bytes) -> int:
        """Record what there is room for, as a socket does, and return how much that is."""
        taken = data if self.room is None else data[: self.room]
        if not taken:
            raise BlockingIOError
        self._sent += taken
        return len(taken)

    def keep(self, data: bytes, sent: int) -> None:
        """Record what `send()` has left: it waits, and a frame that has begun is never dropped."""
        self._waiting.append(data)
        self._waiting.take(sent)
        self.unsent += len(data) - sent

    def write(self, data: bytes, is_control: bool = False) -> None:
        """Record `data`."""
        if self.unsent:
            self._waiting.append(data, is_control)
            self.unsent += len(data)
        else:
            self._sent += data

    def flush(self) -> None:
        """Play a client that has read everything."""
        self._sent = self.written
        self._waiting = Backlog()
        self.unsent = 0
        if self.receiver is not None:
            self.receiver.on_flushed()

    def pause(self) -> None:
        """Record that reading has paused."""
        self.is_reading = self.is_deferred = False

    def resume(self) -> None:
        """Record that reading goes on."""
        self.is_reading = not self.is_closed
        self.is_deferred = False

    def defer(self) -> None:
        """Have the receiver go on: the others' turn takes no time here.

        Unless `holds_turns` is set: then `turn()` does it.
        """
        self.is_reading = False
        self.is_deferred = not self.is_closed
        if not (self.holds_turns or self._is_turning):
            self._is_turning = True
            while self.is_deferred:
                self.turn()
            self._is_turning = False

    def has_time(self) -> bool:
        """Tell that the others have waited: so turns are as short as they ever are."""
        return False

    def turn(self) -> None:
        """Play that the others have had their turn."""
        self.is_deferred = False
        if self.receiver is not None:
            self.receiver.on_turn()

    def discard_unsent(self) -> None:
        """Forget what was not sent, except the rest of a frame that has begun."""
        self._waiting.discard()
        self.unsent = self._waiting.size

    def drop_oldest(self, size: int) -> int:
        """Forget the oldest writes that wait, until `size` bytes are free; return how many."""
        before = self._waiting.size
        dropped = self._waiting.drop_oldest(size)
        self.unsent -= before - self._waiting.size
        return dropped

    def shutdown_write(self) -> None:
        """Record that no more will be written."""
        self.is_shut = True

    def close(self) -> None:
        """Record the end."""
        self.is_closed = True
        self.is_reading = self.is_deferred = False
        if self._on_closed is not None:
            self._on_closed()

    def when_closed(self, call: Callable[[], object]) -> None:
        """Have `call` called at the end; at once if that has come."""
        if self.is_closed:
            call()
        else:
            self._on_closed = call

    @property
    def frames(self) -> list[str | bytes | Control]:
        """What the client has got, frame by frame: a message, or a `Control`."""
        found = []
        rest = self.written
        while rest:
            frame, rest = _split_frame(rest)
            found.append(frame)
        return found


def fake_websocket(
    node: Node, target: str, clock: FakeClock | None = None, **fields: Any
) -> WebSocketSession:
    """Return a WebSocket without a socket: it has joined `target` and is open.

    Args:
        fields: further fields of the relay header.
    """
    clock = FakeClock() if clock is None else clock
    config = relay_config({"target_pid": target, **fields})
    session = WebSocketSession(node, clock.wheel, config, FrameCache())
    session.use(FakeTransport(session))
    session.join()
    session.begin(b"")
    return session


def fake_event_stream(
    node: Node, target: str | None = None, clock: FakeClock | None = None, **fields: Any
) -> EventStreamSession:
    """Return an event stream without a socket: it has joined `target`, if any, and is open.

    Args:
        fields: further fields of the relay header.
    """
    clock = FakeClock() if clock is None else clock
    config = relay_config({"target_pid": target or "", **fields}, kind=EVENT_STREAM)
    session = EventStreamSession(node, clock.wheel, config, EventCache())
    session.use(FakeTransport(session))
    session.transport.write(session.first_bytes())
    session.join()
    session.begin(b"")
    return session


def _split_frame(data: bytes) -> tuple[str | bytes | Control, bytes]:
    opcode, length, start = data[0] & 0x0F, data[1], 2
    if length >= 126:
        start = 4 if length == 126 else 10
        length = int.from_bytes(data[2:start], "big")
    payload, rest = data[start : start + length], data[start + length :]
    if opcode == OP_TEXT:
        return payload.decode(), rest
    if opcode == OP_CLOSE and payload:
        return Control(opcode, int.from_bytes(payload[:2], "big"), payload[2:]), rest
    return (payload if opcode == OP_BINARY else Control(opcode, 0, payload)), rest
