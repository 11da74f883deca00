"""What a WebSocket is sent: frames, orders, and what is neither (§3.4, §3.5)."""

import pytest

from greenrelay.protocol.frames import OP_CLOSE
from greenrelay.relay.delivery import State
from greenrelay.testing import wait_until
from tests.relay.actions import close_frame, send

# -- to the client -------------------------------------------------------------


def test_send_is_a_raw_frame(watched):
    """§3.4"""
    session = watched()
    send(session, "ws.send", {"type": "text", "data": "größe"})
    send(session, "ws.send", {"type": "binary", "data": b"\x00"})
    assert session.transport.frames == ["größe", b"\x00"]


def test_other_topics_are_wrapped(watched):
    """§3.4"""
    session = watched()
    send(session, "news", [1, {"a": None}])
    send(session, "news", b"\x00\xff")
    assert session.transport.frames == [
        '{"topic":"news","data":[1,{"a":null}]}',
        b'{"topic":"news","data":"AP8="}',
    ]


@pytest.mark.parametrize("topic", ["ws.join", "ws.leave", "ws.heartbeat", "ws.message"])
def test_connection_that_is_a_target_wraps_what_another_tells_it(node, watched, topic):
    """§3.4: only three topics are orders."""
    session = watched()
    send(session, topic, {"client_pid": "x"})
    assert session.transport.frames == [f'{{"topic":"{topic}","data":{{"client_pid":"x"}}}}']


@pytest.mark.parametrize("topic", ["ws.send", "ws.close", "ws.control"])
@pytest.mark.parametrize("payload", [None, 7, [], object(), "{", b"\xff", {"code": "x"}, {"a": 1}])
def test_order_of_any_shape_is_the_senders_mistake(watched, caplog, topic, payload):
    """§3.4: nothing is raised, at most the order is refused."""
    session = watched()
    assert send(session, topic, payload)
    assert session.state in (State.OPEN, State.CLOSING)
    assert session.state is State.OPEN or topic == "ws.close"


def test_payload_that_contains_itself_is_the_senders_mistake(watched, caplog):
    """§3.4"""
    session = watched()
    payload = []
    payload.append(payload)
    assert send(session, "news", payload)
    wait_until(lambda: "bad news from" in caplog.text)
    assert session.state is State.OPEN


class Hostile:
    """A payload whose parts raise what nobody expects."""

    def __getitem__(self, key):
        raise RuntimeError("on purpose")

    keys = get = __getitem__


@pytest.mark.parametrize("topic", ["ws.send", "news"])
def test_payload_that_raises_is_the_senders_mistake(watched, caplog, topic):
    """§2: send() never raises for what a receiver does."""
    session = watched()
    assert send(session, topic, Hostile())
    wait_until(lambda: "bad" in caplog.text)
    assert session.state is State.OPEN


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        pytest.param("bye", 1000, "bye", id="reason"),
        pytest.param({"code": 1003, "reason": None}, 1003, "", id="code"),
        pytest.param({"code": 4999}, 4999, "", id="highest"),
        pytest.param({"code": 5000}, 1011, "", id="too high"),
        pytest.param({"code": 1004}, 1011, "", id="reserved"),
        pytest.param({"code": 1006}, 1011, "", id="never on the wire"),
        pytest.param({"code": 1015}, 1011, "", id="TLS"),
        pytest.param({"code": 2000}, 1011, "", id="unassigned"),
        pytest.param("a" * 122 + "ä", 1000, "a" * 122, id="cut before a character"),
        pytest.param("a" * 121 + "ä", 1000, "a" * 121 + "ä", id="just fits"),
    ],
)
def test_close_says_code_and_reason_as_they_may_be_said(watched, recorder, payload, code, reason):
    """§3.5: and the leave says the same."""
    session = watched()
    send(session, "ws.close", payload)
    assert session.transport.frames == [(OP_CLOSE, code, reason.encode())]
    session.on_bytes(close_frame(1000))
    leave = recorder.payloads("ws.leave")[0]
    assert (leave["code"], leave["reason"]) == (code, reason or "normal")


def test_cancel_closes_with_1001(watched, watcher):
    """§2.5"""
    session = watched()
    session.cancel(None, "moving")
    assert session.transport.frames == [(OP_CLOSE, 1001, b"moving")]
    session.on_bytes(close_frame(1001))
    assert watcher.exits[0].reason == "cancelled"


def test_drain_closes_with_1012(watched, watcher):
    """§9"""
    session = watched()
    session.drain()
    assert session.transport.frames[0].code == 1012
    session.on_eof()
    assert watcher.exits[0].reason == "shutdown"
