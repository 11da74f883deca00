"""JSON as the relay writes it: compact, strict, and with what legacy code has in its payloads.

Strict in both directions with every simplejson: before 3.19 it reads and writes `NaN` unless it
is told not to, before 4.1.2 it writes a `Decimal` that is no number in any case. What it does not
know is written here, not by Flask's provider: that one writes dates as HTTP does, not as ISO 8601.

For each call simplejson makes its encoder in C anew, which takes it two thirds of the time. So one
is kept: the library's own function runs once with our name for that maker among its globals, and
hands us what it makes. Where there is none, as without the C extension, the library encodes.

The kept encoder is this module's one mutable state. It belongs to no node and outlives no call
with anything in it; whoever encodes has it alone, others meanwhile go without.
"""

from __future__ import annotations

import dataclasses
import datetime
import types
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn

import simplejson
from simplejson.encoder import encode_basestring


def encode_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8.

    Beside JSON's own types it takes `Decimal`, `datetime`, `date`, `time` (ISO 8601),
    `UUID`, named tuples and dataclasses.

    Raises:
        TypeError, ValueError: a value is not JSON, not finite, or nested too deeply.
    """
    return encode_text(value).encode()


def encode_text(value: Any) -> str:
    """Return compact JSON, not yet in UTF-8; otherwise as `encode_json()`."""
    if type(value) is str:
        return encode_basestring(value)
    try:
        text = _encode_kept(value) if _KEPT else _ENCODER.encode(value)
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None
    if _WRITES_BAD_DECIMALS and ("NaN" in text or "Infinity" in text):
        decode_json(text)  # in a string they are welcome
    return text


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


class _Kept(NamedTuple):
    """What simplejson makes anew for each call, which takes it two thirds of the time."""

    encode: Callable[[Any, int], Iterable[str]]
    begun: dict[int, object]
    """The containers around a value, by which a circle shows; an error leaves some."""
    keys: dict[str, str]
    """The keys so far, as JSON; whoever chooses them must not fill it."""


def _keep_encoder() -> _Kept | None:
    """Return the encoder in C that `_ENCODER` makes, with its memory; `None`: it makes none."""
    made: list[_Kept] = []
    names = vars(simplejson.encoder).copy()
    make_in_c = names["c_make_encoder"]

    def make(begun: Any, *options: Any) -> Any:
        encode = make_in_c(begun, *options)
        (keys,) = (option for option in options if type(option) is dict)
        made.append(_Kept(encode, begun, keys))
        return encode

    # The library's own function, with that one name changed: what the encoder takes differs
    # from release to release.
    names["c_make_encoder"] = make
    iterencode = types.FunctionType(simplejson.JSONEncoder.iterencode.__code__, names)
    try:
        # Older releases ask whether all is wanted at once: yes.
        iterencode(_ENCODER, [], *[True] * (iterencode.__code__.co_argcount - 2))
    except (TypeError, ValueError):
        return None
    return made[0] if made else None


def _encode_kept(value: Any) -> str:
    try:
        kept = _KEPT.pop()
    except IndexError:  # by another thread, since somebody has looked
        return _ENCODER.encode(value)
    try:
        return "".join(kept.encode(value, 0))
    finally:
        kept.begun.clear()
        kept.keys.clear()
        _KEPT.append(kept)


_DECODER: Final = simplejson.JSONDecoder(parse_constant=_refuse_constant)


def _writes_bad_decimals() -> bool:
    try:
        return bool(_ENCODER.encode(Decimal("NaN")))
    except ValueError:
        return False


_WRITES_BAD_DECIMALS: Final = _writes_bad_decimals()
_KEPT: Final = [kept for kept in [_keep_encoder()] if kept is not None]
"""The kept encoder, while nobody uses it. Empty in another thread meanwhile, and in the `default`
of a value that is being encoded; then one is made anew."""
