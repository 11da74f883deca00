"""Both relay headers: every field, what it may hold, and what is said when it holds another."""

import dataclasses
from types import MappingProxyType

import pytest

from greenrelay.pid import PID
from greenrelay.relay.config import (
    DEFAULT_LIMITS,
    EVENT_STREAM,
    WEBSOCKET,
    Limits,
    RelayConfig,
    parse_relay_header,
    relay_config,
)
from tests.relay.headers import TARGET, fault, header, parse_stream, said

# -- what holds without a word ---------------------------------------------------------------


def test_only_the_target_is_required():
    """§3.1"""
    config = parse_relay_header(header())
    assert type(config.target_pid) is PID
    assert config == RelayConfig(target_pid=PID(TARGET))
    assert set(WEBSOCKET.fields) == {"target_pid", *DEFAULTS}


DEFAULTS = {
    "message_topic": "ws.message",
    "heartbeat_interval": 0.0,
    "metadata": {},
    "dialect": "raw",
    "max_message_size": 1024 * 1024,
    "max_backlog": 1024 * 1024,
    "slow_consumer": "close",
    "ping_interval": 25.0,
    "idle_timeout": 0.0,
    "compression": False,
    "max_rate": 0.0,
}


STREAM_DEFAULTS = {
    "target_pid": "",
    "message_topic": "sse.message",
    "heartbeat_interval": 30.0,
    "metadata": {},
    "max_backlog": 1024 * 1024,
    "slow_consumer": "close",
    "idle_timeout": 0.0,
    "hard_timeout": 0.0,
    "retry": 0.0,
}


@pytest.mark.parametrize("fields", [{}, {"metadata": {}}, {"max_rate": 5, "dialect": "envelope"}])
def test_connections_that_are_told_the_same_hold_the_same(fields):
    assert parse_relay_header(header(**fields)) is parse_relay_header(header(**fields))


def test_connections_that_have_other_limits_or_another_kind_share_nothing():
    """§3.1, §5.1"""
    first, second = (relay_config({"target_pid": TARGET}, Limits(max_rate=rate)) for rate in (1, 2))
    assert (first.max_rate, second.max_rate) == (1, 2)
    assert parse_stream(target_pid=TARGET) != parse_relay_header(header())


def test_metadata_is_kept_for_no_other_connection():
    assert parse_relay_header(header(metadata={"user": 7})).metadata == {"user": 7}
    assert parse_relay_header(header()).metadata == {}


@pytest.mark.parametrize(("field", "value"), DEFAULTS.items(), ids=DEFAULTS.keys())
def test_defaults(field, value):
    """§3.1, §8"""
    assert getattr(parse_relay_header(header()), field) == value


@pytest.mark.parametrize(("field", "value"), STREAM_DEFAULTS.items(), ids=STREAM_DEFAULTS.keys())
def test_defaults_of_an_event_stream(field, value):
    """§5.1, §5.2: no field is required."""
    assert getattr(parse_stream(), field) == value
    assert set(EVENT_STREAM.fields) == set(STREAM_DEFAULTS)


def test_every_field_has_a_default_that_is_tested():
    """§3.1: a new field belongs into the table above."""
    names = {item.name for item in dataclasses.fields(RelayConfig)}
    assert names == {"target_pid", *DEFAULTS, *STREAM_DEFAULTS}


def test_the_limits_around_a_header_hold_where_it_says_nothing():
    """§3.1: per-connection limits, overriding the router's."""
    limits = Limits(max_message_size=10, ping_interval=0.0, dialect="envelope")
    config = parse_relay_header(header(max_message_size=20), limits)
    assert (config.max_message_size, config.ping_interval) == (20, 0.0)
    assert config.dialect == "envelope"
    assert config.max_backlog == DEFAULT_LIMITS.max_backlog


def test_two_connections_share_no_metadata():
    """§3.1"""
    one, other = (parse_relay_header(header(metadata={"rooms": ["tea"]})) for _ in range(2))
    assert one.metadata is not other.metadata
    assert one.metadata["rooms"] is not other.metadata["rooms"]


def test_what_connections_without_metadata_share_can_not_be_changed():
    """§3.1"""
    with pytest.raises(TypeError):
        parse_relay_header(header()).metadata["user"] = 7


# -- every field, good -----------------------------------------------------------------------

NOTHING = MappingProxyType({})
GOOD = [
    ("target_pid", TARGET, PID(TARGET)),
    ("message_topic", "chat", "chat"),
    ("message_topic", "a b/c*é@", "a b/c*é@"),
    ("heartbeat_interval", "1m30s", 90.0),
    ("heartbeat_interval", "0s", 0.0),
    ("metadata", {"user": 7, "roles": ["a"], "é": None}, {"user": 7, "roles": ["a"], "é": None}),
    ("metadata", {}, NOTHING),
    ("dialect", "raw", "raw"),
    ("dialect", "envelope", "envelope"),
    ("max_message_size", 1, 1),
    ("max_message_size", 0, 0),
    ("max_backlog", 10**12, 10**12),
    ("max_backlog", 0, 0),
    ("slow_consumer", "close", "close"),
    ("slow_consumer", "drop_new", "drop_new"),
    ("slow_consumer", "drop_old", "drop_old"),
    ("ping_interval", "500ms", 0.5),
    ("ping_interval", "0s", 0.0),
    ("idle_timeout", "2h", 7200.0),
    ("compression", True, True),
    ("compression", False, False),
    ("max_rate", 0, 0.0),
    ("max_rate", 0.5, 0.5),
    ("max_rate", 100, 100.0),
]


@pytest.mark.parametrize(
    ("field", "value", "inner"), GOOD, ids=[f"{item[0]}={item[1]!r}"[:40] for item in GOOD]
)
def test_fields_are_taken(field, value, inner):
    """§3.1"""
    config = parse_relay_header(header(**{field: value}))
    assert getattr(config, field) == inner
    assert type(getattr(config, field)) is type(inner)


# -- every field, bad ------------------------------------------------------------------------

BAD = [
    ("target_pid", None, "a PID is a str like 'proc@web1/Zk3v…', got NoneType"),
    ("target_pid", "", "'' is not of the form host@node/id"),
    (
        "target_pid",
        "room",
        "'room' is not of the form host@node/id; if it is a registered name: "
        "process.registry.lookup('room')",
    ),
    ("target_pid", [TARGET], "got list"),
    ("message_topic", None, "a topic is a string that is not empty"),
    ("message_topic", "", "a topic is a string that is not empty"),
    ("message_topic", "@join", "has no '@' first: '@join'"),
    ("message_topic", 7, "a topic is a string"),
    ("message_topic", "\ud800x", "surrogates not allowed"),
    ("heartbeat_interval", 30, "a duration is a string like '30s' or '1m30s', got 30"),
    ("heartbeat_interval", "-1s", "write '0s' for off"),
    ("heartbeat_interval", "30", "write a number with h, m, s or ms, like '1m30s'"),
    ("heartbeat_interval", None, "a duration is a string"),
    ("metadata", None, 'metadata is an object like {"user": 7}, got None'),
    ("metadata", [], "metadata is an object"),
    ("metadata", "x", "metadata is an object"),
    ("dialect", "Raw", "write one of raw, envelope, got 'Raw'"),
    ("dialect", None, "write one of raw, envelope, got None"),
    ("dialect", ["raw"], "write one of raw, envelope, got ['raw']"),
    ("max_message_size", -1, "write a whole number, 0 for off, got -1"),
    ("max_message_size", 1.5, "write a whole number, 0 for off, got 1.5"),
    ("max_message_size", "1MiB", "write a whole number, 0 for off, got '1MiB'"),
    ("max_message_size", True, "write a whole number, 0 for off, got True"),
    ("max_message_size", None, "write a whole number"),
    ("max_backlog", -1, "write a whole number"),
    ("max_backlog", "0", "write a whole number"),
    ("slow_consumer", "drop", "write one of close, drop_new, drop_old, got 'drop'"),
    ("slow_consumer", {}, "write one of close, drop_new, drop_old, got {}"),
    ("ping_interval", 25, "a duration is a string"),
    ("ping_interval", "25 s", "is no duration"),
    ("idle_timeout", "forever", "is no duration"),
    ("idle_timeout", "9000h", "longer than a year; write '0s' for off"),
    ("compression", "on", "write true or false, got 'on'"),
    ("compression", 1, "write true or false, got 1"),
    ("compression", None, "write true or false, got None"),
    ("max_rate", -0.5, "write messages per second, 0 for off, got -0.5"),
    ("max_rate", "10/s", "write messages per second, 0 for off, got '10/s'"),
    ("max_rate", True, "write messages per second, 0 for off, got True"),
    ("max_rate", 10**9, "write messages per second"),
    ("max_rate", 10**400, "write messages per second"),
    ("max_rate", None, "write messages per second"),
]


@pytest.mark.parametrize(
    ("field", "value", "remedy"), BAD, ids=[f"{item[0]}={item[1]!r}"[:40] for item in BAD]
)
def test_a_malformed_field_is_named_with_its_remedy(field, value, remedy):
    """§3.2: logged with the exact fault."""
    text = fault(parse_relay_header, header(**{field: value}))
    assert text.startswith(f"X-WS-Relay: {field!r}: ")
    assert remedy in text


@pytest.mark.parametrize("field", DEFAULTS)
def test_what_an_error_shows_of_a_value_has_a_bound(field):
    """§3.2: details go to the log, and it is not to drown."""
    assert len(said(header(**{field: "x" * 10_000}))) < 300
    assert 0 < len(said(header(**{field: ["x"] * 10_000}))) < 300


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["max_rate", "max_message_size"])
def test_numbers_that_are_none_are_refused(field, number):
    """§3.2"""
    fault(parse_relay_header, f'{{"target_pid": "{TARGET}", "{field}": {number}}}')


# -- event streams ---------------------------------------------------------------------------

STREAM_GOOD = [
    ("target_pid", TARGET, PID(TARGET)),
    ("target_pid", "", PID()),
    ("message_topic", "*", "*"),
    ("heartbeat_interval", "0s", 0.0),
    ("idle_timeout", "1m", 60.0),
    ("hard_timeout", "1h", 3600.0),
    ("retry", "1500ms", 1.5),
]


@pytest.mark.parametrize(
    ("field", "value", "inner"),
    STREAM_GOOD,
    ids=[f"{item[0]}={item[1]!r}"[:40] for item in STREAM_GOOD],
)
def test_fields_of_an_event_stream_are_taken(field, value, inner):
    """§5.1, §5.5: an empty target is none."""
    config = parse_stream(**{field: value})
    assert getattr(config, field) == inner
    assert type(getattr(config, field)) is type(inner)


STREAM_BAD = [
    ("target_pid", " ", "'target_pid': ' ' is not of the form host@node/id"),
    ("message_topic", "", "'message_topic': a topic is a string that is not empty"),
    ("hard_timeout", 3600, "'hard_timeout': a duration is a string"),
    ("retry", "-1s", "'retry': a duration can't be negative"),
    ("hard_timout", "1h", "unknown field 'hard_timout'; did you mean 'hard_timeout'?"),
    ("dialect", "raw", "unknown field 'dialect'; known are hard_timeout, "),
    ("compression", True, "unknown field 'compression'"),
    ("max_message_size", 1, "unknown field 'max_message_size'"),
]


@pytest.mark.parametrize(
    ("field", "value", "text"),
    STREAM_BAD,
    ids=[f"{item[0]}={item[1]!r}"[:40] for item in STREAM_BAD],
)
def test_a_fault_of_an_event_stream_is_told_of_its_own_header(field, value, text):
    """§5.1: failure answers as §3.2."""
    shown = fault(lambda: parse_stream(**{field: value}))
    assert shown.startswith("X-SSE-Relay: ")
    assert text in shown


def test_a_websocket_has_no_fields_of_an_event_stream():
    """§3.1"""
    for field in ("hard_timeout", "retry"):
        assert "unknown field" in fault(parse_relay_header, header(**{field: "1h"}))
