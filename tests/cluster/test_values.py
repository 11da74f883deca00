"""Values travel between nodes as what they are; what can't is refused where it is sent (§7.4)."""

import contextlib
import dataclasses
import enum
import pathlib
import subprocess
import sys
import tracemalloc
from collections import OrderedDict, namedtuple
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from threading import Thread
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from greenrelay.cluster.faults import MAX_DEPTH
from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import EnvelopeError, GreenRelayError, NotPortable
from greenrelay.message import MonitorRef
from greenrelay.pid import PID
from tests.cluster.portable import is_as_sent, values

PID_TEXT = "proc@web1/AAECAwQFBgcICQoL"
THE_PID = PID.parse(PID_TEXT)
Place = namedtuple("Place", ["city", "at"])


@dataclasses.dataclass
class User:
    name: str


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class NowhereZone(tzinfo):
    """A zone that has no offset."""

    def utcoffset(self, when):
        return None


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


# -- what travels -------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_can_travel_arrives_as_what_it_is(value):
    """§7.4"""
    assert is_as_sent(value, unpack(pack(value)))


# The bytes are a promise: what any version has sent, each later one reads.
WIRE = {
    "None": (None, "c0"),
    "true": (True, "c3"),
    "int": (300, "cd012c"),
    "an int beyond 64 bits": (2**64, "c70903010000000000000000"),
    "a negative int beyond 64 bits": (-(2**63) - 1, "c70903ff7fffffffffffffff"),
    "float": (1.5, "cb3ff8000000000000"),
    "str": ("grün", "a56772c3bc6e"),
    "bytes": (b"\x00\xff", "c40200ff"),
    "list": ([1, []], "920190"),
    "dict": ({"a": 1, 2: "b"}, "82a1610102a162"),
    "PID": (THE_PID, "c71a01" + PID_TEXT.encode().hex()),
    "MonitorRef": (MonitorRef(THE_PID, 7), "c722020000000000000007" + PID_TEXT.encode().hex()),
    "Decimal": (Decimal("1.10"), "d604312e3130"),
    "UUID": (UUID(int=1), "d805" + "00" * 15 + "01"),
    "a naive datetime": (datetime(2026, 1, 2, 3, 4), "c71306" + b"2026-01-02T03:04:00".hex()),
    "an aware datetime": (
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))),
        "c71906" + b"2026-01-02T00:00:00+01:00".hex(),
    ),
    "the second of two alike": (
        datetime(2026, 1, 2, fold=1),
        "c71406" + b"~2026-01-02T00:00:00".hex(),
    ),
    "date": (date(2026, 1, 2), "c70a07" + b"2026-01-02".hex()),
    "time": (time(3, 4, 5, 6), "c70f08" + b"03:04:05.000006".hex()),
}


@pytest.mark.parametrize(("value", "wire"), WIRE.values(), ids=WIRE)
def test_a_value_is_written_as_ever(value, wire):
    assert pack(value).hex() == wire


@pytest.mark.parametrize(("value", "wire"), WIRE.values(), ids=WIRE)
def test_a_value_is_read_as_ever(value, wire):
    assert is_as_sent(value, unpack(bytes.fromhex(wire)))


def test_a_tuple_arrives_as_a_list():
    """§7.4"""
    assert unpack(pack({"at": (1, (2,))})) == {"at": [1, [2]]}


def test_a_named_tuple_arrives_as_a_list():
    """§7.4"""
    assert unpack(pack(Place("Kiel", (1, 2)))) == ["Kiel", [1, 2]]


def test_a_zone_arrives_as_its_offset():
    """§7.4: the same time, on the same clock."""
    sent = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    got = unpack(pack(sent))
    assert (got, got.utcoffset()) == (sent, timedelta(hours=2))


def test_utc_stays_utc():
    assert unpack(pack(datetime(2026, 7, 1, tzinfo=timezone.utc))).tzinfo is timezone.utc


def test_several_threads_pack_at_once():
    """§2.9"""
    wrong = []

    def work(number):
        for turn in range(500):
            value = [number, turn, THE_PID, (number,)]
            if unpack(pack(value)) != [number, turn, THE_PID, [number]]:
                wrong.append(value)

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_packing_goes_on_after_a_fault():
    with pytest.raises(NotPortable):
        pack(["written already", object()])
    assert unpack(pack("next")) == "next"


# -- what does not ------------------------------------------------------------------------

FAULTS = {
    "an object": (
        object(),
        "payload is of type object, which can't leave its node; send what JSON",
    ),
    "at a key": ({"user": object()}, 'payload["user"] is of type object'),
    "at an index": ([0, 1, 2, object()], "payload[3] is of type object"),
    "at a number": ({7: {True: object()}}, "payload[7][True] is of type object"),
    "at a field": ({"user": Place("Kiel", {1})}, 'payload["user"].at is of type set'),
    "in a tuple": ((1, {"a": (2, b"", object())}), 'payload[1]["a"][2] is of type object'),
    "at a long key": ({"k" * 99: object()}, 'payload["' + "k" * 39 + "…] is of type object"),
    "a dataclass": (
        {"user": User("Ann")},
        'payload["user"] is of type User, which can\'t leave its node',
    ),
    "a dataclass, and what to do": (User("Ann"), "send dataclasses.asdict() of it"),
    "a set": ({1, 2}, "payload is of type set, which can't leave its node; send a list"),
    "an enum": (Colour.RED, "is of type Colour, which can't leave its node; send its .value"),
    "an enum of numbers": (
        Level.LOW,
        "is of type Level, which can't leave its node; send its .value",
    ),
    "a subclass": (
        OrderedDict(a=1),
        "is of type OrderedDict, which can't leave its node; send dict() of",
    ),
    "a path": (pathlib.PurePosixPath("/x"), "payload is of type PurePosixPath, which"),
    "a class": (User, "payload is of type type, which"),
    "an error": (ValueError("x"), "payload is of type ValueError, which"),
    "a lambda": ([lambda: 0], "payload[0] is of type function"),
    "a complex number": (1j, "payload is of type complex, which"),
    "half a pair": ({"t": "\ud800"}, 'payload["t"] is no text: it has half a surrogate pair'),
    "half a pair as key": ({"\ud800": 1}, 'payload has a key that can\'t travel: "\\ud800" is no'),
    "a tuple as key": (
        {"a": {(1, 2): 3}},
        'payload["a"] has a key that would arrive as a list, (1',
    ),
    "an object as key": ({Colour: 3}, "payload has a key that can't travel: <enum"),
    "a time that needs a date": (
        [time(1, tzinfo=ZoneInfo("Europe/Berlin"))],
        "payload[0] has a zone without an offset, Europe/Berlin",
    ),
    "a zone that has none": (datetime(2026, 1, 1, tzinfo=NowhereZone()), "payload has a zone"),
    "too deep": (nested(3000), "payload has more than 500 containers in one another"),
    "behind what is deep": ([nested(20), [0, {1}]], "payload[1][1] is of type set"),
    "farther than is shown": (
        [[[[[[[[[[[[[{1}]]]]]]]]]]]]],
        f"payload{'[0]' * 11}… is of type set",
    ),
}


@pytest.mark.parametrize(("value", "text"), FAULTS.values(), ids=FAULTS)
def test_what_can_not_travel_is_told_with_its_path(value, text):
    """§7.4: to the sender."""
    with pytest.raises(NotPortable) as told:
        pack(value)
    assert text in str(told.value)


def test_a_circle_can_not_travel():
    ring = {"name": "ring", "next": [1]}
    ring["next"].append(ring)
    with pytest.raises(NotPortable, match=r'^payload\["next"\]\[1\] is a container that it is in'):
        pack(ring)


def test_the_same_value_twice_is_no_circle():
    twice = {"a": 1}
    assert unpack(pack([twice, [twice]])) == [{"a": 1}, [{"a": 1}]]


def test_what_is_not_portable_is_a_type_error_of_ours():
    """§7.4"""
    assert issubclass(NotPortable, TypeError)
    assert issubclass(NotPortable, GreenRelayError)


def test_the_root_has_the_name_it_is_given():
    with pytest.raises(NotPortable, match=r"^meta\[0\] is of type object"):
        pack([object()], "meta")


def test_as_many_containers_as_are_allowed_travel():
    assert unpack(pack(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


# -- any bytes ----------------------------------------------------------------------------


def reads_or_refuses(data):
    """Unpack; only one kind of error may come of it."""
    with contextlib.suppress(EnvelopeError):
        unpack(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\x81\x90\xc0")  # a list as key
@example(b"\x81\x80\xc0")  # a dict as key
@example(b"\xd4\x04a")  # a Decimal that is none
@example(b"\xc7\x16\x041e99999999999999999999")  # and one with an endless exponent
@example(b"\x81\xc7\x04\x04sNaN\xc0")  # one that can be no key
@example(b"\xd4\x05a")  # too little for a UUID
@example(b"\xd4\x01a")  # no PID
@example(b"\xd4\x02a")  # no MonitorRef
@example(b"\xd4\x03a")
@example(b"\xc7\x00\x03")  # an int of no bytes
@example(b"\xd4\x06~")
@example(b"\xd4\x09a")  # an extension that we do not know
@example(b"\xd6\xff\xff\xff\xff\xff")  # a time stamp of msgpack's own
@example(b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")  # one beyond any calendar
@example(b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff")  # one with too many nanoseconds
@example(b"\xa1\xff")  # no UTF-8
@example(b"\x91" * 5000 + b"\xc0")
@example(b"\xdd\xff\xff\xff\xff")
def test_any_bytes_are_a_value_or_malformed(data):
    """§7.4"""
    reads_or_refuses(data)


@settings(max_examples=300, deadline=None)
@given(values, st.data())
def test_a_value_with_altered_bytes_is_a_value_or_malformed(value, data):
    """§7.4"""
    wire = bytearray(pack(value))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    reads_or_refuses(bytes(wire))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\x00\x0f\x00\x00" * 1000 + b"\xc0" * 1_000_000,  # a thousand lists of a million
        b"\xdc\x04\x00" * 341,  # as many as stay below the check
        b"\xdf\x00\x07\x00\x00\x01" * 1000 + b"\xc0" * 1_000_000,
    ],
    ids=["lists", "small", "dicts"],
)
def test_lengths_that_lie_take_no_memory(bomb):
    """§7.4: a list takes its memory when its length is read."""
    tracemalloc.start()
    try:
        reads_or_refuses(bomb)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * 1024 * 1024


# -- without msgpack ----------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["msgpack"] = None
try:
    import greenrelay.cluster.values
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_msgpack_the_fix_is_told():
    """§7.1"""
    told = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True).stdout
    assert told.startswith("ConfigurationError ")
    assert "pip install 'greenrelay[cluster]'" in told
