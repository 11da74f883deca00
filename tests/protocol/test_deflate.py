"""permessage-deflate: what is agreed on, and messages there and back (§3.9, RFC 7692)."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from greenrelay.errors import ProtocolError
from greenrelay.protocol.deflate import deflate, inflate, max_deflated_size, negotiate

RESPONSE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"

# -- negotiation (RFC 7692 §7.1) -----------------------------------------------

AGREED = [
    pytest.param("permessage-deflate", "", 15, id="bare"),
    pytest.param("Permessage-Deflate", "", 15, id="in any case"),
    pytest.param("permessage-deflate; server_no_context_takeover", "", 15, id="server takeover"),
    pytest.param("permessage-deflate; client_no_context_takeover", "", 15, id="client takeover"),
    pytest.param("permessage-deflate; client_max_window_bits", "", 15, id="client bits, open"),
    pytest.param("permessage-deflate; client_max_window_bits=8", "", 15, id="client bits, 8"),
    pytest.param("permessage-deflate; client_max_window_bits=15", "", 15, id="client bits, 15"),
    pytest.param(
        "permessage-deflate; server_max_window_bits=9", "server_max_window_bits=9", 9, id="bits 9"
    ),
    pytest.param(
        'permessage-deflate;server_max_window_bits="12"',
        "server_max_window_bits=12",
        12,
        id="quoted",
    ),
    pytest.param(
        "permessage-deflate ; server_max_window_bits = 15 ",
        "server_max_window_bits=15",
        15,
        id="spaces",
    ),
    pytest.param("x-webkit-deflate-frame, permessage-deflate", "", 15, id="behind another"),
    pytest.param('other; note="a, b; c", permessage-deflate', "", 15, id="behind quoted commas"),
    pytest.param(
        "permessage-deflate; server_max_window_bits=8, permessage-deflate", "", 15, id="2nd offer"
    ),
    pytest.param(
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "server_max_window_bits=10",
        10,
        id="first offer",
    ),
    pytest.param(
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10; "
        "server_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10",
        10,
        id="all four",
    ),
]


@pytest.mark.parametrize(("offers", "more", "bits"), AGREED)
def test_offer_that_can_be_met_is_agreed_on(offers, more, bits):
    """§3.9"""
    response = f"{RESPONSE}; {more}" if more else RESPONSE
    assert negotiate(offers) == (response, bits)


DECLINED = [
    "",
    ",",
    "x-webkit-deflate-frame",
    "permessage-deflate-2",
    "permessage-deflate; unknown",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=09",
    "permessage-deflate; server_max_window_bits=+9",
    "permessage-deflate; server_max_window_bits=ten",
    "permessage-deflate; server_max_window_bits=٩",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=016",
    'permessage-deflate; client_max_window_bits=""',
    "permessage-deflate; server_max_window_bits=",
    'permessage-deflate; server_max_window_bits="12',
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover; Server_No_Context_Takeover",
    "permessage-deflate;",
    "permessage-deflate; ; client_max_window_bits",
    "permessage-deflate client_max_window_bits",
    "permessage-deflate=1",
    "; permessage-deflate",
    "broken;;, permessage-deflate",
]


@pytest.mark.parametrize("offers", DECLINED)
def test_offer_that_is_malformed_or_cannot_be_met_is_declined(offers):
    """§3.9"""
    assert negotiate(offers) is None


@given(st.text(st.sampled_from('permessage-deflate;,="\\ \t_max09'), max_size=200))
def test_any_offer_has_an_answer(offers):
    answer = negotiate(offers)
    assert answer is None or answer.response.startswith(RESPONSE)


def test_long_offer_takes_no_long_time():
    """A header may have 64 KiB, and patterns that go back over it would take minutes."""
    for text in ("a" * 65_000, "a;" * 32_000, "a" + " " * 65_000 + "!", 'a;b="' * 13_000):
        assert negotiate(text) is None


# -- there and back (RFC 7692 §7.2) --------------------------------------------

BITS = st.integers(9, 15)
PAYLOADS = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda piece, count: piece * count, st.binary(max_size=50), st.integers(0, 3000)),
)


@given(PAYLOADS, BITS)
def test_message_comes_back_as_it_was(payload, bits):
    assert inflate(deflate(payload, bits), 0) == payload
    assert inflate(bytearray(deflate(payload, bits)), len(payload)) == payload


@given(PAYLOADS, BITS)
def test_client_with_that_window_inflates_it(payload, bits):
    """RFC 7692 §7.1.2.1: no reference goes back farther than what was agreed on."""
    client = zlib.decompressobj(wbits=-bits)
    assert client.decompress(deflate(payload, bits) + TAIL) == payload


@given(st.lists(PAYLOADS, min_size=1, max_size=5), BITS)
def test_another_implementation_understands_ours(payloads, bits):
    peer = PerMessageDeflate(True, True, bits, 15)
    for payload in payloads:
        frame = Frame(Opcode.BINARY, deflate(payload, bits), rsv1=True)
        assert peer.decode(frame).data == payload


@given(st.lists(PAYLOADS, min_size=1, max_size=5), BITS, st.integers(0, 9))
def test_messages_of_another_implementation_are_understood(payloads, bits, level):
    peer = PerMessageDeflate(True, True, 15, bits, {"level": level})
    for payload in payloads:
        frame = peer.encode(Frame(Opcode.BINARY, payload))
        assert frame.rsv1
        assert len(frame.data) <= max_deflated_size(len(payload))
        assert inflate(bytes(frame.data), len(payload)) == payload


# -- what is no message --------------------------------------------------------


def refusal(payload, max_size=0):
    """Return the close code with which a payload is refused."""
    with pytest.raises(ProtocolError) as raised:
        inflate(payload, max_size)
    return raised.value.close_code


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff\xff\xff\xff", id="no block of any kind"),
        pytest.param(zlib.compress(b"hello" * 100), id="with zlib's own head"),
        pytest.param(b"\x00\x05\x00\x00\x00hello", id="lengths that contradict"),
        pytest.param(deflate(b"x" * 1000, 15)[:-3] + b"\xff" * 9, id="broken in the middle"),
    ],
)
def test_what_is_not_deflated_is_refused(payload):
    """§3.9: 1007"""
    assert refusal(payload) == 1007


@given(st.binary(max_size=500))
def test_any_bytes_inflate_or_are_refused(payload):
    try:
        size = len(inflate(payload, 1000))
    except ProtocolError as error:
        size, code = 0, error.close_code
    else:
        code = 0
    assert size <= 1000
    assert code in (0, 1007, 1009)


@pytest.mark.parametrize("size", [2, 64, 1000, 100_000])
def test_limit_is_on_the_inflated_size(size):
    """§3.9: 1009"""
    payload = deflate(b"x" * size, 15)
    assert inflate(payload, size) == b"x" * size
    assert refusal(payload, size - 1) == 1009


def last_block(data):
    """Return a stream that ends with a block marked as the last one."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(last_block(b"hello") + b"\x00", b"hello", id="as the RFC has it"),
        pytest.param(last_block(b"hello"), b"hello", id="nothing behind it"),
        pytest.param(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello", id="example of §7.2.3.4"),
        pytest.param(last_block(b"one ") + deflate(b"two", 15), b"one two", id="another behind it"),
        pytest.param(last_block(b"a") * 7 + deflate(b"b", 15), b"aaaaaaab", id="eight streams"),
    ],
)
def test_block_marked_as_the_last_is_no_end(payload, expected):
    """RFC 7692 §7.2.3.4"""
    assert inflate(payload, 100) == expected


def test_limit_counts_all_streams_together():
    """§3.9"""
    payload = last_block(b"x" * 60) + deflate(b"y" * 60, 15)
    assert inflate(payload, 120) == b"x" * 60 + b"y" * 60
    assert refusal(payload, 119) == 1009


def test_thousands_of_streams_are_an_attack():
    assert refusal(last_block(b"") * 10_000, 1000) == 1007


def test_bomb_costs_no_more_than_the_limit():
    """§8: a megabyte that would be a gigabyte."""
    compressor = zlib.compressobj(9, wbits=-15)
    megabyte = bytes(1 << 20)
    bomb = b"".join(compressor.compress(megabyte) for _ in range(64))
    bomb += compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    tracemalloc.start()
    assert refusal(bomb * 16, 1 << 20) == 1009
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
