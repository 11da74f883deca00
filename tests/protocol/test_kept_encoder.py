"""The encoder that is kept writes what simplejson writes, whatever it has met before (§3.4)."""

import dataclasses
import datetime
import threading
import uuid
from collections import namedtuple
from decimal import Decimal

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.protocol import jsontext
from greenrelay.protocol.jsontext import encode_json, encode_text

Pair = namedtuple("Pair", "left right")  # noqa: PYI024  # as legacy code has them


def reference(value):
    """Return what a fresh encoder of simplejson's makes of a value."""
    return simplejson.dumps(
        value,
        separators=(",", ":"),
        ensure_ascii=False,
        default=jsontext._jsonable,
        encoding=None,
        allow_nan=False,
    )


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(),
    st.uuids().map(str),
    st.builds(Pair, st.integers(), st.text()),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_becomes_what_simplejson_makes_of_it(value):
    assert encode_text(value) == reference(value)


@pytest.mark.parametrize(
    "value",
    [
        {1: "int", None: "none", False: "false", 2.5: "float"},
        {"at": datetime.datetime(2026, 11, 21, 20, 30), "on": datetime.date(2026, 11, 21)},
        [uuid.UUID(int=7), Decimal("1.10"), (1, 2), Pair(1, "a")],
        '\u2028 \u00e9 \U0001f600 " \\ / \x00',
        10**40,
    ],
    ids=["keys", "dates", "kinds", "text", "large"],
)
def test_what_legacy_code_sends_becomes_the_same(value):
    assert encode_text(value) == reference(value)


def test_encoder_is_kept():
    """Where simplejson has its extension; it has on every platform that it ships wheels for."""
    kept = list(jsontext._KEPT)
    encode_json({"a": 1})
    assert kept
    assert kept == jsontext._KEPT


@pytest.mark.parametrize("bad", [object(), float("nan"), "\ud800"], ids=["type", "NaN", "half"])
def test_an_error_leaves_nothing_behind(bad):
    """What was being encoded would pass for a circle otherwise, the next time."""
    value = {"outer": [{"inner": bad}]}
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):  # noqa: PT011  # the text is simplejson's
            encode_json(value)
    value["outer"][0]["inner"] = "good"
    assert encode_json(value) == b'{"outer":[{"inner":"good"}]}'


def test_a_circle_is_an_error_each_time():
    circle = {}
    circle["self"] = circle
    for _ in range(2):
        with pytest.raises(ValueError, match="Circular reference"):
            encode_json(circle)


def test_nothing_is_kept_of_keys():
    """They may be a client's, and as many as it likes."""
    encode_json({f"key {number}": number for number in range(100)})
    assert [len(kept.keys) for kept in jsontext._KEPT] == [0]


def test_value_that_encodes_another_on_the_way_is_encoded():
    @dataclasses.dataclass
    class Nested:
        value: int

        def __getattribute__(self, name):
            if name == "value":
                return encode_json({"deeper": 1}).decode()
            return super().__getattribute__(name)

    assert encode_json({"a": Nested(1)}) == b'{"a":{"value":"{\\"deeper\\":1}"}}'


def test_threads_encode_at_once():
    value = {"rows": [{"n": number, "text": "x" * 20} for number in range(50)]}
    expected, seen = reference(value).encode(), set()

    def work():
        for _ in range(200):
            seen.add(encode_json(value))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == {expected}
    assert len(jsontext._KEPT) == 1


def test_without_the_extension_the_library_encodes(monkeypatch):
    monkeypatch.setattr(simplejson.encoder, "c_make_encoder", None)
    assert jsontext._keep_encoder() is None
    monkeypatch.setattr(jsontext, "_KEPT", [])
    assert encode_json({"a": [1, "b"]}) == b'{"a":[1,"b"]}'
