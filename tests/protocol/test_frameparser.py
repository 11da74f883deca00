"""The parser of client frames, against an independent encoder and every kind of broken peer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from greenrelay.protocol.frameparser import Close, FrameParser, Ping, Pong
from greenrelay.protocol.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    is_close_code,
)
from greenrelay.protocol.masking import apply_mask
from tests.protocol.client_frames import (
    ALLOWED,
    EIGHT_GB,
    FIN,
    MASK,
    TOO_BIG,
    almost_text,
    announce,
    cut,
    deflated,
    fault,
    few,
    frame,
    header,
    many,
    messages,
    parse,
    positions,
)

controls = st.one_of(
    st.binary(max_size=125).map(Ping),
    st.binary(max_size=125).map(Pong),
)
close_frames = st.builds(
    lambda code, reason: frame(OP_CLOSE, code + reason),
    st.one_of(st.sampled_from([b"", b"\x03", b"\x03\xe8", b"\x03\xed"]), st.binary(max_size=2)),
    almost_text.map(lambda text: text[:100]),
)
broken_frames = st.builds(
    lambda first, payload, form, masked: announce(first, len(payload), form, masked) + payload,
    st.integers(0, 255),
    st.binary(max_size=125),
    st.sampled_from([0, 0, 0, 16, 64]),
    st.sampled_from([True, True, True, False]),
)
data_frames = st.builds(
    frame,
    st.sampled_from([OP_TEXT, OP_BINARY, OP_CONT]),
    st.one_of(almost_text, st.binary(max_size=400)),
    st.booleans(),
)
control_frames = st.builds(frame, st.sampled_from([OP_PING, OP_PONG]), st.binary(max_size=125))
deflated_messages = st.builds(
    lambda opcode, payload, fin: deflated([Frame(Opcode(opcode), payload, fin)]),
    st.sampled_from([OP_TEXT, OP_BINARY]),
    st.one_of(almost_text, st.integers(0, 2000).map(bytes)),
    st.booleans(),
)
streams = st.lists(
    st.one_of(
        *(data_frames, control_frames, close_frames, broken_frames, deflated_messages),
        st.binary(max_size=20),
    ),
    max_size=6,
).map(b"".join)


@st.composite
def conversations(draw):
    """Return the bytes of correct frames, and the events they stand for."""
    data, events = b"", []
    for message in draw(st.lists(messages, max_size=4)):
        opcode = OP_TEXT if isinstance(message, str) else OP_BINARY
        payload = message.encode() if isinstance(message, str) else message
        pieces = cut(payload, draw(positions)) or [b""]
        for number, piece in enumerate(pieces, 1):
            for control in draw(st.lists(controls, max_size=1)):
                data += frame(OP_PING if isinstance(control, Ping) else OP_PONG, control.data)
                events.append(control)
            data += frame(opcode, piece, fin=number == len(pieces))
            opcode = OP_CONT
        events.append(message)
    return data, events


# -- any bytes, cut anywhere -----------------------------------------------------------------


@many
@given(streams, positions, st.booleans())
@example(frame(OP_TEXT, b"\xff") + b"\xff\xff", [1, 5], False)
@example(frame(OP_TEXT, "é".encode()[:1], fin=False) + frame(OP_CONT, b""), [8], False)
@example(frame(OP_BINARY, b"x" * 999, fin=False) + frame(OP_PING, b"y" * 125), [900], False)
def test_any_bytes_cut_anywhere_give_the_same_events_and_the_same_fault(data, positions, inflates):
    """§3.9: whether compression has been agreed on or not"""
    pieces = cut(data, positions)
    assert parse(pieces, inflates=inflates) == parse([data], inflates=inflates)


@few
@given(streams, st.booleans())
def test_any_bytes_one_by_one_give_the_same_events_and_the_same_fault(data, inflates):
    """§3.9"""
    pieces = [data[index : index + 1] for index in range(len(data))]
    assert parse(pieces, inflates=inflates) == parse([data], inflates=inflates)


@many
@given(conversations(), positions)
def test_correct_frames_give_back_exactly_their_messages(conversation, positions):
    """§3.9"""
    data, events = conversation
    assert parse(cut(data, positions), limit=0) == (events, None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_messages_of_every_form_of_length_come_back(size):
    """§3.9, RFC 6455 §5.2"""
    payload = bytes(index % 251 for index in range(size))
    assert parse([frame(OP_BINARY, payload)], limit=0) == ([payload], None)


def test_what_came_before_a_fault_is_given_out_first():
    """§3.9"""
    data = frame(OP_TEXT, b"one") + frame(OP_PING, b"two") + header(FIN | 3, 0)
    assert parse([data]) == (["one", Ping(b"two")], (1002, "opcode 0x3 is out of place"))


def test_control_frames_may_stand_between_fragments():
    """§3.9, RFC 6455 §5.4"""
    data = frame(OP_TEXT, b"he", fin=False) + frame(OP_PING, b"?") + frame(OP_PONG, b"!")
    data += frame(OP_CONT, b"", fin=False) + frame(OP_CONT, b"llo")
    assert parse([data]) == ([Ping(b"?"), Pong(b"!"), "hello"], None)


def test_a_read_that_looks_like_a_frame_may_be_the_rest_of_one():
    """§3.9: the peer chooses mask and payload, and the network where to cut."""
    looks = frame(OP_TEXT, b"evil")
    mask, payload = looks[:4], looks[4:]
    announced = announce(FIN | OP_BINARY, len(payload))
    assert parse([announced, looks]) == ([apply_mask(payload, mask)], None)
    inside = header(FIN | OP_BINARY, len(looks))
    assert parse([inside, looks]) == ([apply_mask(looks, MASK)], None)


@pytest.mark.parametrize("first", [OP_TEXT, OP_BINARY], ids=["text", "binary"])
def test_a_whole_frame_may_not_stand_inside_of_a_message(first):
    """§3.9, RFC 6455 §5.4: nor when it is all that a read brings"""
    pieces = [frame(OP_TEXT, b"a", fin=False), frame(first, b"b")]
    assert parse(pieces) == ([], (1002, f"opcode {first:#x} is out of place"))


@pytest.mark.parametrize("length", range(14))
def test_an_incomplete_header_waits_for_the_rest(length):
    """§3.9"""
    data = header(FIN | OP_BINARY, 1 << 16, 64)
    assert parse([data[:length]], limit=0) == ([], None)


# -- what is refused -------------------------------------------------------------------------

REFUSED = {
    "not masked": announce(FIN | OP_TEXT, 2, masked=False),
    "control frame not masked": announce(FIN | OP_PING, 0, masked=False),
    "first reserved bit": announce(FIN | 0x40 | OP_TEXT, 0),
    "second reserved bit": announce(FIN | 0x20 | OP_TEXT, 0),
    "third reserved bit": announce(FIN | 0x10 | OP_TEXT, 0),
    "reserved bit on a control frame": announce(FIN | 0x40 | OP_PING, 0),
    "reserved bit on a continuation": header(OP_TEXT, 0) + announce(FIN | 0x40 | OP_CONT, 0),
    **{
        f"unknown opcode {opcode:#x}": announce(FIN | opcode, 0)
        for opcode in (*range(3, 8), *range(11, 16))
    },
    "continuation of nothing": announce(FIN | OP_CONT, 0),
    "continuation after the end": header(FIN | OP_TEXT, 0) + announce(FIN | OP_CONT, 0),
    "text inside of a message": header(OP_TEXT, 0) + announce(FIN | OP_TEXT, 0),
    "binary inside of a message": header(OP_BINARY, 0) + announce(OP_BINARY, 0),
    "ping in fragments": announce(OP_PING, 0),
    "pong in fragments": announce(OP_PONG, 0),
    "close in fragments": announce(OP_CLOSE, 0),
    "ping of 126 bytes": announce(FIN | OP_PING, 126),
    "pong of 65536 bytes": announce(FIN | OP_PONG, 65536),
    "close of 126 bytes": announce(FIN | OP_CLOSE, 126),
    "0 in 16 bits": announce(FIN | OP_TEXT, 0, 16),
    "125 in 16 bits": announce(FIN | OP_TEXT, 125, 16),
    "0 in 64 bits": announce(FIN | OP_TEXT, 0, 64),
    "65535 in 64 bits": announce(FIN | OP_TEXT, 65535, 64),
    "highest bit of 64": announce(FIN | OP_BINARY, 1 << 63, 64),
    "all bits of 64": announce(FIN | OP_BINARY, (1 << 64) - 1, 64),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_broken_frames_are_refused_on_their_header_alone(data):
    """§3.9, RFC 6455 §5.1, §5.2, §5.4, §5.5: neither mask nor payload is waited for."""
    assert fault(data, limit=0) == 1002


def test_the_largest_possible_length_is_no_fault_without_a_limit():
    """§8: 0 is off."""
    assert fault(header(FIN | OP_BINARY, (1 << 63) - 1, 64), limit=0) is None


# -- size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1001, 65535, 65536, EIGHT_GB, (1 << 63) - 1])
@pytest.mark.parametrize("first", [FIN | OP_TEXT, FIN | OP_BINARY, OP_BINARY])
def test_an_announced_length_over_the_limit_is_refused_on_the_header_alone(first, length):
    """§3.9: oversize refused on the announced length before a byte of it is buffered."""
    assert parse([announce(first, length)]) == ([], TOO_BIG)


def test_a_message_of_exactly_the_limit_is_taken():
    """§3.9"""
    assert parse([frame(OP_BINARY, b"x" * 1000)]) == ([b"x" * 1000], None)


def test_fragments_count_together():
    """§3.9"""
    data = frame(OP_TEXT, b"x" * 600, fin=False)
    assert parse([data, frame(OP_CONT, b"y" * 400)]) == (["x" * 600 + "y" * 400], None)
    assert parse([data, announce(FIN | OP_CONT, 401)]) == ([], TOO_BIG)


def test_the_next_message_counts_from_zero():
    """§3.9"""
    data = frame(OP_TEXT, b"x" * 600, fin=False) + frame(OP_CONT, b"")
    assert parse([data, frame(OP_TEXT, b"y" * 600)]) == (["x" * 600, "y" * 600], None)


def test_control_frames_are_no_part_of_a_message():
    """§3.9: a ping between the fragments of an almost full message is none too big."""
    data = frame(OP_BINARY, b"x" * 990, fin=False) + frame(OP_PING, b"p" * 125)
    data += frame(OP_CONT, b"y" * 10)
    assert parse([data]) == ([Ping(b"p" * 125), b"x" * 990 + b"y" * 10], None)


def test_a_limit_on_messages_is_none_on_control_frames():
    """§3.9: RFC 6455 §5.5 lets them have 125 bytes."""
    data = frame(OP_PING, b"p" * 125) + frame(OP_CLOSE, b"\x03\xe8" + b"r" * 123)
    assert parse([data], limit=10) == ([Ping(b"p" * 125), Close(1000, "r" * 123)], None)


def test_the_limit_may_change_between_two_reads():
    """§3.6: `ws.control` may carry any field."""
    parser = FrameParser(10)
    assert list(parser.steps(frame(OP_TEXT, b"x" * 10))) == ["x" * 10]
    parser.max_message_size = 20
    assert list(parser.steps(frame(OP_TEXT, b"x" * 20))) == ["x" * 20]


# -- close frames ----------------------------------------------------------------------------

FORBIDDEN = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 5001, 65535]


@pytest.mark.parametrize("code", ALLOWED)
def test_close_codes_that_a_peer_may_send(code):
    """§3.5, §3.9, RFC 6455 §7.4"""
    assert is_close_code(code)
    assert parse([frame(OP_CLOSE, code.to_bytes(2, "big"))]) == ([Close(code, "")], None)


@pytest.mark.parametrize("code", FORBIDDEN)
def test_close_codes_that_a_peer_may_not_send(code):
    """§3.5, §3.9, RFC 6455 §7.4"""
    assert not is_close_code(code)
    reason = f"close code {code} may not be sent"
    assert parse([frame(OP_CLOSE, code.to_bytes(2, "big"))]) == ([], (1002, reason))


def test_a_close_frame_without_payload_has_no_status():
    """§3.9, RFC 6455 §7.1.5"""
    assert parse([frame(OP_CLOSE)]) == ([Close(1005, "")], None)


def test_a_close_frame_of_one_byte_is_refused():
    """§3.9, RFC 6455 §5.5.1"""
    reason = "a close frame holds no byte, or two and more"
    assert parse([frame(OP_CLOSE, b"\x03")]) == ([], (1002, reason))


def test_a_close_reason_is_text():
    """§3.9"""
    payload = b"\x03\xe9" + "tschüß".encode()
    assert parse([frame(OP_CLOSE, payload)]) == ([Close(1001, "tschüß")], None)


@pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"ok\xed\xa0\x80"])
def test_a_close_reason_that_is_no_text_is_refused(reason):
    """§3.9: 1007"""
    assert fault(frame(OP_CLOSE, b"\x03\xe8" + reason)) == 1007


def test_a_close_frame_may_interrupt_a_message():
    """§3.9, RFC 6455 §5.4"""
    data = frame(OP_TEXT, b"x", fin=False) + frame(OP_CLOSE, b"\x03\xe8")
    assert parse([data]) == ([Close(1000, "")], None)
