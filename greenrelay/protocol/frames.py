"""WebSocket frames without I/O: RFC 6455 §5 to §8, the server's side.

    bytes in  ─► FrameParser.feed(data) ─► str | bytes | Ping | Pong | Close
    bytes out ◄─ encode_frame(opcode, payload), encode_close(code, reason)

Three rules: a length is judged before a byte of its payload is kept; text is
checked while it arrives, not when it is complete; the only exception is
`ProtocolError`, after everything that came before the fault has been given out.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from greenrelay.errors import ProtocolError
from greenrelay.protocol.deflate import MIN_DEFLATE_BYTES, deflate, inflate, max_deflated_size
from greenrelay.protocol.masking import apply_mask
from greenrelay.wire import (
    CLOSE_INVALID_DATA,
    CLOSE_NO_STATUS,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_TOO_BIG,
    MAX_CLOSE_REASON_BYTES,
)

# Opcodes. Source: RFC 6455 §5.2.
OP_CONT: Final = 0x0
OP_TEXT: Final = 0x1
OP_BINARY: Final = 0x2
OP_CLOSE: Final = 0x8
OP_PING: Final = 0x9
OP_PONG: Final = 0xA

_FIN: Final = 0x80
_RSV: Final = 0x70
_RSV1: Final = 0x40  # permessage-deflate's: this message is compressed
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MASK_BYTES: Final = 4
_SHORT_HEADER: Final = 2 + _MASK_BYTES
_MAX_CONTROL_BYTES: Final = 125  # §5.5

# What may follow what (§5.4): data opcodes outside a fragmented message, and inside one.
_MAY_START: Final = frozenset({OP_TEXT, OP_BINARY})
_MAY_CONTINUE: Final = frozenset({OP_CONT})
_CONTROL: Final = frozenset({OP_CLOSE, OP_PING, OP_PONG})

# Codes an endpoint may put into a close frame (§7.4.1 and the IANA registry, up to 1014).
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
_PRIVATE_CLOSE_CODES: Final = range(3000, 5000)

# Both bytes of a short frame's head, by opcode and length: looked up, not made.
_SHORT_HEADS: Final = {
    opcode: [bytes((_FIN | opcode, length)) for length in range(_LENGTH_16)]
    for opcode in (OP_TEXT, OP_BINARY, OP_TEXT | _RSV1, OP_BINARY | _RSV1, *_CONTROL)
}

_HEAD_16: Final = struct.Struct("!BBH")
_HEAD_64: Final = struct.Struct("!BBQ")

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class Ping(NamedTuple):
    """The peer wants a pong with the same data. Source: RFC 6455 §5.5.2."""

    data: bytes


class Pong(NamedTuple):
    """The peer is alive. Source: RFC 6455 §5.5.3."""

    data: bytes


class Close(NamedTuple):
    """The peer says goodbye; nothing after it counts. Source: RFC 6455 §5.5.1."""

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
        self._open: _OpenMessage | None = None  # a message that takes more than one piece

    def limit(self, max_message_size: int) -> None:
        """Take messages of so many bytes from now on; 0 is off."""
        self.max_message_size = max_message_size

    def take_whole(self, data: bytes) -> str | bytes | None:
        """Return the message that `data` is, if it is one whole frame and nothing else.

        Nine of ten reads are just that, and this is three times as fast as `feed()`,
        which takes everything; `None` leaves `data` to it.
        """
        size = len(data)
        if size < _SHORT_HEADER or self._pending or self._open is not None:
            return None
        length = data[1] - _MASKED
        start = _SHORT_HEADER
        if length == _LENGTH_16 and size > start + 2:
            start += 2
            length = data[2] << 8 | data[3]
            if length < _LENGTH_16:
                return None
        elif length == _LENGTH_64:
            start += 8
            length = int.from_bytes(data[2:10], "big")
            if length < 1 << 16:
                return None
        if size - start != length or length > self.max_message_size > 0:
            return None
        if data[0] == _FIN | OP_TEXT:
            try:
                return str(_unmask(data, start, size), "utf-8")
            except UnicodeDecodeError:
                return None
        return _unmask(data, start, size) if data[0] == _FIN | OP_BINARY else None

    def feed(self, data: bytes) -> Iterator[FrameEvent]:
        """Yield what `data` completes, in order.

        Exhaust the iterator before the next call, or never call again.

        Raises:
            ProtocolError: fail the connection with its `close_code`.
        """
        return (event for event in self.steps(data) if event is not None)

    def steps(self, data: bytes) -> Iterator[FrameEvent | None]:
        """Yield once for each frame in `data`: what it completes, `None` if nothing.

        So whoever asks may stop after some frames, however small, and go on later.
        Otherwise as `feed()`.
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
            opcode = first & _OPCODE
            if opcode in _CONTROL:
                if stop > end:
                    self._pending = data[position:]
                    return
                yield _control_event(opcode, _unmask(data, start, stop))
                position = stop
            elif stop <= end and first & _FIN and opcode != OP_CONT and not first & _RSV1:
                payload = _unmask(data, start, stop)
                yield payload if opcode == OP_BINARY else _decode(payload)
                position = stop
            else:
                message = self._open_message(opcode, bool(first & _RSV1))
                message.begin_frame(data[start - _MASK_BYTES : start], stop - start, first & _FIN)
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
        if length == _LENGTH_16:
            start += 2
            if start > end:
                return None
            length = int.from_bytes(data[start - 2 : start], "big")
            _check_form(length, minimum=_LENGTH_16)
        elif length == _LENGTH_64:
            start += 8
            if start > end:
                return None
            length = int.from_bytes(data[start - 8 : start], "big")
            _check_form(length, minimum=1 << 16)
        if first & _OPCODE not in _CONTROL:  # those are bounded, and no part of a message
            self._check_size(first, length)
        start += _MASK_BYTES
        if start > end:
            return None
        return first, start, start + length

    def _check_header(self, first: int, second: int, length: int) -> None:
        if first & _RSV and not (self._inflates and self._begins_deflated(first)):
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, "client frames must be masked")
        opcode = first & _OPCODE
        if opcode in _CONTROL:
            if not first & _FIN:
                raise ProtocolError(CLOSE_PROTOCOL_ERROR, "control frames can't be fragmented")
            if length > _MAX_CONTROL_BYTES:
                raise ProtocolError(CLOSE_PROTOCOL_ERROR, "control frames hold 125 bytes at most")
        elif opcode not in (_MAY_START if self._open is None else _MAY_CONTINUE):
            raise ProtocolError(CLOSE_PROTOCOL_ERROR, f"opcode {opcode:#x} is out of place")

    def _begins_deflated(self, first: int) -> bool:
        """Tell whether RSV1, and nothing else, marks the first frame of a message."""
        return first & _RSV == _RSV1 and first & _OPCODE in _MAY_START

    def _check_size(self, first: int, length: int) -> None:
        limit = self.max_message_size
        message = self._open
        size = length if message is None else length + len(message.payload)
        if size > limit > 0:
            # The limit is on inflated bytes: inflate() will judge them.
            is_deflated = first & _RSV1 if message is None else message.is_deflated
            if not is_deflated or size > max_deflated_size(limit):
                raise ProtocolError(CLOSE_TOO_BIG, f"messages hold {limit} bytes at most")

    def _open_message(self, opcode: int, is_deflated: bool) -> _OpenMessage:
        if self._open is None:
            self._open = _OpenMessage(opcode, is_deflated)
        return self._open

    def _finish(self, message: _OpenMessage) -> str | bytes | None:
        if not message.is_complete:
            return None
        self._open = None
        return message.finish(self.max_message_size)


class _OpenMessage:
    """A message that arrives in several frames, or in several reads."""

    __slots__ = ("_decoder", "_fin", "_is_text", "_mask", "is_deflated", "payload", "remaining")

    def __init__(self, opcode: int, is_deflated: bool) -> None:
        self.payload = bytearray()
        self._is_text = opcode == OP_TEXT
        self.is_deflated = is_deflated
        # Deflated text shows only when it is whole.
        self._decoder = _Utf8Decoder() if self._is_text and not is_deflated else None

    def begin_frame(self, mask: bytes, length: int, fin: int) -> None:
        self._mask = mask
        self._fin = fin
        self.remaining = length

    def take(self, data: bytes, position: int) -> int:
        """Add what `data` has of the frame's payload; return the position behind it."""
        stop = min(len(data), position + self.remaining)
        piece = apply_mask(data[position:stop], self._mask)
        self.remaining -= len(piece)
        turn = len(piece) % _MASK_BYTES
        self._mask = self._mask[turn:] + self._mask[:turn]
        self.payload += piece
        if self._decoder is not None:
            try:
                self._decoder.decode(piece, final=self.is_complete)
            except UnicodeDecodeError:
                raise _invalid_text() from None
        return stop

    @property
    def is_complete(self) -> bool:
        return bool(self._fin) and not self.remaining

    def finish(self, max_size: int) -> str | bytes:
        payload = inflate(self.payload, max_size) if self.is_deflated else self.payload
        return _decode(payload) if self._is_text else bytes(payload)


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole, unmasked frame, as a server sends it.

    Source: RFC 6455 §5.2.
    """
    length = len(payload)
    if length < _LENGTH_16:
        return _SHORT_HEADS[opcode][length] + payload
    if length < 1 << 16:
        return _HEAD_16.pack(_FIN | opcode, _LENGTH_16, length) + payload
    return _HEAD_64.pack(_FIN | opcode, _LENGTH_64, length) + payload


def deflate_frame(frame: bytes, window_bits: int) -> bytes:
    """Return a whole frame of a message, compressed if that makes it shorter.

    Source: RFC 7692 §6.
    """
    start = 2 + {_LENGTH_16: 2, _LENGTH_64: 8}.get(frame[1], 0)
    if len(frame) - start < MIN_DEFLATE_BYTES:
        return frame
    deflated = encode_frame((frame[0] & _OPCODE) | _RSV1, deflate(frame[start:], window_bits))
    return deflated if len(deflated) < len(frame) else frame


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; 1005 gives one without a code, a long reason is cut.

    Source: RFC 6455 §5.5.1.
    """
    if code == CLOSE_NO_STATUS:
        return encode_frame(OP_CLOSE, b"")
    return encode_frame(OP_CLOSE, code.to_bytes(2, "big") + cut_reason(reason))


def cut_reason(reason: str) -> bytes:
    """Return `reason` as UTF-8, cut to 123 bytes on a character's border."""
    text = reason.encode("utf-8", "replace")
    return text[:MAX_CLOSE_REASON_BYTES].decode("utf-8", "ignore").encode()


def is_close_code(code: int) -> bool:
    """Tell whether an endpoint may put `code` into a close frame."""
    return code in _CLOSE_CODES or code in _PRIVATE_CLOSE_CODES


def _check_form(length: int, minimum: int) -> None:
    if length < minimum:
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, "the length is not minimally encoded")
    if length >> 63:
        raise ProtocolError(CLOSE_PROTOCOL_ERROR, "the length's highest bit is set")


def _unmask(data: bytes, start: int, stop: int) -> bytes:
    return apply_mask(data[start:stop], data[start - _MASK_BYTES : start])


def _decode(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _invalid_text() from None


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
        raise _invalid_text() from None


def _invalid_text() -> ProtocolError:
    return ProtocolError(CLOSE_INVALID_DATA, "text is not valid UTF-8")
