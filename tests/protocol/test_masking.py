"""Masking: the C function and the fallback keep one contract."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.utils import apply_mask as apply_mask_python

from greenrelay.protocol.masking import apply_mask

quick = settings(max_examples=150, deadline=None)
masks = st.binary(min_size=4, max_size=4)
both = pytest.mark.parametrize(
    "function", [apply_mask, apply_mask_python], ids=["chosen", "fallback"]
)


def outcome(function, data, mask):
    try:
        return function(data, mask)
    except Exception as error:
        return type(error), str(error)


@quick
@given(st.binary(max_size=300), masks)
def test_masking_is_xor_with_the_repeated_mask(data, mask):
    """§3.9, RFC 6455 §5.3"""
    expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    assert apply_mask(data, mask) == apply_mask_python(data, mask) == expected


@both
@quick
@given(data=st.binary(max_size=300), mask=masks)
def test_masking_twice_gives_the_data_back(function, data, mask):
    """§3.9"""
    assert function(function(data, mask), mask) == data


@quick
@given(st.binary(max_size=20), st.binary(max_size=9))
def test_both_functions_treat_any_mask_alike(data, mask):
    """§3.9: a mask that is not four bytes is an error in both."""
    assert outcome(apply_mask, data, mask) == outcome(apply_mask_python, data, mask)


@both
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_result_is_bytes_whatever_holds_the_data(function, kind):
    masked = function(kind(b"\x01\x02\x03\x04\x05"), b"\x01\x02\x03\x04")
    assert type(masked) is bytes
    assert masked == b"\x00\x00\x00\x00\x04"


@both
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 65535, 65536, 1 << 20])
def test_leading_and_trailing_zeros_keep_the_length(function, size):
    """Big integers know no leading zeros; messages do."""
    assert function(bytes(size), bytes(4)) == bytes(size)


def test_without_the_extension_the_fallback_is_taken():
    code = (
        "import sys; sys.modules['websockets.speedups'] = None\n"
        "from greenrelay.protocol import masking\n"
        "from websockets import utils\n"
        "assert masking.apply_mask is utils.apply_mask"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
