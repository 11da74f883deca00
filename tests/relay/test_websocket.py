"""A WebSocket as a process, without a socket (§3.4, §3.5, §3.8, §3.9, §8)."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, OP_PONG, OP_TEXT
from greenrelay.relay.delivery import State
from greenrelay.testing import FakeClock, fake_websocket, wait_until
from tests.integration.raw import frame
from tests.targets import RecordingTarget


def close_frame(code, reason=b""):
    return frame(OP_CLOSE, struct.pack("!H", code) + reason)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def recorder(node):
    return RecordingTarget(node)


@pytest.fixture
def watcher(node):
    return RecordingTarget(node)


@pytest.fixture
def connect(node, recorder, clock, watcher):
    """Return an open connection to the recorder, monitored."""

    def connect(**fields):
        session = fake_websocket(node, recorder.pid, clock, **{"ping_interval": "0s", **fields})
        node.monitor(watcher, session.pid)
        return session

    return connect


def send(session, topic, payload=None):
    return session.deliver(Message(topic, payload, None))


# -- from the client -----------------------------------------------------------


def test_messages_reach_the_target_as_they_are(connect, recorder):
    """§3.3"""
    session = connect()
    session.on_bytes(frame(OP_TEXT, "größe".encode()) + frame(OP_BINARY, b"\x00"))
    assert recorder.payloads("ws.message") == ["größe", b"\x00"]
    assert {message.sender for message in recorder.messages} == {session.pid}


def test_envelope_says_whose_message_it_is(connect, recorder):
    """§3.3"""
    session = connect(dialect="envelope", metadata={"user": 7}, message_topic="line")
    session.on_bytes(frame(OP_BINARY, b"\x00"))
    assert recorder.payloads("line") == [
        {"client_pid": session.pid, "type": "binary", "data": b"\x00", "metadata": {"user": 7}}
    ]


def test_dialect_may_change_on_the_way(connect, recorder):
    """§3.4, §3.6"""
    session = connect()
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


def test_ping_is_answered_with_its_data(connect):
    """§3.9"""
    session = connect()
    session.on_bytes(frame(OP_PING, b"data"))
    assert session.transport.frames == [(OP_PONG, 0, b"data")]


def test_pong_nobody_asked_for_is_no_error(connect, recorder):
    """§3.9"""
    session = connect()
    session.on_bytes(frame(OP_PONG, b"hello"))
    assert session.transport.frames == []
    assert recorder.topics == ["ws.join"]


def test_flood_of_pings_is_bounded_by_the_backlog(connect):
    """§8: pongs wait like messages."""
    session = connect(max_backlog=1000)
    session.transport.unsent = 1
    for _ in range(20):
        session.on_bytes(frame(OP_PING, b"x" * 100))
    assert session.transport.frames[-1].code == 1013


def test_messages_behind_our_goodbye_are_dropped(connect, recorder):
    """§3.3: nothing after the close, and the leave is the last."""
    session = connect()
    send(session, "ws.close", "bye")
    session.on_bytes(frame(OP_TEXT, b"too late") + frame(OP_PING) + close_frame(1000))
    assert recorder.topics == ["ws.join", "ws.leave"]
    assert len(session.transport.frames) == 1


def test_bad_bytes_behind_our_goodbye_end_it_as_it_was_meant(connect, recorder, watcher):
    """§3.8"""
    session = connect()
    send(session, "ws.close", {"code": 4001, "reason": "out"})
    session.on_bytes(b"\x00\x00")
    assert recorder.payloads("ws.leave")[0]["code"] == 4001
    assert watcher.exits[0].reason == "normal"
    assert session.transport.is_shut


def test_bytes_behind_the_end_mean_nothing(connect, recorder):
    session = connect()
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
def test_close_of_the_client_is_answered(connect, recorder, watcher, sent, answer, reason, leave):
    """§3.8"""
    session = connect()
    session.on_bytes(sent)
    [closing] = session.transport.frames
    assert (closing.opcode, closing.code, closing.payload) == (OP_CLOSE, answer, b"")
    assert watcher.exits[0].reason == reason
    payload = recorder.payloads("ws.leave")[0]
    assert (payload["code"], payload["reason"]) == leave
    assert session.transport.is_shut
    session.on_eof()
    assert session.transport.is_closed


def test_answer_to_a_close_waits_behind_what_is_unsent(connect):
    """§3.5"""
    session = connect()
    session.transport.unsent = 10
    session.on_bytes(close_frame(1000))
    assert not session.transport.is_closed
    session.transport.flush()
    session.on_eof()
    assert session.transport.is_closed


def test_close_of_both_sides_at_once_ends_it(connect, watcher):
    """§3.5"""
    session = connect()
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
def test_broken_rule_ends_it_behind_what_was_good(connect, recorder, watcher, sent, code, reason):
    """§3.8, §3.9"""
    session = connect(max_message_size=100)
    session.on_bytes(frame(OP_TEXT, b"good") + sent + frame(OP_TEXT, b"too late"))
    assert recorder.payloads("ws.message") == ["good"]
    assert session.transport.frames[-1].code == code
    assert watcher.exits[0].reason == reason
    leave = recorder.payloads("ws.leave")[0]
    assert (leave["reason"], leave["code"]) == (reason, code)


def test_fault_of_a_client_is_one_line_in_the_log(connect, caplog):
    session = connect()
    session.on_bytes(b"\x81\x00")
    wait_until(lambda: caplog.records)
    [record] = caplog.records
    assert record.getMessage() == f"{session.pid}: client frames must be masked"


# -- rate (§8) -----------------------------------------------------------------


def test_burst_of_the_rate_is_taken(connect, recorder):
    """§8"""
    session = connect(max_rate=5)
    session.on_bytes(frame(OP_TEXT, b"x") * 5)
    assert len(recorder.payloads("ws.message")) == 5
    assert session.state is State.OPEN


def test_one_more_than_the_burst_ends_it_with_1008(connect, recorder, watcher):
    """§8"""
    session = connect(max_rate=5)
    session.on_bytes(frame(OP_TEXT, b"x") * 7)
    assert len(recorder.payloads("ws.message")) == 5
    assert session.transport.frames[-1].code == 1008
    assert watcher.exits[0].reason == "rate_limited"


def test_close_behind_a_broken_rule_is_not_answered_again(connect):
    """§3.9: one close frame is all a client gets."""
    session = connect(max_rate=1)
    session.on_bytes(frame(OP_TEXT, b"x") * 2 + close_frame(1000))
    assert [each.code for each in session.transport.frames] == [1008]


def test_allowance_grows_back_and_no_further(connect, recorder, clock):
    """§8"""
    session = connect(max_rate=5)
    for _ in range(10):
        session.on_bytes(frame(OP_TEXT, b"x"))
        clock.advance(0.2)
    clock.advance(60)
    session.on_bytes(frame(OP_TEXT, b"x") * 6)
    assert len(recorder.payloads("ws.message")) == 15


def test_less_than_one_a_second_lets_one_through(connect, recorder, clock):
    """§8"""
    session = connect(max_rate=0.5)
    for _ in range(3):
        session.on_bytes(frame(OP_TEXT, b"x"))
        clock.advance(2.1)
    assert len(recorder.payloads("ws.message")) == 3


@pytest.mark.parametrize("opcode", [OP_PING, OP_PONG])
def test_control_frames_count_towards_the_rate(connect, recorder, opcode):
    """§8"""
    session = connect(max_rate=3)
    session.on_bytes(frame(opcode) * 2 + frame(OP_TEXT, b"x") + frame(opcode))
    assert session.transport.frames[-1][1:] == (1008, b"rate limited")
    assert recorder.payloads("ws.message") == ["x"]


def test_pongs_that_we_have_asked_for_do_not_count(connect, clock):
    """§8: who answers must not lose its connection for it."""
    session = connect(max_rate=1, ping_interval="10s")
    for _ in range(3):
        clock.advance(10.1)
        session.on_bytes(frame(OP_TEXT, b"x"))
        session.on_bytes(frame(OP_PONG))
    assert session.state is State.OPEN
    session.on_bytes(frame(OP_PONG))
    assert session.transport.frames[-1][1:] == (1008, b"rate limited")


def test_goodbye_is_never_one_too_many(connect, watcher):
    """§8, §3.8"""
    session = connect(max_rate=1)
    session.on_bytes(frame(OP_TEXT, b"x") + close_frame(1000))
    assert session.transport.frames[-1].code == 1000
    assert watcher.exits[0].reason == "normal"


def test_rate_that_control_sets_holds_from_then_on(connect, recorder):
    """§3.6, §8"""
    session = connect()
    send(session, "ws.control", {"max_rate": 3})
    session.on_bytes(frame(OP_TEXT, b"x") * 3)
    assert session.state is State.OPEN
    assert len(recorder.payloads("ws.message")) == 3


# -- to the client -------------------------------------------------------------


def test_send_is_a_raw_frame(connect):
    """§3.4"""
    session = connect()
    send(session, "ws.send", {"type": "text", "data": "größe"})
    send(session, "ws.send", {"type": "binary", "data": b"\x00"})
    assert session.transport.frames == ["größe", b"\x00"]


def test_other_topics_are_wrapped(connect):
    """§3.4"""
    session = connect()
    send(session, "news", [1, {"a": None}])
    send(session, "news", b"\x00\xff")
    assert session.transport.frames == [
        '{"topic":"news","data":[1,{"a":null}]}',
        b'{"topic":"news","data":"AP8="}',
    ]


@pytest.mark.parametrize("topic", ["ws.join", "ws.leave", "ws.heartbeat", "ws.message"])
def test_connection_that_is_a_target_wraps_what_another_tells_it(node, connect, topic):
    """§3.4: only three topics are orders."""
    session = connect()
    send(session, topic, {"client_pid": "x"})
    assert session.transport.frames == [f'{{"topic":"{topic}","data":{{"client_pid":"x"}}}}']


@pytest.mark.parametrize("topic", ["ws.send", "ws.close", "ws.control"])
@pytest.mark.parametrize("payload", [None, 7, [], object(), "{", b"\xff", {"code": "x"}, {"a": 1}])
def test_order_of_any_shape_is_the_senders_mistake(connect, caplog, topic, payload):
    """§3.4: nothing is raised, at most the order is refused."""
    session = connect()
    assert send(session, topic, payload)
    assert session.state in (State.OPEN, State.CLOSING)
    assert session.state is State.OPEN or topic == "ws.close"


def test_payload_that_contains_itself_is_the_senders_mistake(connect, caplog):
    """§3.4"""
    session = connect()
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
def test_payload_that_raises_is_the_senders_mistake(connect, caplog, topic):
    """§2: send() never raises for what a receiver does."""
    session = connect()
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
def test_close_says_code_and_reason_as_they_may_be_said(connect, recorder, payload, code, reason):
    """§3.5: and the leave says the same."""
    session = connect()
    send(session, "ws.close", payload)
    assert session.transport.frames == [(OP_CLOSE, code, reason.encode())]
    session.on_bytes(close_frame(1000))
    leave = recorder.payloads("ws.leave")[0]
    assert (leave["code"], leave["reason"]) == (code, reason or "normal")


def test_cancel_closes_with_1001(connect, watcher):
    """§2.5"""
    session = connect()
    session.cancel(None, "moving")
    assert session.transport.frames == [(OP_CLOSE, 1001, b"moving")]
    session.on_bytes(close_frame(1001))
    assert watcher.exits[0].reason == "cancelled"


def test_drain_closes_with_1012(connect, watcher):
    """§9"""
    session = connect()
    session.drain()
    assert session.transport.frames[0].code == 1012
    session.on_eof()
    assert watcher.exits[0].reason == "shutdown"


# -- signs of life (§8) --------------------------------------------------------


def test_silent_client_is_pinged_once_and_given_up(connect, clock, watcher):
    """§8: after two intervals."""
    session = connect(ping_interval="10s")
    clock.advance(19.9)
    assert session.transport.frames == [(OP_PING, 0, b"")]
    clock.advance(0.2)
    assert session.transport.frames[-1][1:] == (1011, b"ping timeout")
    assert session.transport.is_closed
    assert watcher.exits[0].reason == "ping_timeout"


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(frame(OP_PONG), id="pong"),
        pytest.param(frame(OP_PING), id="ping"),
        pytest.param(frame(OP_TEXT, b"x"), id="message"),
        pytest.param(frame(OP_TEXT, b"xyz")[:3], id="half a frame"),
    ],
)
def test_any_byte_is_a_sign_of_life(connect, clock, sign):
    """§3.9, §8"""
    session = connect(ping_interval="10s")
    clock.advance(19)
    session.on_bytes(sign)
    clock.advance(19)
    assert session.state is State.OPEN


def test_pings_are_sent_in_step(connect, clock):
    """§8"""
    session = connect(ping_interval="10s")
    for _ in range(41):
        clock.advance(1)
        session.on_bytes(frame(OP_PONG))
    assert len(session.transport.frames) == 4


def test_server_that_stood_still_blames_no_client(connect, clock):
    """§8: what they have sent meanwhile is still to be read."""
    session = connect(ping_interval="10s")
    clock.advance(11)
    clock.jump(60)
    assert session.state is State.OPEN
    clock.advance(9)
    session.on_bytes(frame(OP_PONG))
    clock.advance(9)
    assert session.state is State.OPEN


def test_client_that_is_silent_after_a_stall_is_given_up(connect, clock):
    """§8"""
    session = connect(ping_interval="10s")
    clock.jump(60)
    clock.advance(11)
    assert session.state is State.CLOSED


def test_client_of_a_busy_target_is_not_blamed(connect, recorder, clock):
    """§8: it is us who do not read."""
    session = connect(ping_interval="10s")
    recorder.is_full = True
    session.on_bytes(frame(OP_TEXT, b"x"))
    clock.advance(60)
    assert session.state is State.OPEN
    recorder.drain()
    session.on_bytes(frame(OP_PONG))  # what has waited meanwhile
    clock.advance(15)
    assert session.state is State.OPEN


def test_pings_may_be_switched_off(connect, clock):
    """§8"""
    session = connect(ping_interval="10s")
    send(session, "ws.control", {"ping_interval": "0s"})
    clock.advance(600)
    assert session.state is State.OPEN
    assert session.transport.frames == []


def test_pings_may_be_switched_on(connect, clock):
    """§3.6, §8: the time of silence counts from then on."""
    session = connect()
    clock.advance(600)
    send(session, "ws.control", {"ping_interval": "10s"})
    clock.advance(9)
    assert session.state is State.OPEN
    clock.advance(2)
    assert session.transport.frames == [(OP_PING, 0, b"")]
    session.on_bytes(frame(OP_PONG))


def test_limit_that_control_sets_holds_for_the_next_message(connect):
    """§3.6"""
    session = connect()
    send(session, "ws.control", {"max_message_size": 3})
    session.on_bytes(frame(OP_TEXT, b"four"))
    assert session.transport.frames[-1].code == 1009
