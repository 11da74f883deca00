"""A WebSocket as a process: frames on one side, messages on the other.

    client frame ─► on_bytes ─► Message(message_topic, str | bytes) ─► target
    target       ─► deliver  ─► ws.send, ws.close, ws.control, or {"topic", "data"} ─► frame

How it can end stands in `goodbyes`, and what only a WebSocket knows below.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from greenrelay.errors import ProtocolError
from greenrelay.logs import log_soon
from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.frameparser import Close, FrameEvent, FrameParser, Ping, Pong
from greenrelay.protocol.frames import (
    OP_PING,
    OP_PONG,
    cut_reason,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.relay.config import WEBSOCKET, RelayConfig
from greenrelay.relay.delivery import CLOSING, LINGERING, OPEN
from greenrelay.relay.dialect import FrameCache, envelope
from greenrelay.relay.goodbyes import Goodbye
from greenrelay.relay.session import Session, next_beat
from greenrelay.relay.transport import Transport
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NO_STATUS,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_TOO_BIG,
    CONNECTION_LOST,
    FRAME_COST_BYTES,
    HOST_WEBSOCKET,
    MESSAGE_TOO_BIG,
    NORMAL,
    PING_INTERVALS_UNTIL_GONE,
    PING_TIMEOUT,
    PROTOCOL_ERROR,
    RATE_LIMITED,
    TURN_BYTES,
    WS_CLOSE,
    WS_CONTROL,
    WS_HEARTBEAT,
    WS_JOIN,
    WS_LEAVE,
    WS_SEND,
)

log = logging.getLogger("greenrelay.websocket")

# How a client may close and still end the connection normally; 1005 is a browser's `close()`.
_NORMAL_CLOSES: Final = frozenset({CLOSE_NORMAL, CLOSE_GOING_AWAY, CLOSE_NO_STATUS})


_PING_TIMEOUT: Final = Goodbye(PING_TIMEOUT, CLOSE_INTERNAL_ERROR, "ping timeout")
_RATE_LIMITED: Final = Goodbye(RATE_LIMITED, CLOSE_POLICY, "rate limited")


class WebSocketSession(Session):
    """One WebSocket.

    Args:
        frames: shared by all connections of a relay.
        window_bits: of permessage-deflate, if it has been agreed on; 0 is off.
    """

    __slots__ = (
        "_allowance",
        "_asked_at",
        "_parser",
        "_pongs_due",
        "_rest",
        "_window_bits",
        "last_seen",
        "ping_due",
    )

    JOIN = WS_JOIN
    LEAVE = WS_LEAVE
    HEARTBEAT = WS_HEARTBEAT
    KIND = WEBSOCKET
    LOG = log

    frames: FrameCache

    def __init__(
        self,
        node: Node,
        wheel: TimerWheel,
        config: RelayConfig,
        frames: FrameCache,
        window_bits: int = 0,
    ) -> None:
        super().__init__(node, wheel, config, frames, HOST_WEBSOCKET)
        self._window_bits = window_bits
        self._parser = FrameParser(config.max_message_size, inflates=window_bits > 0)
        self._rest: Iterator[FrameEvent | None] | None = None
        """What was read and is not parsed yet; nothing is read meanwhile."""
        self.is_plain = self._has_plain_writes()
        self.last_seen = self.opened_at
        self.ping_due = self.opened_at + config.ping_interval
        self._asked_at = 0.0
        """When the first ping was sent since the client was last heard of, if that is later."""
        self._pongs_due = 0
        """Pongs that we have asked for."""
        self._allowance = (_burst(config.max_rate), self.opened_at)

    def connect(self, sock: Any, head: bytes) -> None:
        """Attach the socket; nothing is sent or read before `begin()`."""
        self.transport = Transport(sock, self, head)

    # -- from the client -----------------------------------------------------------

    def on_bytes(self, data: bytes) -> None:
        """Take what the client sent."""
        message = self._parser.take_whole(data)
        if message is not None and self.state is OPEN:
            self.last_seen = now = self.wheel.clock()
            if self._on_message(message, now) and self.is_choked():
                self.transport.pause()
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
                    if self.state is OPEN and self._on_message(event, now) and self.is_choked():
                        self._rest = steps
                        self.transport.pause()
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
            too_big = error.close_code == CLOSE_TOO_BIG
            exit_reason = MESSAGE_TOO_BIG if too_big else PROTOCOL_ERROR
            self.fail(Goodbye(exit_reason, error.close_code, error.reason))
        if self._rest is not None:
            self._read_on()

    def _read_on(self) -> None:
        self._rest = None
        self.transport.resume()

    def _on_control(self, event: Ping | Pong | Close, now: float) -> None:
        if isinstance(event, Close):
            self._on_close(event)
        elif isinstance(event, Pong) and self._pongs_due:
            self._pongs_due -= 1  # what we have asked for does not count
        elif self.state is OPEN:
            if self.config.max_rate and not self._is_within_rate(now):
                self.fail(_RATE_LIMITED)
            elif isinstance(event, Ping):
                self.last_active = now
                self.write_control(encode_frame(OP_PONG, event.data))

    def _on_message(self, data: str | bytes, now: float) -> bool:
        """Hand a message on; tell whether the target is full by now."""
        config = self.config
        self.message_count += 1
        self.last_active = now
        if config.max_rate and not self._is_within_rate(now):
            self.fail(_RATE_LIMITED)
            return False
        target = self._target
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

    def _is_within_rate(self, now: float) -> bool:
        """Take one from a bucket that holds and refills `max_rate` a second."""
        left, since = self._allowance
        rate = self.config.max_rate
        left = min(_burst(rate), left + (now - since) * rate)
        self._allowance = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0

    def _on_close(self, close: Close) -> None:
        if self.state is CLOSING:
            self.end(*self.farewell())
        else:
            self.transport.write(encode_close(close.code))
            exit_reason = NORMAL if close.code in _NORMAL_CLOSES else CONNECTION_LOST
            self.end(exit_reason, close.reason or exit_reason, close.code)
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

    def _has_plain_writes(self) -> bool:
        config = self.config
        return not config.idle_timeout and not (self._window_bits and config.compression)

    def _close(self, message: Message) -> None:
        payload = message.payload
        code, reason = CLOSE_NORMAL, payload
        if isinstance(payload, Mapping):
            code, reason = payload.get("code", CLOSE_NORMAL), payload.get("reason")
        reason = "" if reason is None else reason
        if not isinstance(reason, str) or not isinstance(code, int):
            raise TypeError(f'ws.close takes {{"code", "reason"}}, or a reason: {payload!r:.80}')
        if not is_close_code(code):
            self.blame(message, f"close code {code} may not be sent")
            code = CLOSE_INTERNAL_ERROR
        self.close(Goodbye(NORMAL, code, reason))

    def encode_goodbye(self, goodbye: Goodbye) -> bytes:
        """Return the close frame."""
        return encode_close(goodbye.code, goodbye.text)

    def goodbye_text(self, goodbye: Goodbye) -> str:
        """Return the reason as it fits into a close frame."""
        return cut_reason(goodbye.text).decode()

    # -- time ------------------------------------------------------------------------

    def next_due(self) -> float:
        """Return when something is due next: a ping, or what every session has."""
        due = super().next_due()
        if self.config.ping_interval:
            due = min(due, self.ping_due)
            if self._asked_at > self.last_seen:
                due = min(due, self._look.due(self._asked_at, self._gone_at()))
        return due

    def _gone_at(self) -> float:
        """Return when the client, who has been asked, will have been silent for too long."""
        interval = self.config.ping_interval
        return max(self.last_seen + interval * PING_INTERVALS_UNTIL_GONE, self._asked_at + interval)

    def tick(self, now: float) -> None:
        """Ping, or notice that nobody answers."""
        if self.config.ping_interval:
            if self._is_gone(now):
                self.fail(_PING_TIMEOUT)
                self.finish()
                return
            if now >= self.ping_due:
                self.ping_due = next_beat(self.ping_due, self.config.ping_interval, now)
                self._ping(now)
        super().tick(now)

    def _is_gone(self, now: float) -> bool:
        asked_at, gone_at = self._asked_at, self._gone_at()
        if asked_at <= self.last_seen or now < self._look.due(asked_at, gone_at):
            return False
        if not self.transport.is_reading:
            self._asked_at = now  # it is us who do not listen: the question stands
            return False
        return self.is_silent(asked_at, gone_at, now)

    def _ping(self, now: float) -> None:
        if self._asked_at <= self.last_seen:
            self._asked_at = now
        self._pongs_due += 1
        # Not with write(): a ping is no activity that keeps an idle connection.
        self.transport.write(encode_frame(OP_PING, b""), True)

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection."""
        before = self.config
        super().control(payload)
        config, now = self.config, self.wheel.clock()
        self._parser.max_message_size = config.max_message_size
        self.is_plain = self._has_plain_writes()
        if config.max_rate != before.max_rate:
            self._allowance = (_burst(config.max_rate), now)
        if config.ping_interval != before.ping_interval:
            self.last_seen = now  # nobody has been asked until now
            self.ping_due = now + config.ping_interval
        self.reschedule()


def _burst(rate: float) -> float:
    return max(rate, 1.0)  # who may send one in ten seconds may send it at once
