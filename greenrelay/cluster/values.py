"""Values on the wire (placeholder until the branch that has them is merged)."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import msgpack

from greenrelay.errors import NotPortable
from greenrelay.message import MonitorRef
from greenrelay.pid import PID


def _convert(value: Any, path: str, depth: int) -> Any:
    if depth > 200:
        raise NotPortable(f"{path} is too deep or cyclic")
    if isinstance(value, PID):
        return msgpack.ExtType(1, value.encode())
    if isinstance(value, MonitorRef):
        return msgpack.ExtType(2, pack([value.pid, value.number]))
    if isinstance(value, datetime.datetime):
        return msgpack.ExtType(3, value.isoformat().encode())
    if isinstance(value, datetime.date):
        return msgpack.ExtType(4, value.isoformat().encode())
    if isinstance(value, datetime.time):
        return msgpack.ExtType(5, value.isoformat().encode())
    if isinstance(value, decimal.Decimal):
        return msgpack.ExtType(6, str(value).encode())
    if isinstance(value, uuid.UUID):
        return msgpack.ExtType(7, value.bytes)
    if isinstance(value, dict):
        return {key: _convert(one, f"{path}[{key!r}]", depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_convert(one, f"{path}[{index}]", depth + 1) for index, one in enumerate(value)]
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    raise NotPortable(f"{path} is a {type(value).__name__}, which can't go to another node")


def _ext(code: int, data: bytes) -> Any:
    if code == 1:
        return PID(data.decode())
    if code == 2:
        return MonitorRef(*unpack(data))
    kinds: dict[int, Any] = {
        3: datetime.datetime.fromisoformat,
        4: datetime.date.fromisoformat,
        5: datetime.time.fromisoformat,
        6: decimal.Decimal,
    }
    return uuid.UUID(bytes=data) if code == 7 else kinds[code](data.decode())


def pack(value: Any, root: str = "payload") -> bytes:
    """Return a value's bytes.

    Raises:
        NotPortable: it, or a value in it, can't go to another node.
    """
    packed: bytes = msgpack.packb(_convert(value, root, 0))
    return packed


def unpack(data: bytes) -> Any:
    """Return the value that bytes are."""
    return msgpack.unpackb(data, ext_hook=_ext, strict_map_key=False)
