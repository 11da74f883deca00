"""Frames as we send them, against an independent encoder, and which close codes may be sent."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from greenrelay.protocol.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    cut_reason,
    deflate_frame,
    encode_close,
    encode_frame,
    is_close_code,
)
from tests.protocol.client_frames import ALLOWED, FIN, few


def test_opcodes_are_those_of_the_rfc():
    """RFC 6455 §5.2"""
    assert (OP_CONT, OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG) == (0, 1, 2, 8, 9, 10)


def test_only_the_codes_of_the_registry_and_private_ones_are_allowed():
    """§3.5: 1000-1003, 1007-1014, 3000-4999"""
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(-1, 70000) if is_close_code(code)} == allowed


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


# -- compressed ------------------------------------------------------------------------------


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
