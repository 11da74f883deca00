"""A WebSocket as a process: frames on one side, messages on the other.

    client frame ─► on_bytes ─► Message(message_topic, str | bytes) ─► target
    target       ─► deliver  ─► ws.send, ws.close, ws.control, or {"topic", "data"} ─► frame

Frames are taken in turns, up to the target's mark; what is left of a read waits, and nothing is
read meanwhile. How a WebSocket can end stands in `endings`, when it is pinged in `pings`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from greenrelay.errors import ProtocolError
from greenrelay.logs import log_soon
from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.frameparser import Close, FrameEvent, FrameParser, Ping, Pong
from greenrelay.protocol.frames import (
    OP_PONG,
    cut_reason,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.relay.config import WEBSOCKET, RelayConfig
from greenrelay.relay.delivery import CLOSING, LINGERING, OPEN
from greenrelay.relay.dialect import FrameCache, envelope
from greenrelay.relay.endings import (
    CLOSED_BY_SERVER,
    RATE_LIMITED,
    Ending,
    client_closed,
    client_erred,
)
from greenrelay.relay.pings import Pings
from greenrelay.relay.rate import Allowance
from greenrelay.relay.session import Session
from greenrelay.relay.transport import Transport
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import (
    CLOSE_INTERNAL_ERROR,
    FRAME_COST_BYTES,
    HOST_WEBSOCKET,
    TURN_BYTES,
    WS_CLOSE,
    WS_CONTROL,
    WS_HEARTBEAT,
    WS_JOIN,
    WS_LEAVE,
    WS_SEND,
)

log = logging.getLogger("greenrelay.websocket")


class WebSocketSession(Session):
    """One WebSocket.

    Args:
        frames: shared by all connections of a relay.
        window_bits: of permessage-deflate, if it has been agreed on; 0 is off.
    """

    __slots__ = ("_allowance", "_parser", "_rest", "_window_bits", "last_seen")

    HOST = HOST_WEBSOCKET
    JOIN = WS_JOIN
    LEAVE = WS_LEAVE
    HEARTBEAT = WS_HEARTBEAT
    KIND = WEBSOCKET
    LOG = log

    alarm: Pings
    frames: FrameCache

    def __init__(
        self,
        node: Node,
        wheel: TimerWheel,
        config: RelayConfig,
        frames: FrameCache,
        window_bits: int = 0,
    ) -> None:
        pings = Pings(wheel.clock() + config.ping_interval)
        super().__init__(node, wheel, config, frames, pings)
        self._window_bits = window_bits
        self._parser = FrameParser(config.max_message_size, inflates=window_bits > 0)
        self._rest: Iterator[FrameEvent | None] | None = None
        """What was read and is not parsed yet; nothing is read meanwhile."""
        self.sends_as_encoded = self._sends_as_encoded()
        self.last_seen = self.opened_at
        """When the client was last heard of."""
        self._allowance = self._full_allowance(self.opened_at)

    def connect(self, sock: Any, head: bytes) -> None:
        """Attach the socket; nothing is sent or read before `begin()`."""
        self.use(Transport(sock, self, head))

    # -- from the client -----------------------------------------------------------

    def on_bytes(self, data: bytes) -> None:
        """Take what the client sent."""
        message = self._parser.take_whole(data)
        if message is not None and self.state is OPEN:
            self.last_seen = now = self.wheel.clock()
            if self._on_message(message, now):
                self.pause_if_full()
        elif self.state < LINGERING:
            self._take(self._parser.steps(data))

    def on_turn(self) -> None:
        """Go on with what is left of the last read, then read again."""
        if self._rest is None or self.state >= LINGERING:
            self._read_on()
        else:
            self._take(self._rest)

    def go_on(self) -> None:
        """Listen to the client again; what waits is taken in another turn of the loop."""
        if self._rest is None:
            self.transport.resume()
        else:
            self.transport.defer()

    def _take(self, steps: Iterator[FrameEvent | None]) -> None:
        """Take frames until the turn is over, or the target has enough; keep the rest."""
        self.last_seen = now = self.wheel.clock()
        left = TURN_BYTES
        try:
            for event in steps:
                if isinstance(event, (str, bytes)):
                    left -= FRAME_COST_BYTES + len(event)
                    if self.state is OPEN and self._on_message(event, now) and self.pause_if_full():
                        self._rest = steps
                        return
                else:
                    left -= FRAME_COST_BYTES
                    if event is not None:
                        self._on_control(event, now)
                if self.state is not OPEN and self.state >= LINGERING:
                    break
                if left <= 0:
                    if not self.transport.has_time():
                        self._rest = steps
                        self.transport.defer()
                        return
                    left = TURN_BYTES
        except ProtocolError as error:
            log_soon(log, logging.INFO, "%s: %s", self.pid, error)
            self.fail(client_erred(error))
        if self._rest is not None:
            self._read_on()

    def _read_on(self) -> None:
        self._rest = None
        self.transport.resume()

    def _on_control(self, event: Ping | Pong | Close, now: float) -> None:
        if isinstance(event, Close):
            self._on_close(event)
        elif isinstance(event, Pong) and self.alarm.take_pong():
            pass  # what we have asked for does not count towards the rate
        elif self.state is OPEN:
            if self._allowance is not None and not self._allowance.take(now):
                self.fail(RATE_LIMITED)
            elif isinstance(event, Ping):
                self.last_active = now
                self.write_control(encode_frame(OP_PONG, event.data))

    def _on_message(self, data: str | bytes, now: float) -> bool:
        """Hand a message on; tell whether the target is full by now."""
        config = self.config
        self.message_count += 1
        self.last_active = now
        if self._allowance is not None and not self._allowance.take(now):
            self.fail(RATE_LIMITED)
            return False
        target = self.target.entity
        if target is None:
            return False
        payload: Any = data
        if config.dialect == "envelope":
            payload = envelope(self.pid, data, config.copy_metadata())
        size = len(data)
        if type(data) is str and not data.isascii():
            size = len(data.encode())
        target.deliver(Message(config.message_topic, payload, self.pid, size))
        return target.is_full

    def _on_close(self, close: Close) -> None:
        if self.state is CLOSING:
            self.end_as_told()
        else:
            self.transport.write(encode_close(close.code))
            ending = client_closed(close.code)
            self.end(ending, close.reason or ending.exit_reason)
        if not self.transport.unsent:
            self.on_flushed()

    # -- to the client ---------------------------------------------------------------

    def encode(self, message: Message) -> bytes | None:
        """Return the frame that a message becomes; `None`: it was obeyed."""
        topic = message.topic
        if topic == WS_SEND:
            return self.frames.raw(message)
        if topic == WS_CLOSE:
            self._close(message)
        elif topic == WS_CONTROL:
            self.control(message.payload)
        else:
            return self.frames.wrapped(message)
        return None

    def pack(self, frame: bytes) -> bytes:
        """Return a frame compressed, if that has been agreed on."""
        if self._window_bits and self.config.compression:
            return self.frames.deflated(frame, self._window_bits)
        return frame

    def _sends_as_encoded(self) -> bool:
        config = self.config
        return not config.idle_timeout and not (self._window_bits and config.compression)

    def _close(self, message: Message) -> None:
        payload = message.payload
        code, reason = CLOSED_BY_SERVER.code, payload
        if isinstance(payload, Mapping):
            code, reason = payload.get("code", CLOSED_BY_SERVER.code), payload.get("reason")
        reason = "" if reason is None else reason
        if not isinstance(reason, str) or not isinstance(code, int):
            raise TypeError(f'ws.close takes {{"code", "reason"}}, or a reason: {payload!r:.80}')
        if not is_close_code(code):
            self.note_bad_message(message, f"close code {code} may not be sent")
            code = CLOSE_INTERNAL_ERROR
        self.close(CLOSED_BY_SERVER._replace(code=code, text=reason))

    def encode_ending(self, ending: Ending) -> bytes:
        """Return the close frame."""
        return encode_close(ending.code, ending.text)

    def told_text(self, ending: Ending) -> str:
        """Return the reason as it fits into a close frame."""
        return cut_reason(ending.text).decode()

    # -- its configuration -------------------------------------------------------------

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection."""
        before = self.config
        super().control(payload)
        config, now = self.config, self.wheel.clock()
        self._parser.limit(config.max_message_size)
        self.sends_as_encoded = self._sends_as_encoded()
        if config.max_rate != before.max_rate:
            self._allowance = self._full_allowance(now)
        if config.ping_interval != before.ping_interval:
            self.alarm.restart(now + config.ping_interval)
            self.reschedule()

    def _full_allowance(self, now: float) -> Allowance | None:
        return Allowance(self.config.max_rate, now) if self.config.max_rate else None
