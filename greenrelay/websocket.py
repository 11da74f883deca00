"""A WebSocket as a process: frames on one side, messages on the other.

    client frame ─► on_bytes ─► Message(message_topic, str | bytes) ─► target
    target       ─► deliver  ─► ws.send, ws.close, ws.control, or {"topic", "data"} ─► frame

How it can end stands in `goodbyes`, and what only a WebSocket knows below.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from greenrelay.config import WEBSOCKET, RelayConfig
from greenrelay.dialect import FrameCache, envelope
from greenrelay.errors import ProtocolError
from greenrelay.frames import (
    OP_PING,
    OP_PONG,
    Close,
    FrameParser,
    Ping,
    cut_reason,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.goodbyes import Goodbye
from greenrelay.logs import log_soon
from greenrelay.message import Message
from greenrelay.node import Node
from greenrelay.session import CLOSING, LINGERING, OPEN, Session, next_beat
from greenrelay.transport import Transport
from greenrelay.wheel import TimerWheel
from greenrelay.wire import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NO_STATUS,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_TOO_BIG,
    CONNECTION_LOST,
    HOST_WEBSOCKET,
    MESSAGE_TOO_BIG,
    NORMAL,
    PING_INTERVALS_UNTIL_GONE,
    PING_TIMEOUT,
    PROTOCOL_ERROR,
    RATE_LIMITED,
    WS_CLOSE,
    WS_CONTROL,
    WS_HEARTBEAT,
    WS_JOIN,
    WS_LEAVE,
    WS_SEND,
)

log = logging.getLogger("greenrelay.websocket")

STALL_SECONDS: Final = 1.0
"""A timer that is this late tells of a server that stood still, not of a dead client."""

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
        "_is_plain",
        "_parser",
        "_window_bits",
        "frames",
        "last_seen",
        "ping_due",
    )

    JOIN = WS_JOIN
    LEAVE = WS_LEAVE
    HEARTBEAT = WS_HEARTBEAT
    KIND = WEBSOCKET

    def __init__(
        self,
        node: Node,
        wheel: TimerWheel,
        config: RelayConfig,
        frames: FrameCache,
        window_bits: int = 0,
    ) -> None:
        super().__init__(node, wheel, config, HOST_WEBSOCKET)
        self.frames = frames
        self._window_bits = window_bits
        self._parser = FrameParser(config.max_message_size, inflates=window_bits > 0)
        # For a broadcast to thousands, one object less to fetch from memory: the config.
        self._is_plain = self._has_plain_writes()
        self.last_seen = self.opened_at
        self.ping_due = self.opened_at + config.ping_interval
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
            self._on_message(message, now)
        elif self.state < LINGERING:
            self._on_frames(data)
        if self._target is not None and self._target.is_full and self.is_choked():
            self.transport.pause()

    def _on_frames(self, data: bytes) -> None:
        self.last_seen = now = self.wheel.clock()
        try:
            for event in self._parser.feed(data):
                if isinstance(event, (str, bytes)):
                    if self.state is OPEN:
                        self._on_message(event, now)
                elif isinstance(event, Close):
                    self._on_close(event)
                elif isinstance(event, Ping) and self.state is OPEN:
                    self.last_active = now
                    self.write_control(encode_frame(OP_PONG, event.data))
                if self.state >= LINGERING:
                    return
        except ProtocolError as error:
            log_soon(log, logging.INFO, "%s: %s", self.pid, error)
            too_big = error.close_code == CLOSE_TOO_BIG
            exit_reason = MESSAGE_TOO_BIG if too_big else PROTOCOL_ERROR
            self.fail(Goodbye(exit_reason, error.close_code, error.reason))

    def _on_message(self, data: str | bytes, now: float) -> None:
        config = self.config
        self.message_count += 1
        self.last_active = now
        if config.max_rate and not self._is_within_rate(now):
            self.fail(_RATE_LIMITED)
            return
        payload: Any = data
        if config.dialect == "envelope":
            payload = envelope(self.pid, data, config.copy_metadata())
        if self._target is not None:
            self._target.deliver(Message(config.message_topic, payload, self.pid))

    def _is_within_rate(self, now: float) -> bool:
        """Take one from a bucket that holds and refills `max_rate` messages a second."""
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

    def deliver(self, message: Message) -> bool:
        """Forward a message to the client, or obey it; `False`: it is too late."""
        if self.state > OPEN:
            return False
        frames = self.frames
        # The same message again is a broadcast.
        frame = frames.frame if message is frames.message else self._encode(message)
        if frame is None:
            return True
        self.messages_out += 1
        if not self._is_plain:
            self._write_specially(frame)
            return True
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

    def _has_plain_writes(self) -> bool:
        config = self.config
        return not config.idle_timeout and not (self._window_bits and config.compression)

    def _write_specially(self, frame: bytes) -> None:
        if self._window_bits and self.config.compression:
            frame = self.frames.deflated(frame, self._window_bits)
        self.write(frame)

    def _encode(self, message: Message) -> bytes | None:
        """Return the frame that a message becomes; `None`: it was obeyed, or is no good."""
        topic = message.topic
        try:
            if topic == WS_SEND:
                return self.frames.raw(message)
            if topic == WS_CLOSE:
                self._close(message.payload)
            elif topic == WS_CONTROL:
                self.control(message.payload)
            else:
                return self.frames.wrapped(message)
        except Exception as error:
            # The sender's mistake, whatever its payload raises: the connection lives.
            log_soon(
                log, logging.ERROR, "%s: bad %s from %s: %s", self.pid, topic, message.sender, error
            )
        return None

    def _close(self, payload: Any) -> None:
        code, reason = CLOSE_NORMAL, payload
        if isinstance(payload, Mapping):
            code, reason = payload.get("code", CLOSE_NORMAL), payload.get("reason")
        reason = "" if reason is None else reason
        if not isinstance(reason, str) or not isinstance(code, int):
            raise TypeError(f'ws.close takes a reason, or {{"code", "reason"}}, got {payload!r}')
        if not is_close_code(code):
            log_soon(log, logging.ERROR, "%s: close code %d may not be sent", self.pid, code)
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
        interval = self.config.ping_interval
        if interval:
            due = min(due, self.ping_due, self.last_seen + interval * PING_INTERVALS_UNTIL_GONE)
        return due

    def tick(self, now: float) -> None:
        """Ping, or notice that nobody answers."""
        interval = self.config.ping_interval
        if interval and now >= (gone_at := self.last_seen + interval * PING_INTERVALS_UNTIL_GONE):
            if self.transport.is_reading and now < gone_at + STALL_SECONDS:
                self.fail(_PING_TIMEOUT)
                self.finish()
                return
            self.last_seen = now - interval  # it was us who did not listen: one more interval
        if interval and now >= self.ping_due:
            self.ping_due = next_beat(self.ping_due, interval, now)
            # Not with write(): a ping is no activity that keeps an idle connection.
            self.transport.write(encode_frame(OP_PING, b""), True)
        super().tick(now)

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection."""
        before = self.config
        super().control(payload)
        config, now = self.config, self.wheel.clock()
        self._parser.max_message_size = config.max_message_size
        self._is_plain = self._has_plain_writes()
        if config.max_rate != before.max_rate:
            self._allowance = (_burst(config.max_rate), now)
        if config.ping_interval != before.ping_interval:
            self.last_seen = now  # nobody has been asked until now
            self.ping_due = now + config.ping_interval
        self.reschedule()


def _burst(rate: float) -> float:
    return max(rate, 1.0)  # who may send one in ten seconds may send it at once
