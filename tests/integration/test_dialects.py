"""What messages of a client and of its target become on the way (§3.4)."""

import json

import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")


def test_raw_dialect_hands_over_str_and_bytes(node, relay_server, target):
    """§3.3"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        ws.send("text")
        ws.send(b"\x00binary")
        wait_until(lambda: len(target.payloads()) == 2)
    assert target.payloads() == ["text", b"\x00binary"]
    assert {message.sender for message in target.messages} == {target.client}


def test_envelope_dialect_wraps_client_messages(node, relay_server, target):
    """§3.3, §3.4"""
    server = relay_server(relay_app(node, target, dialect="envelope", metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        ws.send("text")
        ws.send(b"binary")
        wait_until(lambda: len(target.payloads()) == 2)
    about = {"client_pid": target.client, "metadata": {"user": 7}}
    assert target.payloads() == [
        {**about, "type": "text", "data": "text"},
        {**about, "type": "binary", "data": b"binary"},
    ]


def test_message_topic_is_the_apps_word(node, relay_server, target):
    """§3.1"""
    server = relay_server(relay_app(node, target, message_topic="chat.line"))
    with server.connect_ws("/ws") as ws:
        ws.send("hello")
        assert target.wait_for("chat.line") == "hello"


WRAPPED = [
    pytest.param("größe", raw.TEXT, {"topic": "news", "data": "größe"}, id="str"),
    pytest.param(b"\x00\xff", raw.BINARY, {"topic": "news", "data": "AP8="}, id="bytes"),
    pytest.param(
        {"n": [1, None]}, raw.TEXT, {"topic": "news", "data": {"n": [1, None]}}, id="JSON"
    ),
    pytest.param(None, raw.TEXT, {"topic": "news", "data": None}, id="None"),
    pytest.param('{"a":1}', raw.TEXT, {"topic": "news", "data": '{"a":1}'}, id="JSON as str"),
]


@pytest.mark.parametrize(("payload", "opcode", "expected"), WRAPPED)
def test_any_other_topic_is_wrapped(node, relay_server, target, payload, opcode, expected):
    """§3.4"""
    server = relay_server(relay_app(node, target))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        process.send(target.client, "news", payload)
        received = client.read_frame()
    assert received[0] == opcode
    assert json.loads(received[1]) == expected


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        pytest.param("news", object(), id="not JSON"),
        pytest.param("news", float("nan"), id="NaN"),
        pytest.param("ws.send", {"type": "text", "data": b"bytes"}, id="wrong type"),
        pytest.param("ws.send", {"type": "text"}, id="no data"),
        pytest.param("ws.send", "bare", id="no mapping"),
        pytest.param("ws.send", None, id="nothing"),
        pytest.param("ws.send", {"type": "text", "data": "\ud800"}, id="lone surrogate"),
        pytest.param("ws.close", 7, id="close with a number"),
        pytest.param("ws.control", "{", id="control with broken JSON"),
    ],
)
def test_bad_payload_is_logged_and_the_connection_lives(
    node, relay_server, target, caplog, topic, payload
):
    """§3.4: with both PIDs."""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        sender = node.spawn(process.send, (target.client, topic, payload))
        send_frame(target.client, "still there")
        assert ws.receive() == "still there"
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert sender in record.getMessage()
    assert target.client in record.getMessage()
