"""What a client sees of a message, and a target of a client's: both dialects, and JSON's edges."""

import base64
import datetime
import decimal
import enum
import json
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.message import Message
from greenrelay.pid import PID
from greenrelay.protocol.frames import OP_BINARY, OP_TEXT, encode_frame
from greenrelay.relay.dialect import FrameCache, envelope
from tests.relay.actions import text_frame

TARGET = PID("proc@web1/AAECAwQFBgcICQoL")


def wrap(payload, topic="chat"):
    return FrameCache().wrapped(Message(topic, payload))


def wrapped_json(payload):
    """Return how a payload stands in `data`, in the very letters."""
    frame = wrap(payload)
    start, end = frame.index(b'{"topic":"chat","data":'), frame.rindex(b"}")
    assert frame[0] == 0x80 | OP_TEXT
    return frame[start:end].decode().removeprefix('{"topic":"chat","data":')


def send(kind, data):
    return FrameCache().raw(Message("ws.send", {"type": kind, "data": data}))


# -- ws.send ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "hello", "grüße 😀", "x" * 70_000, '{"a": 1}'])
def test_a_text_is_sent_as_it_is(text):
    """§3.4: a raw frame of that type"""
    assert send("text", text) == text_frame(text)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_sent_as_they_are(kind):
    """§3.4"""
    assert send("binary", kind(b"\xff\0")) == encode_frame(OP_BINARY, b"\xff\0")


def test_every_second_byte_of_a_view_is_sent():
    """§3.4: a view need not be in one piece."""
    view = memoryview(b"a-b-c-")[::2]
    assert send("binary", view) == encode_frame(OP_BINARY, b"abc")
    assert b'"data":"YWJj"' in wrap(view)


def test_a_text_of_a_subclass_is_text():
    """§3.4: a PID is a str to everyone who does not care."""
    assert send("text", TARGET) == text_frame(TARGET)


NO_SEND = {
    "nothing": None,
    "a text": "hello",
    "bytes": b"hello",
    "a list": ["text", "hello"],
    "a number": 7,
    "an empty mapping": {},
    "no type": {"data": "hello"},
    "no data": {"type": "text"},
    "data of None": {"type": "text", "data": None},
    "a number as text": {"type": "text", "data": 7},
    "bytes as text": {"type": "text", "data": b"hello"},
    "a mapping as text": {"type": "text", "data": {}},
    "a text as binary": {"type": "binary", "data": "hello"},
    "a list as binary": {"type": "binary", "data": [1, 2]},
    "None as binary": {"type": "binary", "data": None},
    "another type": {"type": "json", "data": "hello"},
    "another case": {"type": "TEXT", "data": "hello"},
    "an empty type": {"type": "", "data": None},
    "a type that is no text": {"type": ["text"], "data": "hello"},
    "a type of None": {"type": None, "data": None},
}


@pytest.mark.parametrize("payload", NO_SEND.values(), ids=NO_SEND.keys())
def test_a_malformed_send_is_answered_with_what_to_write(payload):
    """§3.4: the sender's error"""
    with pytest.raises(TypeError, match=r'ws.send takes {"type": "text", "data": str} or .*, got'):
        FrameCache().raw(Message("ws.send", payload))


@pytest.mark.parametrize("payload", NO_SEND.values(), ids=NO_SEND.keys())
def test_a_malformed_send_is_refused_whatever_was_sent_before(payload):
    """§3.4: what the cache holds is never sent for something else."""
    for before in ({"type": "text", "data": "hello"}, {"type": "binary", "data": bytearray(b"x")}):
        frames = FrameCache()
        frames.raw(Message("ws.send", before))
        with pytest.raises(TypeError, match=r"ws\.send takes"):
            frames.raw(Message("ws.send", payload))


@pytest.mark.parametrize("kind", ["binary", "chat", "=chat", None])
def test_the_type_of_a_send_counts_although_its_data_is_known(kind):
    """§3.4: the very same object, after it has been encoded on a topic and as text."""
    frames, data = FrameCache(), "hello"
    frames.wrapped(Message("chat", data))
    with pytest.raises(TypeError):
        frames.raw(Message("ws.send", {"type": kind, "data": data}))
    frames.raw(Message("ws.send", {"type": "text", "data": data}))
    with pytest.raises(TypeError):
        frames.raw(Message("ws.send", {"type": kind, "data": data}))


def test_a_text_that_is_no_unicode_is_the_senders_error():
    """§3.4"""
    with pytest.raises(ValueError, match="surrogates"):
        send("text", "\ud800")


# -- any other topic -------------------------------------------------------------------------


def test_a_text_becomes_a_json_string_in_a_text_frame():
    """§3.4"""
    assert wrap('say "grüße"\n') == text_frame('{"topic":"chat","data":"say \\"grüße\\"\\n"}')


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_become_base64_in_a_binary_frame(kind):
    """§3.4"""
    data = bytes(range(256))
    frame = wrap(kind(data))
    assert frame[0] == 0x80 | OP_BINARY
    sent = json.loads(frame[4:])
    assert sent == {"topic": "chat", "data": base64.b64encode(data).decode()}


def test_everything_else_is_embedded():
    """§3.4"""
    assert wrap({"a": [1, None]}) == text_frame('{"topic":"chat","data":{"a":[1,null]}}')


@pytest.mark.parametrize("topic", ["ws.message", "ws.join", "a b", "größe", 'with "quotes"', "\n"])
def test_topics_are_escaped(topic):
    """§3.4"""
    assert json.loads(wrap(1, topic)[2:]) == {"topic": topic, "data": 1}


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: "inf" not in repr(value))
)
def test_an_independent_decoder_reads_what_was_sent(payload):
    """§3.4"""
    assert json.loads(wrapped_json(payload)) == payload


# -- what legacy code has in its payloads ------------------------------------------------------


@dataclass
class Point:
    x: int
    when: datetime.date | None = None
    child: Any = None


class Pair(NamedTuple):
    a: int
    b: int


class Colour(str, enum.Enum):
    RED = "red"


WHEN = datetime.datetime(2024, 2, 29, 12, 30, 15, 250, datetime.timezone.utc)
ENCODED = {
    "Decimal": (decimal.Decimal("10.50"), "10.50"),
    "large Decimal": (decimal.Decimal("123456789012345678901234567890.12"), None),
    "Decimal with exponent": (decimal.Decimal("1E+3"), "1E+3"),
    "Decimal zero": (decimal.Decimal("-0.00"), "-0.00"),
    "Decimal inside": ({"price": [decimal.Decimal("0.1")]}, '{"price":[0.1]}'),
    "datetime": (WHEN, '"2024-02-29T12:30:15.000250+00:00"'),
    "naive datetime": (WHEN.replace(microsecond=0, tzinfo=None), '"2024-02-29T12:30:15"'),
    "date": (WHEN.date(), '"2024-02-29"'),
    "time": (datetime.time(9, 5), '"09:05:00"'),
    "UUID": (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    "dataclass": (Point(1), '{"x":1,"when":null,"child":null}'),
    "dataclass with a date": (
        Point(1, WHEN.date()),
        '{"x":1,"when":"2024-02-29","child":null}',
    ),
    "dataclass in a dataclass": (
        Point(1, child=[Point(2)]),
        '{"x":1,"when":null,"child":[{"x":2,"when":null,"child":null}]}',
    ),
    "named tuple": (Pair(1, 2), '{"a":1,"b":2}'),
    "tuple": ((1, 2), "[1,2]"),
    "enumeration of texts": (Colour.RED, '"red"'),
    "PID": (TARGET, f'"{TARGET}"'),
    "PID inside": ({"client_pid": TARGET}, f'{{"client_pid":"{TARGET}"}}'),
    "numbers as keys": ({1: "a", 2.5: "b", None: "c"}, '{"1":"a","2.5":"b","null":"c"}'),
    "beyond ASCII": ("é😀\u2028", '"é😀\u2028"'),
    "control characters": ("\0\x1f", '"\\u0000\\u001f"'),
    "a large integer": (2**70, str(2**70)),
    "nothing": (None, "null"),
}


@pytest.mark.parametrize(("payload", "text"), ENCODED.values(), ids=ENCODED.keys())
def test_what_legacy_code_sends_is_encoded(payload, text):
    """§3.4: `Decimal`, `datetime`, `UUID`, dataclasses"""
    encoded = wrapped_json(payload)
    assert text is None or encoded == text
    json.loads(encoded)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def circular():
    value = []
    value.append({"again": value})
    return value


def circular_dataclass():
    value = Point(1)
    value.child = value
    return value


NOT_JSON = {
    "a set": {1},
    "an object": object(),
    "an exception": ValueError("x"),
    "a complex number": 1j,
    "a function": len,
    "a class": Point,
    "a generator": (x for x in [1]),
    "a duration": datetime.timedelta(1),
    "not a number": float("nan"),
    "infinity": [float("-inf")],
    "no Decimal number": {"a": decimal.Decimal("Infinity")},
    "bytes inside": {"a": b"abc"},
    "other bytes inside": {"a": b"\xff"},
    "a bytearray inside": [bytearray(b"abc")],
    "bytes as a key": {b"a": 1},
    "a tuple as a key": {(1, 2): 3},
    "a set inside of a dataclass": Point({1}),
    "half a surrogate pair": "\ud800",
    "half a surrogate pair as a key": {"\udfff": 1},
    "a circle": circular(),
    "a circle of dataclasses": circular_dataclass(),
    "nested without end": nested(100_000),
}


@pytest.mark.parametrize("payload", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_is_the_senders_error(payload):
    """§3.4: a payload that can't be encoded; no other exception, and no invalid JSON."""
    with pytest.raises((TypeError, ValueError)) as caught:
        wrap(payload)
    assert str(caught.value)


@pytest.mark.parametrize(
    ("payload", "name"), [({1}, "set"), ([b"x"], "bytes"), (Point, "type"), (1j, "complex")]
)
def test_the_error_names_the_type_and_the_way_out(payload, name):
    """§3.4"""
    with pytest.raises(TypeError, match=f"{name} is not JSON; send what JSON has"):
        wrap(payload)


def test_an_error_leaves_the_last_frame_in_place():
    """§3.4: the connection lives, and so does the cache."""
    frames, text = FrameCache(), "hello"
    frame = frames.wrapped(Message("chat", text))
    with pytest.raises(TypeError):
        frames.wrapped(Message("chat", {1}))
    assert frames.wrapped(Message("chat", text)) is frame


# -- client to target ------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "kind"), [("hi", "text"), ("", "text"), (b"\xff", "binary")])
def test_the_envelope_names_client_type_data_and_metadata(data, kind):
    """§3.3"""
    metadata = {"user": 7}
    made = envelope(TARGET, data, metadata)
    assert made == {"client_pid": TARGET, "type": kind, "data": data, "metadata": metadata}
    assert type(made["client_pid"]) is PID
