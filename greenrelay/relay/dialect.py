"""How messages look to a client: the relay's two dialects, and JSON for everything else.

Server to client both dialects work at once, by topic: `ws.send` is a raw frame, any
other topic becomes `{"topic": T, "data": D}`. Client to target the connection's
dialect decides: the bare `str` or `bytes`, or an envelope around it.
"""

from __future__ import annotations

import base64
import functools
from typing import Any, Final

from greenrelay.message import Message
from greenrelay.pid import PID
from greenrelay.protocol.frames import OP_BINARY, OP_TEXT, deflate_frame, encode_frame
from greenrelay.protocol.jsontext import encode_text

_SEND_TAKES: Final = (
    'ws.send takes {"type": "text", "data": str} or {"type": "binary", "data": bytes}'
)
_NOTHING: Final = object()  # not None: that is a payload


class FrameCache:
    """The last frame made, so that one payload is encoded once for all its receivers.

    A broadcast hands the same `Message` to every connection; a loop over `send`
    the same `str` or `bytes`. Both are recognised by identity: an equal text costs
    nothing to encode again, but comparing long ones for nothing would.
    """

    __slots__ = (
        "_data",
        "_deflated",
        "_deflated_of",
        "_kind",
        "_topic",
        "bad",
        "frame",
        "message",
    )

    def __init__(self) -> None:
        self.frame = b""
        """The last frame."""
        self.message: Message | None = None
        """The message it was made of."""
        self.bad: Message | None = None
        """The last message that no frame can be made of."""
        # What it was made of, if that can't have changed; and as what: one of the two.
        self._data: object = _NOTHING
        self._topic: object = _NOTHING
        self._kind: object = _NOTHING
        self._deflated: dict[int, bytes] = {}
        self._deflated_of = b""

    def refuse(self, message: Message) -> None:
        """Remember that no frame can be made of `message`."""
        self.bad = message

    def deflated(self, frame: bytes, window_bits: int) -> bytes:
        """Return `frame` compressed, once for all receivers with the same window."""
        if frame is not self._deflated_of:
            self._deflated_of, self._deflated = frame, {}
        deflated = self._deflated.get(window_bits)
        if deflated is None:
            deflated = self._deflated[window_bits] = deflate_frame(frame, window_bits)
        return deflated

    def raw(self, message: Message) -> bytes:
        """Return the frame that a `ws.send` asks for.

        Raises:
            TypeError: the payload is not `{"type": "text"|"binary", "data": …}`.
            ValueError: the text is not Unicode.
        """
        if message is self.message:
            return self.frame
        payload = message.payload
        try:
            data = payload["data"]
            kind = payload["type"]
        except (TypeError, LookupError):
            raise TypeError(f"{_SEND_TAKES}, got {payload!r:.80}") from None
        if data is self._data and kind == self._kind:
            return self.frame
        if kind == "text" and isinstance(data, str):
            frame = encode_frame(OP_TEXT, data.encode())
        elif kind == "binary" and isinstance(data, (bytes, bytearray, memoryview)):
            frame = encode_frame(OP_BINARY, bytes(data))
        else:
            raise TypeError(f"{_SEND_TAKES}, got type {kind!r:.80} with {type(data).__name__}")
        self.frame, self.message = frame, message
        self._topic, self._kind = _NOTHING, kind
        self._data = data if isinstance(data, (str, bytes)) else _NOTHING
        return frame

    def wrapped(self, message: Message) -> bytes:
        """Return the frame that any other topic becomes: `{"topic": T, "data": D}`.

        Raises:
            ValueError, TypeError: the payload is not JSON.
        """
        if message is self.message:
            return self.frame
        topic, payload = message.topic, message.payload
        if payload is self._data and topic == self._topic:
            return self.frame
        if isinstance(payload, (bytes, bytearray, memoryview)):
            data = base64.b64encode(bytes(payload)).decode()  # a view may have gaps
            frame = encode_frame(OP_BINARY, f'{_head(topic)}"{data}"}}'.encode())
        else:
            frame = encode_frame(OP_TEXT, f"{_head(topic)}{encode_text(payload)}}}".encode())
        self.frame, self.message = frame, message
        self._topic, self._kind = topic, _NOTHING
        # Anything else could have changed until it is sent again.
        self._data = payload if isinstance(payload, (str, bytes)) else _NOTHING
        return frame


@functools.lru_cache(maxsize=256)  # an app has few topics
def _head(topic: str) -> str:
    """Return the document up to its data."""
    return f'{{"topic":{encode_text(topic)},"data":'


def envelope(pid: PID, data: str | bytes, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a client's message as the envelope dialect hands it to the target."""
    return {
        "client_pid": pid,
        "type": "text" if isinstance(data, str) else "binary",
        "data": data,
        "metadata": metadata,
    }
