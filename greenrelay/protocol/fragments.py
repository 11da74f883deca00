"""A message that arrives in several frames, or in several reads (RFC 6455 §5.4), without I/O.

Its bytes are unmasked as they come and kept in one buffer; text is checked as it comes, unless it
is compressed. By hand as the parser it belongs to, `frameparser`.
"""

from __future__ import annotations

import codecs

from greenrelay.errors import ProtocolError
from greenrelay.protocol.deflate import inflate
from greenrelay.protocol.frames import OP_TEXT
from greenrelay.protocol.masking import MASK_BYTES, apply_mask
from greenrelay.wire import CLOSE_INVALID_DATA

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class OpenMessage:
    """A message that arrives in several frames, or in several reads."""

    __slots__ = ("_decoder", "_fin", "_is_text", "_mask", "is_deflated", "payload", "remaining")

    def __init__(self, opcode: int, is_deflated: bool) -> None:
        self.payload = bytearray()
        self._is_text = opcode == OP_TEXT
        self.is_deflated = is_deflated
        # Deflated text shows only when it is whole.
        self._decoder = _Utf8Decoder() if self._is_text and not is_deflated else None

    def begin_frame(self, mask: bytes, length: int, fin: int) -> None:
        """Expect `length` bytes of payload, with `fin` the message's last."""
        self._mask = mask
        self._fin = fin
        self.remaining = length

    def take(self, data: bytes, position: int) -> int:
        """Add what `data` has of the frame's payload; return the position behind it."""
        stop = min(len(data), position + self.remaining)
        piece = apply_mask(data[position:stop], self._mask)
        self.remaining -= len(piece)
        turn = len(piece) % MASK_BYTES
        self._mask = self._mask[turn:] + self._mask[:turn]
        self.payload += piece
        if self._decoder is not None:
            try:
                self._decoder.decode(piece, final=self.is_complete)
            except UnicodeDecodeError:
                raise invalid_text() from None
        return stop

    @property
    def is_complete(self) -> bool:
        """Whether the last frame's payload has been taken."""
        return bool(self._fin) and not self.remaining

    def finish(self, max_size: int) -> str | bytes:
        """Return the message; `max_size` bounds what it is inflated to."""
        payload = inflate(self.payload, max_size) if self.is_deflated else self.payload
        return decode_text(payload) if self._is_text else bytes(payload)


def decode_text(payload: bytes | bytearray) -> str:
    """Return the text of a whole message.

    Raises:
        ProtocolError: it is not UTF-8.
    """
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise invalid_text() from None


def invalid_text() -> ProtocolError:
    """Return the fault of a text that is not UTF-8."""
    return ProtocolError(CLOSE_INVALID_DATA, "text is not valid UTF-8")
