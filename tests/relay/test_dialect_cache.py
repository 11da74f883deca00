"""One payload is encoded once, and compressed once, for all its receivers."""

import pytest

from greenrelay.message import Message
from greenrelay.protocol.frames import OP_BINARY, deflate_frame, encode_frame
from greenrelay.relay.dialect import FrameCache
from tests.relay.actions import text_frame

# -- encoding once ---------------------------------------------------------------------------

LONG = "x" * 500  # not interned, as no text from outside is


@pytest.mark.parametrize("payload", [LONG, LONG.encode()], ids=["text", "bytes"])
def test_one_payload_on_one_topic_is_encoded_once(payload):
    """Also when user code loops over `send`, and each makes a message of its own."""
    frames = FrameCache()
    frame = frames.wrapped(Message("chat", payload))
    assert frames.wrapped(Message("chat", payload)) is frame
    assert (frames.frame, frames.message.payload) == (frame, payload)


@pytest.mark.parametrize(("kind", "data"), [("text", LONG), ("binary", LONG.encode())])
def test_one_payload_of_ws_send_is_encoded_once(kind, data):
    """The mapping around it may be another each time."""
    frames = FrameCache()
    frame = frames.raw(Message("ws.send", {"type": kind, "data": data}))
    assert frames.raw(Message("ws.send", {"type": kind, "data": data})) is frame


def test_the_last_message_is_told_with_its_frame():
    """A broadcast hands one message to all: who has it, has its frame."""
    frames, message = FrameCache(), Message("chat", {"a": 1})
    frame = frames.wrapped(message)
    assert frames.message is message
    assert frames.frame is frame


def test_a_new_cache_has_no_message():
    frames = FrameCache()
    assert frames.message is None


def test_an_equal_payload_is_another_payload():
    """By identity: comparing long texts for nothing would cost as much as it saves."""
    frames, twin = FrameCache(), "".join(list(LONG))
    frame = frames.wrapped(Message("chat", LONG))
    again = frames.wrapped(Message("chat", twin))
    assert again == frame
    assert again is not frame


OTHERS = {
    "another topic": (Message("chat", LONG), Message("news", LONG)),
    "raw, then wrapped": (Message("ws.send", {"type": "text", "data": LONG}), Message("a", LONG)),
    "wrapped, then raw": (Message("a", LONG), Message("ws.send", {"type": "text", "data": LONG})),
    "a topic named text": (
        Message("text", LONG),
        Message("ws.send", {"type": "text", "data": LONG}),
    ),
    "a topic named =text": (
        Message("=text", LONG),
        Message("ws.send", {"type": "text", "data": LONG}),
    ),
    "raw, then a topic named text": (
        Message("ws.send", {"type": "text", "data": LONG}),
        Message("text", LONG),
    ),
    "a mapping, then nothing": (Message("chat", {"secret": 1}), Message("chat", None)),
    "a bytearray, then nothing": (Message("chat", bytearray(b"secret")), Message("chat", None)),
    "nothing, twice": (Message("chat", None), Message("chat", None)),
    "raw bytes of a view, then nothing": (
        Message("ws.send", {"type": "binary", "data": memoryview(b"secret")}),
        Message("binary", None),
    ),
}


@pytest.mark.parametrize(("first", "second"), OTHERS.values(), ids=OTHERS.keys())
def test_what_was_sent_to_one_is_not_sent_for_another(first, second):
    """§3.4: the frame is the message's own, whatever the cache held."""
    frames = FrameCache()

    def encode(cache, message):
        return cache.raw(message) if message.topic == "ws.send" else cache.wrapped(message)

    encode(frames, first)
    assert encode(frames, second) == encode(FrameCache(), second)


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        ({"n": 1}, lambda payload: payload.update(n=2)),
        ([1], lambda payload: payload.append(2)),
        (bytearray(b"a"), lambda payload: payload.extend(b"b")),
    ],
    ids=["mapping", "list", "bytearray"],
)
def test_what_may_have_changed_is_encoded_again(payload, change):
    """§2.1: the very object is sent, not a copy; so its last frame proves nothing."""
    frames = FrameCache()
    frames.wrapped(Message("chat", payload))
    change(payload)
    assert frames.wrapped(Message("chat", payload)) == FrameCache().wrapped(
        Message("chat", payload)
    )


def test_a_raw_bytearray_that_has_changed_is_encoded_again():
    """§2.1"""
    frames, data = FrameCache(), bytearray(b"a")
    frames.raw(Message("ws.send", {"type": "binary", "data": data}))
    data.extend(b"b")
    frame = frames.raw(Message("ws.send", {"type": "binary", "data": data}))
    assert frame == encode_frame(OP_BINARY, b"ab")


# -- compressing once ------------------------------------------------------------------------


def test_a_frame_is_compressed_once_for_each_window():
    """§3.9: a broadcast is compressed once."""
    frames, frame = FrameCache(), text_frame(LONG)
    small, large = frames.deflated(frame, 9), frames.deflated(frame, 15)
    assert (small, large) == (deflate_frame(frame, 9), deflate_frame(frame, 15))
    assert frames.deflated(frame, 9) is small
    assert frames.deflated(frame, 15) is large


def test_another_frame_is_compressed_anew():
    """§3.9"""
    frames, first, second = FrameCache(), text_frame(LONG), text_frame("y" * 500)
    frames.deflated(first, 15)
    assert frames.deflated(second, 15) == deflate_frame(second, 15)
    assert frames.deflated(first, 15) == deflate_frame(first, 15)
