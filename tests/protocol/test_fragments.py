"""Messages that come in pieces: their text is checked, their memory bounded (§3.9)."""

import pytest
from hypothesis import given

from greenrelay.protocol.frameparser import FrameParser
from greenrelay.protocol.frames import OP_BINARY, OP_CONT, OP_TEXT
from tests.protocol.client_frames import (
    EIGHT_GB,
    FIN,
    LIMIT,
    almost_text,
    cut,
    events_of,
    fault,
    frame,
    header,
    many,
    masked,
    parse,
    peak_of,
    positions,
)

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


# -- memory ----------------------------------------------------------------------------------


def peak_bytes(parser, pieces):
    """Return how much memory the parser takes at most while it is fed, and the last events."""
    last = []

    def feed_all():
        for piece in pieces:
            last[:] = events_of(parser, piece)

    return peak_of(feed_all), last


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
