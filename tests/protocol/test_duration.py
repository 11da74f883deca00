"""Durations, as people write them."""

import pytest

from greenrelay.protocol.duration import MAX_DURATION_SECONDS, parse_duration

GOOD = {
    # §3.1's own
    "30s": 30,
    "1m30s": 90,
    "500ms": 0.5,
    "2h": 7200,
    "0s": 0,
    # every unit, alone and together
    "5m": 300,
    "1h1m1s1ms": 3661.001,
    "1h1s": 3601,
    "1m5ms": 60.005,
    "1h5ms": 3600.005,
    # Go's and JavaScript's way
    "1h0m0s": 3600,
    "0h0m0s": 0,
    "0ms": 0,
    "90s": 90,
    "100m": 6000,
    "08s": 8,
    # fractions
    "1.5h": 5400,
    "0.25s": 0.25,
    "2.5m1.5s": 151.5,
    "8784h": MAX_DURATION_SECONDS,
}

BAD = {
    "": "no duration",
    " ": "no duration",
    "s": "no duration",
    "30": "no duration",
    "30 s": "no duration",
    " 30s": "no duration",
    "30s ": "no duration",
    "30s\n": "no duration",
    "30S": "no duration",
    "30sec": "no duration",
    "1d": "no duration",
    "1s1m": "no duration",
    "1ms1s": "no duration",
    "1s1s": "no duration",
    "1m1m": "no duration",
    ".5s": "no duration",
    "1.s": "no duration",
    "1,5s": "no duration",
    "1e3s": "no duration",
    "1_000s": "no duration",
    "+30s": "no duration",
    "0x10s": "no duration",
    "٣s": "no duration",
    "infs": "no duration",
    "nan": "no duration",
    "1m-30s": "no duration",
    "-30s": "can't be negative",
    "-0s": "can't be negative",
    "-": "can't be negative",
    "8785h": "longer than a year",
    "9" * 63 + "s": "longer than a year",
    "9" * 64 + "s": "no duration",
}

NOT_TEXT = [None, True, 30, 30.0, b"30s", ["30s"], {"seconds": 30}]


@pytest.mark.parametrize(("text", "seconds"), GOOD.items())
def test_durations_are_read_as_seconds(text, seconds):
    """§3.1"""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "fault"), BAD.items(), ids=[repr(text)[:20] for text in BAD])
def test_malformed_durations_are_refused_with_what_is_wrong(text, fault):
    """§3.1: negative or malformed is a configuration error."""
    with pytest.raises(ValueError, match=fault) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", NOT_TEXT, ids=repr)
def test_what_is_no_text_is_refused_with_what_to_write(value):
    """§3.1: a duration is a string."""
    with pytest.raises(ValueError, match="a duration is a string like '30s' or '1m30s', got"):
        parse_duration(value)


@pytest.mark.parametrize("value", [["x"] * 10_000, "-" * 10_000, "9" * 10_000])
def test_the_fault_is_shown_shortly(value):
    """A log line has a bound, whatever an app has put into the field."""
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(value)
    assert len(str(caught.value)) < 300
