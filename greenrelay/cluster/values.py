"""Values on their way to another node: msgpack, and extensions for what it does not know.

What can travel arrives as what it is: `None`, `bool`, `int` of any size, `float`, `str`, `bytes`,
`list`, `dict`, `datetime`, `date`, `time`, `Decimal`, `UUID`, `PID`, `MonitorRef`. A tuple, named
or not, arrives as a list; a zone as its offset from UTC at that time. Nothing else travels, and
nothing is guessed: a subclass is no `dict`, `str` or `int`, as it would arrive as something else.

Two rules: whoever sends what can't travel is told where in it that is; and any bytes at all give a
value or an `EnvelopeError`, in memory that is bounded by their number.

A kept encoder and kept PIDs are this module's mutable state. They belong to no node; whoever packs
has the encoder alone, others meanwhile make one.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from greenrelay.cluster.faults import describe_fault
from greenrelay.errors import ConfigurationError, EnvelopeError, NotPortable
from greenrelay.message import MonitorRef
from greenrelay.pid import PID

try:
    from msgpack import ExtType, Packer, Unpacker, unpackb
except ModuleNotFoundError:
    raise ConfigurationError(
        "a cluster needs msgpack, which is not installed: pip install 'greenrelay[cluster]'"
    ) from None

# What an extension's bytes are; the numbers are on the wire, and none is ever used anew.
PID_CODE: Final = 1  # its text
MONITOR_REF_CODE: Final = 2  # its number in 8 bytes, and the text of its PID
INT_CODE: Final = 3  # beyond 64 bits: two's complement, the highest byte first
DECIMAL_CODE: Final = 4  # its text
UUID_CODE: Final = 5  # its 16 bytes
DATETIME_CODE: Final = 6  # ISO 8601; a `~` in front says that it is the second of two alike
DATE_CODE: Final = 7  # ISO 8601
TIME_CODE: Final = 8  # as DATETIME_CODE

SMALL_BYTES: Final = 1024
"""So few can't claim more memory than a few MiB, whatever they say of their lengths."""

KEPT_BYTES: Final = 1024 * 1024 + SMALL_BYTES
"""An encoder that has written more than an envelope is not kept, nor its buffer."""

KEPT_PIDS: Final = 16 * 1024
"""So many PIDs are kept as they were read, in 6 MB at most: a room's broadcast names all of its
clients each time, in one order, and of more than are kept none would be found."""

_NUMBER = struct.Struct(">Q")


def pack(value: Any, root: str = "payload") -> bytes:
    """Return a value as bytes.

    Args:
        root: what the value is called in the text of an error.

    Raises:
        NotPortable: something in it can't travel; the text says where, like
            `payload["user"].avatar`.
    """
    try:
        encoder = _KEPT.pop()
    except IndexError:
        encoder = _Encoder()
    try:
        data = encoder.pack(value)
        if encoder.has_lists_for_tuples:
            encoder.has_lists_for_tuples = False
            unpack(data)  # a tuple that was a key shows as a list that can be none
    except (NotPortable, EnvelopeError, TypeError, ValueError, OverflowError):
        raise NotPortable(describe_fault(value, root, _EXTENSIONS)) from None
    if len(data) <= KEPT_BYTES:
        _KEPT.append(encoder)
    return data


def unpack(data: bytes) -> Any:
    """Return the value that `pack()` has made bytes of.

    Raises:
        EnvelopeError: there is none, by kind `malformed`.
    """
    try:
        if len(data) > SMALL_BYTES:
            _check_lengths(data)
        return unpackb(data, ext_hook=_unpack_extension, strict_map_key=False, timestamp=3)
    except (ValueError, TypeError, ArithmeticError) as error:
        kind = type(error).__name__
        raise EnvelopeError("malformed", f"no value: {kind}: {error}"[:200]) from None


def _check_lengths(data: bytes) -> None:
    """Raise if there are fewer bytes than their lengths claim.

    A list takes its memory when its length is read, and lists in lists would take a thousand
    times what a message may have; to step over them takes none.
    """
    stepping = Unpacker(read_size=len(data), max_buffer_size=len(data))
    stepping.feed(data)
    try:
        stepping.skip()
    except Exception as error:  # OutOfData is none of the built-in ones
        raise ValueError(f"{type(error).__name__}: {error}") from None


class _Encoder:
    """A packer, and what it has met since it was asked last."""

    __slots__ = ("has_lists_for_tuples", "pack")

    def __init__(self) -> None:
        packer = Packer(default=self._pack_other, strict_types=True)
        self.pack: Callable[[Any], bytes] = packer.pack
        self.has_lists_for_tuples = False

    def _pack_other(self, value: Any) -> Any:
        """Return what msgpack knows instead of a value that it does not know."""
        known = _EXTENSIONS.get(type(value))
        if known is not None:
            return _extension(ExtType, (known.code, known.pack(value)))
        if isinstance(value, tuple):
            self.has_lists_for_tuples = True
            return list(value)
        raise NotPortable(type(value).__name__)


# Without the checks of ExtType(), which take as long as all the rest.
_extension: Final = tuple.__new__


def _unpack_extension(code: int, data: bytes) -> Any:
    if code == PID_CODE:  # the most frequent by far
        return _unpack_pid(data)
    known = _UNPACK.get(code)
    if known is None:
        raise ValueError(f"extension {code} is not known")
    return known(data)


@functools.lru_cache(maxsize=KEPT_PIDS)
def _unpack_pid(data: bytes) -> PID:
    return PID.parse(data.decode())


def _pack_ref(ref: MonitorRef) -> bytes:
    return _NUMBER.pack(ref.number) + ref.pid.encode()


def _unpack_ref(data: bytes) -> MonitorRef:
    if len(data) < _NUMBER.size:
        raise ValueError("a MonitorRef without its number")
    (number,) = _NUMBER.unpack_from(data)
    return MonitorRef(_unpack_pid(data[_NUMBER.size :]), number)


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _unpack_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_text(value: Decimal) -> bytes:
    return str(value).encode()


def _unpack_decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _pack_uuid(value: UUID) -> bytes:
    return value.bytes


def _unpack_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _pack_date(value: date) -> bytes:
    return value.isoformat().encode()


def _unpack_date(data: bytes) -> date:
    return date.fromisoformat(data.decode("ascii"))


def _pack_time(value: datetime | time) -> bytes:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise NotPortable("a zone without an offset")
    text = value.isoformat()
    return (f"~{text}" if value.fold else text).encode()


def _unpack_datetime(data: bytes) -> datetime:
    if data[:1] == b"~":
        return datetime.fromisoformat(data[1:].decode("ascii")).replace(fold=1)
    return datetime.fromisoformat(data.decode("ascii"))


def _unpack_time(data: bytes) -> time:
    if data[:1] == b"~":
        return time.fromisoformat(data[1:].decode("ascii")).replace(fold=1)
    return time.fromisoformat(data.decode("ascii"))


class _Extension(NamedTuple):
    code: int
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


_EXTENSIONS: Final[dict[type, _Extension]] = {
    PID: _Extension(PID_CODE, str.encode, _unpack_pid),
    MonitorRef: _Extension(MONITOR_REF_CODE, _pack_ref, _unpack_ref),
    int: _Extension(INT_CODE, _pack_int, _unpack_int),
    Decimal: _Extension(DECIMAL_CODE, _pack_text, _unpack_decimal),
    UUID: _Extension(UUID_CODE, _pack_uuid, _unpack_uuid),
    datetime: _Extension(DATETIME_CODE, _pack_time, _unpack_datetime),
    date: _Extension(DATE_CODE, _pack_date, _unpack_date),
    time: _Extension(TIME_CODE, _pack_time, _unpack_time),
}
_UNPACK: Final = {known.code: known.unpack for known in _EXTENSIONS.values()}
_KEPT: Final[list[_Encoder]] = []
