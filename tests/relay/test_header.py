"""A relay header between the view that writes it and the middleware that reads it."""

import copy
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.pid import PID
from greenrelay.relay.config import EVENT_STREAM, WEBSOCKET, Limits, parse_relay_header
from greenrelay.relay.header import KnownHeader, read_header, write_header
from tests.relay.headers import TARGET

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
METADATA = st.dictionaries(
    st.text() | st.integers(),
    st.recursive(
        SCALARS.filter(lambda value: value not in (float("inf"), -float("inf"))),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=5,
    ),
    max_size=3,
)


def write(**fields):
    return write_header({"target_pid": TARGET, **fields}, WEBSOCKET)


def test_a_written_header_is_read_without_parsing_it():
    written = write(compression=True, metadata={"user": [7, {"name": "Ann"}]})
    assert isinstance(written, KnownHeader)


@given(METADATA)
def test_what_a_written_header_knows_is_what_its_text_says(metadata):
    """§3.1: the header is JSON, whoever reads it."""
    written = write(metadata=metadata)
    assert read_header(written, WEBSOCKET) == parse_relay_header(str(written))


@pytest.mark.parametrize(
    "metadata",
    [{"size": (1, 2)}, {"price": Decimal("1.5")}, {7: "seven"}, {"pid": PID(TARGET)}],
    ids=["tuple", "Decimal", "number as a key", "PID"],
)
def test_a_header_knows_no_value_that_json_changes(metadata):
    read = read_header(write(metadata=metadata), WEBSOCKET)
    assert repr(read.metadata) == repr(parse_relay_header(str(write(metadata=metadata))).metadata)


def test_a_written_header_is_ascii():
    assert write(metadata={"name": "Zoë \ud800"}).isascii()


def test_a_middleware_that_rewrites_the_text_has_the_last_word():
    rewritten = write(max_rate=5).replace("5", "6")
    assert read_header(rewritten, WEBSOCKET).max_rate == 6


@pytest.mark.parametrize(
    "store", [copy.copy, copy.deepcopy, lambda header: pickle.loads(pickle.dumps(header))]
)
def test_a_written_header_may_be_stored_with_its_response(store):
    """As caches of responses do: the text is all that counts."""
    written = write(compression=True)
    assert type(store(written)) is str
    assert store(written) == written


def test_a_header_of_the_other_kind_is_read_by_that_kinds_rules():
    written = write(message_topic="said")
    assert read_header(written, EVENT_STREAM).heartbeat_interval == 30


def test_limits_hold_where_a_written_header_says_nothing():
    config = read_header(write(max_rate=5), WEBSOCKET, Limits(max_backlog=9, max_rate=1))
    assert (config.max_backlog, config.max_rate) == (9, 5)
