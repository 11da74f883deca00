"""A WebSocket as a process: what its client sends, and how it closes (§3.3, §3.8, §3.9)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.processes.node import Node
from greenrelay.protocol.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, OP_PONG, OP_TEXT
from greenrelay.testing import fake_websocket, wait_until
from tests.integration.raw import frame
from tests.relay.actions import close_frame, send
from tests.targets import RecordingTarget

# -- from the client -----------------------------------------------------------


def test_messages_reach_the_target_as_they_are(watched, recorder):
    """§3.3"""
    session = watched()
    session.on_bytes(frame(OP_TEXT, "größe".encode()) + frame(OP_BINARY, b"\x00"))
    assert recorder.payloads("ws.message") == ["größe", b"\x00"]
    assert {message.sender for message in recorder.messages} == {session.pid}


def test_envelope_says_whose_message_it_is(watched, recorder):
    """§3.3"""
    session = watched(dialect="envelope", metadata={"user": 7}, message_topic="line")
    session.on_bytes(frame(OP_BINARY, b"\x00"))
    assert recorder.payloads("line") == [
        {"client_pid": session.pid, "type": "binary", "data": b"\x00", "metadata": {"user": 7}}
    ]


def test_dialect_may_change_on_the_way(watched, recorder):
    """§3.4, §3.6"""
    session = watched()
    send(session, "ws.control", {"dialect": "envelope"})
    session.on_bytes(frame(OP_TEXT, b"hello"))
    assert recorder.payloads("ws.message")[0]["data"] == "hello"


@settings(deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1), st.data())
def test_messages_are_the_same_however_they_are_cut(texts, data):
    """§3.9"""
    node = Node("test")
    recorder = RecordingTarget(node)
    session = fake_websocket(node, recorder.pid)
    stream = b"".join(frame(OP_TEXT, text.encode()[:9999]) for text in texts)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        session.on_bytes(stream[:size])
        stream = stream[size:]
    assert recorder.payloads("ws.message") == texts


def test_ping_is_answered_with_its_data(watched):
    """§3.9"""
    session = watched()
    session.on_bytes(frame(OP_PING, b"data"))
    assert session.transport.frames == [(OP_PONG, 0, b"data")]


def test_pong_nobody_asked_for_is_no_error(watched, recorder):
    """§3.9"""
    session = watched()
    session.on_bytes(frame(OP_PONG, b"hello"))
    assert session.transport.frames == []
    assert recorder.topics == ["ws.join"]


def test_flood_of_pings_is_bounded_by_the_backlog(watched):
    """§8: pongs wait like messages."""
    session = watched(max_backlog=1000)
    session.transport.unsent = 1
    for _ in range(20):
        session.on_bytes(frame(OP_PING, b"x" * 100))
    assert session.transport.frames[-1].code == 1013


def test_messages_behind_our_close_are_dropped(watched, recorder):
    """§3.3: nothing after the close, and the leave is the last."""
    session = watched()
    send(session, "ws.close", "bye")
    session.on_bytes(frame(OP_TEXT, b"too late") + frame(OP_PING) + close_frame(1000))
    assert recorder.topics == ["ws.join", "ws.leave"]
    assert len(session.transport.frames) == 1


def test_bad_bytes_behind_our_close_end_it_as_it_was_meant(watched, recorder, watcher):
    """§3.8"""
    session = watched()
    send(session, "ws.close", {"code": 4001, "reason": "out"})
    session.on_bytes(b"\x00\x00")
    assert recorder.payloads("ws.leave")[0]["code"] == 4001
    assert watcher.exits[0].reason == "normal"
    assert session.transport.is_shut


def test_bytes_behind_the_end_mean_nothing(watched, recorder):
    session = watched()
    session.on_bytes(b"\x00\x00")
    session.on_bytes(frame(OP_TEXT, b"too late"))
    assert recorder.topics == ["ws.join", "ws.leave"]


# -- the client closes (§3.8) --------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "answer", "reason", "leave"),
    [
        pytest.param(close_frame(1000, b"bye"), 1000, "normal", (1000, "bye"), id="1000"),
        pytest.param(close_frame(1001), 1001, "normal", (1001, "normal"), id="1001"),
        pytest.param(frame(OP_CLOSE), 0, "normal", (1005, "normal"), id="no code"),
        pytest.param(
            close_frame(4000), 4000, "connection_lost", (4000, "connection_lost"), id="4000"
        ),
    ],
)
def test_close_of_the_client_is_answered(watched, recorder, watcher, sent, answer, reason, leave):
    """§3.8"""
    session = watched()
    session.on_bytes(sent)
    [closing] = session.transport.frames
    assert (closing.opcode, closing.code, closing.payload) == (OP_CLOSE, answer, b"")
    assert watcher.exits[0].reason == reason
    payload = recorder.payloads("ws.leave")[0]
    assert (payload["code"], payload["reason"]) == leave
    assert session.transport.is_shut
    session.on_eof()
    assert session.transport.is_closed


def test_answer_to_a_close_waits_behind_what_is_unsent(watched):
    """§3.5"""
    session = watched()
    session.transport.unsent = 10
    session.on_bytes(close_frame(1000))
    assert not session.transport.is_closed
    session.transport.flush()
    session.on_eof()
    assert session.transport.is_closed


def test_close_of_both_sides_at_once_ends_it(watched, watcher):
    """§3.5"""
    session = watched()
    send(session, "ws.close", "bye")
    session.on_bytes(close_frame(1001))
    assert session.transport.is_shut
    assert len(session.transport.frames) == 1
    assert watcher.exits[0].reason == "normal"


# -- the client breaks the rules (§3.9) ----------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        pytest.param(b"\x81\x00", 1002, "protocol_error", id="unmasked"),
        pytest.param(frame(OP_CONT), 1002, "protocol_error", id="continues nothing"),
        pytest.param(frame(OP_TEXT, b"\xff"), 1007, "protocol_error", id="no UTF-8"),
        pytest.param(frame(OP_TEXT, b"x" * 101), 1009, "message_too_big", id="too big"),
    ],
)
def test_broken_rule_ends_it_behind_what_was_good(watched, recorder, watcher, sent, code, reason):
    """§3.8, §3.9"""
    session = watched(max_message_size=100)
    session.on_bytes(frame(OP_TEXT, b"good") + sent + frame(OP_TEXT, b"too late"))
    assert recorder.payloads("ws.message") == ["good"]
    assert session.transport.frames[-1].code == code
    assert watcher.exits[0].reason == reason
    leave = recorder.payloads("ws.leave")[0]
    assert (leave["reason"], leave["code"]) == (reason, code)


def test_fault_of_a_client_is_one_line_in_the_log(watched, caplog):
    session = watched()
    session.on_bytes(b"\x81\x00")
    wait_until(lambda: caplog.records)
    [record] = caplog.records
    assert record.getMessage() == f"{session.pid}: client frames must be masked"


def test_limit_that_control_sets_holds_for_the_next_message(watched):
    """§3.6"""
    session = watched()
    send(session, "ws.control", {"max_message_size": 3})
    session.on_bytes(frame(OP_TEXT, b"four"))
    assert session.transport.frames[-1].code == 1009
