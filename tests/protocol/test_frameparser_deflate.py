"""Compressed messages in a client's frames, against an independent client (§3.9, RFC 7692)."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from greenrelay.errors import ProtocolError
from greenrelay.protocol.frameparser import FrameParser, Ping
from greenrelay.protocol.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, OP_TEXT
from greenrelay.protocol.masking import apply_mask
from tests.protocol.client_frames import (
    EIGHT_GB,
    FIN,
    MASK,
    TOO_BIG,
    announce,
    cut,
    deflated,
    fault,
    frame,
    header,
    many,
    masked,
    messages,
    parse,
    peak_of,
    positions,
)


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
            list(parser.steps(data))

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
