"""How messages look to a client: the relay's two dialects, and JSON for everything else.

Server to client both dialects work at once, by topic: `ws.send` is a raw frame, any
other topic becomes `{"topic": T, "data": D}`. Client to target the connection's
dialect decides: the bare `str` or `bytes`, or an envelope around it.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import uuid
from typing import Any

import simplejson

from greenrelay.frames import OP_BINARY, OP_TEXT, encode_frame
from greenrelay.message import Message
from greenrelay.pid import PID


class FrameCache:
    """The last frame made, so that one payload is encoded once for all its receivers.

    A broadcast hands the same `Message` to every connection; a loop over `send`
    the same `str` or `bytes`. Both are recognised by identity: an equal text costs
    nothing to encode again, but comparing long ones for nothing would.
    """

    __slots__ = ("_data", "_topic", "frame", "message")

    def __init__(self) -> None:
        self.frame = b""
        """The last frame."""
        self.message: Message | None = None
        """The message it was made of."""
        self._topic = ""
        self._data: object = None

    def raw(self, message: Message) -> bytes:
        """Return the frame that a `ws.send` asks for.

        Raises:
            LookupError, TypeError: the payload is not `{"type": "text"|"binary", "data": …}`.
        """
        payload = message.payload
        data = payload["data"]
        kind = payload["type"]
        if data is self._data and self._topic == kind:
            return self.frame
        if kind == "text" and isinstance(data, str):
            frame = encode_frame(OP_TEXT, data.encode())
        elif kind == "binary" and isinstance(data, (bytes, bytearray, memoryview)):
            frame = encode_frame(OP_BINARY, bytes(data))
        else:
            raise TypeError(
                'ws.send takes {"type": "text", "data": str} or {"type": "binary", "data": bytes}, '
                f"got type {kind!r} with {type(data).__name__}"
            )
        self.frame, self.message, self._topic = frame, message, kind
        self._data = data if isinstance(data, (str, bytes)) else None
        return frame

    def wrapped(self, message: Message) -> bytes:
        """Return the frame that any other topic becomes: `{"topic": T, "data": D}`.

        Raises:
            ValueError, TypeError: the payload is not JSON.
        """
        topic, payload = message.topic, message.payload
        if payload is self._data and self._topic == "=" + topic:
            return self.frame
        if isinstance(payload, (bytes, bytearray, memoryview)):
            encoded = base64.b64encode(payload).decode()
            frame = encode_frame(OP_BINARY, encode_json({"topic": topic, "data": encoded}))
        else:
            frame = encode_frame(OP_TEXT, encode_json({"topic": topic, "data": payload}))
        self.frame, self.message, self._topic = frame, message, "=" + topic
        # Anything else could have changed until it is sent again.
        self._data = payload if isinstance(payload, (str, bytes)) else None
        return frame


def envelope(pid: PID, data: str | bytes, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a client's message as the envelope dialect hands it to the target."""
    return {
        "client_pid": pid,
        "type": "text" if isinstance(data, str) else "binary",
        "data": data,
        "metadata": metadata,
    }


def encode_json(value: Any) -> bytes:
    """Return compact JSON; knows what legacy code has in its payloads.

    Raises:
        TypeError, ValueError: a value is not JSON.
    """
    text: str = simplejson.dumps(
        value, default=_jsonable, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _jsonable(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is not JSON; send what JSON has, or str() of it")
