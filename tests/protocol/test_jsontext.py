"""JSON is strict in both directions, whatever simplejson is there (§3.1, §3.4)."""

from decimal import Decimal

import pytest

from greenrelay.errors import ConfigurationError
from greenrelay.protocol.jsontext import decode_json, encode_json
from greenrelay.relay.config import parse_relay_header

CONSTANTS = ["NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("constant", CONSTANTS)
def test_what_is_no_number_is_not_read(constant):
    with pytest.raises(ValueError, match=constant):
        decode_json(f'{{"a": [{constant}]}}')


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("kind", [float, Decimal])
def test_what_is_no_number_is_not_written(kind, constant):
    """§3.4"""
    with pytest.raises(ValueError):  # noqa: PT011  # the text is simplejson's
        encode_json({"a": [kind(constant)]})


@pytest.mark.parametrize("constant", CONSTANTS)
def test_words_that_look_like_it_are_written_and_read(constant):
    """§3.4: in text and keys they are nothing special."""
    value = {constant: f'"{constant}", {constant}'}
    assert decode_json(encode_json(value)) == value


def test_signalling_decimal_is_not_written():
    """§3.4"""
    with pytest.raises(ValueError):  # noqa: PT011  # the text is simplejson's
        encode_json(Decimal("sNaN"))


def test_bytes_are_read_as_utf_8():
    assert decode_json('{"a": "\u00e9"}'.encode()) == {"a": "\u00e9"}


def test_metadata_of_a_header_is_json():
    """§3.1: a target gets nothing that it could not send on."""
    with pytest.raises(ConfigurationError, match="is no JSON"):
        parse_relay_header('{"target_pid": "proc@n/AAAAAAAAAAAAAAAA", "metadata": {"a": NaN}}')


@pytest.mark.parametrize("number", [Decimal("1.10"), Decimal("-0"), Decimal("1E+3")])
def test_decimal_keeps_its_digits(number):
    """§3.4"""
    assert encode_json(number).decode() == str(number)
