"""A relay header that is no object, and fields that nobody knows; control messages too."""

import dataclasses

import pytest
import simplejson
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.errors import ConfigurationError, GreenRelayError
from greenrelay.relay.config import (
    EVENT_STREAM,
    WEBSOCKET,
    nearest,
    parse_fields,
    parse_relay_header,
    relay_config,
)
from tests.relay.headers import TARGET, fault, header, said

# -- the object around the fields ------------------------------------------------------------

NO_OBJECT = {
    "empty": ("", "X-WS-Relay is no JSON"),
    "a bare PID": (TARGET, "X-WS-Relay is no JSON"),
    "cut off": ('{"target_pid": ', "X-WS-Relay is no JSON"),
    "two objects": ("{} {}", "X-WS-Relay is no JSON"),
    "Python's own": ("{'target_pid': None}", "X-WS-Relay is no JSON"),
    "trailing comma": (header()[:-1] + ",}", "X-WS-Relay is no JSON"),
    "nested without end": ("[" * 100_000, "X-WS-Relay is no JSON"),
    "a number without end": ('{"max_backlog": ' + "9" * 10_000 + "}", "X-WS-Relay is no JSON"),
    "a JSON string": (simplejson.dumps(TARGET), 'must be an object like {"target_pid": pid}'),
    "null": ("null", 'must be an object like {"target_pid": pid}, got null'),
    "a list": (f'["{TARGET}"]', "must be an object"),
    "a long list": (simplejson.dumps(["x"] * 9999), "must be an object"),
}


@pytest.mark.parametrize(("text", "remedy"), NO_OBJECT.values(), ids=NO_OBJECT.keys())
def test_a_header_that_is_no_object_is_a_configuration_error(text, remedy):
    """§3.2: JSON is malformed."""
    assert remedy in fault(parse_relay_header, text)
    assert len(fault(parse_relay_header, text)) < 300


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "got {}"),
        ({"target": TARGET}, 'got {"target": …}'),
        ({"metadata": {"token": "secret"}, "dialect": {1}}, 'got {"metadata": …, "dialect": …}'),
        ({"x" * 999: 1, 2: 3}, 'got {"xxxxx'),
    ],
    ids=["nothing", "misspelt", "names without values", "long"],
)
def test_a_missing_target_is_answered_with_what_to_send(fields, shown):
    """§3.2: `target_pid` missing."""
    text = fault(relay_config, fields)
    assert '"target_pid" is missing; send {"target_pid": pid}, ' + shown in text
    assert len(text) < 200


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=50),
        st.dictionaries(
            st.sampled_from([*WEBSOCKET.fields, "x"]),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        ).map(lambda fields: simplejson.dumps({"target_pid": TARGET, **fields}, allow_nan=True)),
    )
)
def test_any_header_is_a_configuration_or_a_configuration_error(text):
    """§3.2"""
    assert len(said(text)) < 400


# -- unknown fields, and ws.control ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("heartbeat", "; did you mean 'heartbeat_interval'?"),
        ("hearbeat_interval", "; did you mean 'heartbeat_interval'?"),
        ("Metadata", "; did you mean 'metadata'?"),
        ("max-rate", "; did you mean 'max_rate'?"),
        ("zzz", "; known are compression, dialect, heartbeat_interval, "),
        ("", "; known are compression, "),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest_known(name, hint):
    """§3.2"""
    assert f"unknown field {name!r}{hint}" in fault(parse_relay_header, header(**{name: 1}))


@pytest.mark.parametrize("name", [1, None, ("a", "b"), b"metadata"])
def test_a_field_whose_name_is_no_text_is_unknown(name):
    """§3.6: a mapping from Python may have anything for a key; it is ignored whole."""
    assert f"unknown field {name!r}" in fault(parse_fields, {name: 1})


@pytest.mark.parametrize(("name", "value"), [("colour", "red"), ("idle_timeout", "soon")])
def test_a_fault_in_a_control_message_is_told_of_its_topic(name, value):
    """§3.6: no header was involved."""
    for kind in (WEBSOCKET, EVENT_STREAM):
        told = fault(parse_fields, {name: value}, kind, kind.control)
        assert told.startswith(f"{kind.control}: ")
        assert fault(parse_fields, {name: value}, kind).startswith(f"{kind.header}: ")


def test_control_gives_only_the_fields_it_names():
    """§3.6: the others stay as they are."""
    fields = parse_fields({"metadata": {"a": 1}, "idle_timeout": "1m"})
    assert fields == {"metadata": {"a": 1}, "idle_timeout": 60.0}


def test_one_malformed_field_spoils_the_whole_control():
    """§3.6: malformed: ignored whole."""
    assert "'max_rate'" in fault(parse_fields, {"metadata": {}, "max_rate": "fast"})


def test_the_nearest_of_any_words():
    """§6.1, §10.1: options and keys are hinted at in the same words."""
    assert nearest("GREENRELAY_NODES", ["GREENRELAY_NODE", "X"]) == (
        "; did you mean 'GREENRELAY_NODE'?"
    )
    assert nearest("zzz", iter(["b", "a"])) == "; known are a, b"


def test_configuration_errors_can_be_caught_as_ours_and_as_wrong_values():
    """§3.2"""
    assert issubclass(ConfigurationError, GreenRelayError)
    assert issubclass(ConfigurationError, ValueError)


def test_a_configuration_can_not_be_changed_in_place():
    """§3.6: what a connection obeys is replaced, wholly or not at all."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_relay_header(header()).dialect = "envelope"
