"""JSON as the relay writes it: compact, strict, and with what legacy code has in its payloads.

Strict in both directions with every simplejson: before 3.19 it reads and writes `NaN` unless it
is told not to, before 4.1.2 it writes a `Decimal` that is no number in any case. What it does not
know is written here, not by Flask's provider: that one writes dates as HTTP does, not as ISO 8601.
"""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from decimal import Decimal
from typing import Any, Final, NoReturn

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
    if _WRITES_BAD_DECIMALS and ("NaN" in text or "Infinity" in text):
        decode_json(text)  # in a string they are welcome
    return text.encode()


def decode_json(text: str | bytes) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: it is no JSON; `NaN` and `Infinity` are none.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)  # type: ignore[arg-type]  # bytes too, the stubs know only str


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


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
_DECODER: Final = simplejson.JSONDecoder(parse_constant=_refuse_constant)


def _writes_bad_decimals() -> bool:
    try:
        return bool(_ENCODER.encode(Decimal("NaN")))
    except ValueError:
        return False


_WRITES_BAD_DECIMALS: Final = _writes_bad_decimals()
