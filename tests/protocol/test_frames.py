"""Frames of RFC 6455, against an independent encoder and against every kind of broken peer."""

import random
import tracemalloc
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from greenrelay.errors import ProtocolError
from greenrelay.protocol.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Close,
    FrameParser,
    Ping,
    Pong,
    cut_reason,
    deflate_frame,
    encode_close,
    encode_frame,
    is_close_code,
)
from greenrelay.protocol.masking import apply_mask

FIN = 0x80
LIMIT = 1000
MASK = b"\x12\x34\x56\x78"
EIGHT_GB = 8 * 1024**3

few = settings(max_examples=80, deadline=None)
many = settings(max_examples=250, deadline=None)


# -- making bytes ------------------------------------------------------------------------


def frame(opcode, payload=b"", fin=True):
    """Return a correct client frame, made by an encoder that is not ours."""
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)


def announce(first, length, form=0, masked=True):
    """Return a frame's bytes before its mask; `length` in 7, 16 or 64 bits, 0: as it should be."""
    form = form or (7 if length < 126 else 16 if length < 1 << 16 else 64)
    second = {7: length, 16: 126, 64: 127}[form] | (0x80 if masked else 0)
    return bytes((first, second)) + (b"" if form == 7 else length.to_bytes(form // 8, "big"))


def header(first, length, form=0):
    return announce(first, length, form) + MASK


def deflated(frames):
    """Return what an independent client compresses a message's frames to."""
    extension = PerMessageDeflate(True, True, 15, 15)
    return b"".join(item.serialize(mask=True, extensions=[extension]) for item in frames)


def masked(payload):
    return bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


def parse(pieces, limit=LIMIT, inflates=False):
    """Return the events before the fault, and `(close_code, reason)` of the fault or `None`."""
    parser, events = FrameParser(limit, inflates), []
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                events.append(event)
    except ProtocolError as error:
        return events, (error.close_code, error.reason)
    return events, None


def fault(data, limit=LIMIT, inflates=False):
    """Return the close code with which `data` is refused, `None` if it is not."""
    outcome = parse([data], limit, inflates)[1]
    return outcome and outcome[0]


def cut(data, positions):
    borders = sorted({0, len(data), *(position % (len(data) + 1) for position in positions)})
    return [data[start:stop] for start, stop in zip(borders, borders[1:], strict=False)]


# -- strategies ----------------------------------------------------------------------------

positions = st.lists(st.integers(0, 1 << 20), max_size=8)
controls = st.one_of(
    st.binary(max_size=125).map(Ping),
    st.binary(max_size=125).map(Pong),
)
messages = st.one_of(st.text(max_size=200), st.binary(max_size=300))
almost_text = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=40),
    st.lists(
        st.one_of(
            st.text(max_size=5).map(str.encode),
            st.sampled_from(
                [b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x92", b"\xf4\x90\x80"]
            ),
        ),
        max_size=8,
    ).map(b"".join),
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


def test_opcodes_are_those_of_the_rfc():
    """RFC 6455 §5.2"""
    assert (OP_CONT, OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG) == (0, 1, 2, 8, 9, 10)


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


# -- text ------------------------------------------------------------------------------------


@many
@given(almost_text, positions)
def test_text_is_valid_exactly_when_a_strict_decoder_takes_the_whole_message(text, positions):
    """§3.9: 1007"""
    pieces = cut(text, positions) or [b""]
    data = b"".join(
        frame(OP_CONT if number else OP_TEXT, piece, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    )
    try:
        expected = [text.decode("utf-8", "strict")], None
    except UnicodeDecodeError:
        expected = [], (1007, "text is not valid UTF-8")
    assert parse([data]) == expected


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x80", id="continuation byte first"),
        pytest.param(b"\xc0\xaf", id="overlong of two"),
        pytest.param(b"\xe0\x80\xaf", id="overlong of three"),
        pytest.param(b"\xf0\x80\x80\xaf", id="overlong of four"),
        pytest.param(b"\xed\xa0\x80", id="surrogate"),
        pytest.param(b"\xf4\x90\x80\x80", id="above U+10FFFF"),
        pytest.param(b"\xf8\x88\x80\x80", id="five bytes"),
        pytest.param(b"\xff", id="never a byte of UTF-8"),
        pytest.param(b"\xc3(", id="sequence broken off"),
    ],
)
@pytest.mark.parametrize("fin", [FIN, 0], ids=["last frame", "first fragment"])
def test_invalid_text_is_refused_before_the_message_is_complete(bad, fin):
    """§3.9: UTF-8 checked incrementally"""
    start = header(fin | OP_TEXT, 900) + masked("grüße ".encode() + bad)
    assert fault(start) == 1007
    assert parse([start[index : index + 1] for index in range(len(start))])[1][0] == 1007


def test_a_character_may_be_cut_by_a_fragment():
    """§3.9, RFC 6455 §5.6"""
    smile = "😀".encode()
    data = frame(OP_TEXT, smile[:1], fin=False) + frame(OP_CONT, smile[1:3], fin=False)
    assert parse([data, frame(OP_CONT, smile[3:])]) == (["😀"], None)


def test_a_character_may_not_be_cut_by_the_end_of_the_message():
    """§3.9: 1007"""
    data = frame(OP_TEXT, b"\xf0\x9f", fin=False) + frame(OP_CONT, b"")
    assert fault(data) == 1007


def test_binary_messages_are_not_checked_for_text():
    """§3.9"""
    data = frame(OP_BINARY, b"\xff", fin=False) + frame(OP_CONT, b"\xfe")
    assert parse([data]) == ([b"\xff\xfe"], None)


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

TOO_BIG = (1009, "messages hold 1000 bytes at most")


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
    assert list(parser.feed(frame(OP_TEXT, b"x" * 10))) == ["x" * 10]
    parser.max_message_size = 20
    assert list(parser.feed(frame(OP_TEXT, b"x" * 20))) == ["x" * 20]


# -- compressed messages -----------------------------------------------------------------------


@many
@given(messages, positions, positions, st.binary(max_size=9))
def test_compressed_messages_come_back(message, fragments, reads, ping):
    """§3.9: in any fragments, with a ping between, in any reads, beside a plain one"""
    opcode = OP_TEXT if isinstance(message, str) else OP_BINARY
    payload = message.encode() if isinstance(message, str) else message
    pieces = cut(payload, fragments) or [b""]
    frames = [
        Frame(Opcode(OP_CONT if number else opcode), piece, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]
    frames.insert(1, Frame(Opcode.PING, ping))
    data = deflated(frames) + frame(opcode, payload)
    events = [Ping(ping), message] if len(pieces) > 1 else [message, Ping(ping)]
    assert parse(cut(data, reads), limit=0, inflates=True) == ([*events, message], None)


RESERVED = {
    "not agreed on": (FIN | 0x40 | OP_TEXT, False, 1002),
    "agreed on": (FIN | 0x40 | OP_TEXT, True, None),
    "first of fragments": (0x40 | OP_BINARY, True, None),
    "with the second bit": (FIN | 0x60 | OP_TEXT, True, 1002),
    "with the third bit": (FIN | 0x50 | OP_TEXT, True, 1002),
    "the second bit alone": (FIN | 0x20 | OP_TEXT, True, 1002),
    "on a ping": (FIN | 0x40 | OP_PING, True, 1002),
    "on a close": (FIN | 0x40 | OP_CLOSE, True, 1002),
    "on a continuation": (FIN | 0x40 | OP_CONT, True, 1002),
}


@pytest.mark.parametrize(
    ("first", "inflates", "code"), RESERVED.values(), ids=[f"RSV1 {name}" for name in RESERVED]
)
def test_a_reserved_bit_means_compression_where_it_was_agreed_on(first, inflates, code):
    """§3.9, RFC 7692 §6"""
    assert fault(announce(first, 9), inflates=inflates) == code


def test_only_the_first_frame_of_a_message_says_that_it_is_compressed():
    """RFC 7692 §6.1"""
    data = header(0x40 | OP_TEXT, 0) + announce(FIN | 0x40 | OP_CONT, 0)
    assert fault(data, inflates=True) == 1002


def test_the_limit_counts_inflated_bytes():
    """§3.9, §8: 1 MiB after inflating"""
    fits, too_big = (deflated([Frame(Opcode.BINARY, bytes(size))]) for size in (1000, 1001))
    assert parse([fits], inflates=True) == ([bytes(1000)], None)
    assert parse([too_big], inflates=True) == ([], TOO_BIG)


@pytest.mark.parametrize("size", [1000, 100_000, 1 << 20])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_message_of_exactly_the_limit_may_be_longer_when_deflated(size, level):
    """§8: what can't be compressed grows by a few bytes."""
    payload = random.Random(size).randbytes(size)
    packer = zlib.compressobj(level, wbits=-15, memLevel=1)
    packed = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    data = header(FIN | 0x40 | OP_BINARY, len(packed)) + apply_mask(packed, MASK)
    assert len(packed) > size
    assert parse([data], size, inflates=True) == ([payload], None)


def test_what_is_far_too_long_even_compressed_is_refused_on_its_header():
    """§3.9: before a byte of it is buffered"""
    assert fault(announce(FIN | 0x40 | OP_BINARY, EIGHT_GB), inflates=True) == 1009
    assert fault(announce(FIN | 0x40 | OP_BINARY, 2000), inflates=True) == 1009
    assert fault(announce(FIN | OP_BINARY, 1001), inflates=True) == 1009


def test_a_bomb_does_not_go_off():
    """§3.9: no more is ever inflated than is allowed."""
    data = deflated([Frame(Opcode.BINARY, bytes(30_000_000))])
    parser = FrameParser(1 << 16, inflates=True)

    def explode():
        with pytest.raises(ProtocolError, match="65536 bytes at most"):
            list(parser.feed(data))

    assert len(data) < 1 << 16
    assert peak_of(explode) < 1_000_000


def test_compressed_text_is_checked_when_it_is_whole():
    """§3.9: 1007"""
    data = deflated([Frame(Opcode.TEXT, b"valid, and then \xff")])
    assert parse([data], inflates=True) == ([], (1007, "text is not valid UTF-8"))


def test_what_is_not_deflated_is_refused():
    """§3.9: 1007, RFC 7692 §7.2.2"""
    data = header(FIN | 0x40 | OP_BINARY, 4) + masked(b"\xff\xff\xff\xff")
    assert fault(data, inflates=True) == 1007


@pytest.mark.parametrize("window_bits", [9, 12, 15])
@pytest.mark.parametrize("size", [64, 200, 70_000])
def test_an_independent_client_inflates_our_frames(size, window_bits):
    """§3.9"""
    payload = (b"the same again, " * size)[:size]
    made = deflate_frame(encode_frame(OP_TEXT, payload), window_bits)
    start = 2 if made[1] < 126 else 4
    assert made[0] == FIN | 0x40 | OP_TEXT
    assert len(made) < size
    extension = PerMessageDeflate(True, True, window_bits, 15)
    inflated = extension.decode(Frame(Opcode.TEXT, made[start:], rsv1=True))
    assert inflated.data == payload


@pytest.mark.parametrize("payload", [b"", b"x" * 63, bytes(range(256))], ids=len)
def test_what_gains_nothing_is_not_compressed(payload):
    """§3.9"""
    made = encode_frame(OP_BINARY, payload)
    assert deflate_frame(made, 15) is made


# -- memory ----------------------------------------------------------------------------------


def peak_of(function):
    """Return how many bytes a function takes at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_bytes(parser, pieces):
    """Return how much memory the parser takes at most while it is fed, and the last events."""
    last = []

    def feed():
        for piece in pieces:
            last[:] = parser.feed(piece)

    return peak_of(feed), last


@pytest.mark.parametrize("opcode", [OP_BINARY, OP_TEXT])
def test_a_message_that_trickles_in_is_kept_in_one_piece(opcode):
    """§3.9: a list of its bytes would take 8 times its size, and more."""
    size = 1 << 17
    data = frame(opcode, b"x" * size)
    pieces = (data[index : index + 1] for index in range(len(data)))
    peak, last = peak_bytes(FrameParser(size), pieces)
    assert len(last[0]) == size
    assert peak < 3.5 * size


def test_a_message_of_a_mebibyte_takes_little_more_than_itself_twice():
    """§3.9: the buffer, and the copy that is given out."""
    data = frame(OP_BINARY, b"x" * (1 << 20))
    pieces = (data[index : index + 64] for index in range(0, len(data), 64))
    peak, last = peak_bytes(FrameParser(1 << 20), pieces)
    assert last == [b"x" * (1 << 20)]
    assert peak < 3.5 * (1 << 20)


def test_an_announced_length_takes_no_memory():
    """§3.9: what arrives is kept, not what is promised."""
    pieces = [header(FIN | OP_BINARY, EIGHT_GB), b"x" * 100]
    assert peak_bytes(FrameParser(0), pieces)[0] < 10_000


def test_fragments_without_payload_take_no_memory():
    """§3.9"""
    pieces = [header(OP_TEXT, 0), *[header(OP_CONT, 0) * 100] * 100]
    assert peak_bytes(FrameParser(LIMIT), pieces)[0] < 10_000


# -- close frames ----------------------------------------------------------------------------

ALLOWED = [*range(1000, 1004), *range(1007, 1015), 3000, 3001, 3999, 4000, 4998, 4999]
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


def test_only_the_codes_of_the_registry_and_private_ones_are_allowed():
    """§3.5: 1000-1003, 1007-1014, 3000-4999"""
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(-1, 70000) if is_close_code(code)} == allowed


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


# -- encoding --------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [OP_TEXT, OP_BINARY, OP_PING, OP_PONG])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_our_frames_are_those_of_an_independent_encoder(opcode, size):
    """§3.9, RFC 6455 §5.2: the shortest form of the length, not masked."""
    if opcode in (OP_PING, OP_PONG):
        size = min(size, 125)
    payload = b"\xa5" * size
    assert encode_frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


@few
@given(st.sampled_from(ALLOWED), st.text(max_size=200))
def test_our_close_frames_are_valid(code, reason):
    """§3.5: reasons are cut to 123 bytes on a character's border."""
    data = encode_close(code, reason)
    assert data[:1] == bytes((FIN | OP_CLOSE,))
    assert data[1] == len(data) - 2 <= 125
    assert int.from_bytes(data[2:4], "big") == code
    assert data[4:] == cut_reason(reason)


def test_a_close_frame_without_status_has_no_payload():
    """§3.9: 1005 may not be sent."""
    assert encode_close(1005, "anything") == bytes((FIN | OP_CLOSE, 0))


@few
@given(st.text(max_size=200))
@example("é" * 62)
@example("x" + "😀" * 31)
@example("x" * 124)
def test_a_long_reason_is_cut_on_a_characters_border(reason):
    """§3.5"""
    text = cut_reason(reason).decode()
    assert reason.startswith(text)
    rest = reason[len(text) : len(text) + 1]
    assert len(text.encode()) <= 123
    assert not rest or len((text + rest).encode()) > 123


def test_half_a_surrogate_pair_in_a_reason_becomes_a_question_mark():
    """§3.5: a reason that is no Unicode is the app's slip, not the connection's end."""
    assert cut_reason("bad \ud800") == b"bad ?"
