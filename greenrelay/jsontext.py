"""JSON as the relay writes it: compact, strict, and with what legacy code has in its payloads."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from typing import Any, Final

import simplejson


def encode_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8.

    Beside JSON's own types it takes `Decimal`, `datetime`, `date`, `time` (ISO 8601),
    `UUID`, named tuples and dataclasses.

    Raises:
        TypeError, ValueError: a value is not JSON, not finite, or nested too deeply.
    """
    try:
        text: str = _ENCODER.encode(value)
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None
    return text.encode()


def _jsonable(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is not JSON; send what JSON has, or str() of it")


_ENCODER: Final = simplejson.JSONEncoder(
    default=_jsonable,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    # Or bytes that happen to be UTF-8 would pass as text, and others fail.
    encoding=None,  # type: ignore[arg-type]  # the stubs know no None
)
