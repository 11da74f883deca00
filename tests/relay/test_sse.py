"""One event stream without a socket, on a clock that the test sets (§5)."""

import pytest

from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.eventstream import Event, EventParser
from greenrelay.relay.delivery import State
from greenrelay.relay.sse import EventCache
from greenrelay.testing import FakeClock, fake_event_stream, wait_until
from tests.targets import RecordingTarget


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
def connect(node, recorder, clock):
    """Return a stream that is managed by the recorder."""

    def connect(target=recorder.pid, **fields):
        return fake_event_stream(node, target, clock, **fields)

    return connect


def send(stream, payload=None, topic="sse.message"):
    return stream.deliver(Message(topic, payload))


def control(stream, **fields):
    return send(stream, fields, "sse.control")


def events(stream):
    """Return name and data of what the client has got."""
    return [event[:2] for event in EventParser().feed(stream.transport.written)]


def done(reason):
    return ("done", f'{{"reason":"{reason}"}}')


# -- beginning (§5.2) ----------------------------------------------------------


def test_target_is_told_of_the_stream(connect, recorder):
    """§5.2"""
    stream = connect(metadata={"user": 7})
    assert recorder.payloads("sse.join") == [
        {"client_pid": stream.pid, "metadata": {"user": 7}, "last_event_id": None}
    ]
    assert stream.pid.host == "sse"


def test_managed_stream_begins_with_nothing(connect):
    """§5.2"""
    assert connect().transport.written == b""


def test_detached_stream_begins_with_ready(connect):
    """§5.2: without the metadata."""
    stream = connect(None, metadata={"secret": 7}, message_topic="news")
    data = f'{{"stream_pid":"{stream.pid}","message_topic":"news"}}'
    assert stream.transport.written == f"event: ready\ndata: {data}\n\n".encode()


def test_retry_comes_before_everything_else(connect):
    """§5.3"""
    assert connect(None, retry="1500ms").transport.written.startswith(
        b"retry: 1500\n\nevent: ready"
    )


# -- forwarding (§5.3, §5.4) ---------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        pytest.param("a\r\nb", b"data: a\ndata: b\n", id="text"),
        pytest.param(b"\xff", b"data: /w==\n", id="bytes"),
        pytest.param({"a": 1}, b'data: {"a":1}\n', id="json"),
        pytest.param(Event({"a": 1}, id="7"), b'id: 7\ndata: {"a":1}\n', id="event with id"),
        pytest.param(Event("x", retry=10), b"retry: 10\ndata: x\n", id="event with retry"),
    ],
)
def test_message_becomes_an_event(connect, payload, data):
    """§5.3"""
    stream = connect()
    assert send(stream, payload)
    written = stream.transport.written
    assert written.startswith(b"event: sse.message\n")
    assert sorted(written.split(b"\n")) == sorted(
        (b"event: sse.message\n" + data + b"\n").split(b"\n")
    )


def test_only_the_message_topic_is_forwarded(connect):
    """§5.4"""
    stream = connect(message_topic="news")
    for topic in ("news", "sse.message", "news.more", "new", "NEWS"):
        assert send(stream, "x", topic)
    assert events(stream) == [("news", "x")]


RESERVED = ["sse.join", "sse.leave", "sse.heartbeat", "@anything"]


@pytest.mark.parametrize("topic", ["*", *RESERVED[:3]])
def test_reserved_topics_are_never_forwarded(connect, topic):
    """§5.4"""
    stream = connect(message_topic=topic)
    for reserved in RESERVED:
        send(stream, "x", reserved)
    assert events(stream) == []


def test_star_forwards_every_other_topic(connect):
    """§5.4"""
    stream = connect(message_topic="*")
    for topic in ("a", "ws.send", "done"):
        send(stream, "x", topic)
    assert events(stream) == [("a", "x"), ("ws.send", "x"), ("done", "x")]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        pytest.param("a\nb", "x", id="LF in the topic"),
        pytest.param("a\rb", "x", id="CR in the topic"),
        pytest.param("a", {1}, id="no JSON"),
        pytest.param("a", "\ud800", id="no UTF-8"),
        pytest.param("a", Event(object()), id="event without JSON"),
        pytest.param("sse.close", 7, id="reason that is no text"),
        pytest.param("sse.close", {"reason": 7}, id="reason in a mapping that is no text"),
    ],
)
def test_message_that_can_not_be_sent_is_its_senders_mistake(connect, caplog, topic, payload):
    """§5.3"""
    stream = connect(message_topic="*")
    assert send(stream, payload, topic)
    send(stream, "next", "a")
    assert events(stream) == [("a", "next")]
    wait_until(lambda: [record for record in caplog.records if "bad" in record.message])
    assert stream.pid in caplog.text


def test_broadcast_is_encoded_once(connect):
    """§2: for all streams."""
    events, message = EventCache(), Message("news", {"a": 1})
    assert events.encode(message) is events.encode(message)


def test_cache_does_not_mix_messages_up():
    events = EventCache()
    first, second = Message("news", "1"), Message("news", "2")
    assert [events.encode(each)[-4:] for each in (first, second, first)] == [
        b" 1\n\n",
        b" 2\n\n",
        b" 1\n\n",
    ]


def test_what_the_client_sends_is_dropped(connect, recorder):
    """§5.1"""
    stream = connect()
    stream.on_bytes(b"GET / HTTP/1.1\r\n\r\n")
    assert recorder.topics == ["sse.join"]
    assert stream.state is State.OPEN


# -- ending (§5.3, §5.6) -------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("normal", "target process exited"),
        ("killed", "target process failed"),
        ("error: ValueError: x", "target process failed"),
        ("noconnection", "target process failed"),
    ],
)
def test_stream_ends_with_its_target(connect, recorder, reason, told):
    """§5.3"""
    stream = connect()
    send(stream, "last")
    recorder.kill(reason)
    assert events(stream) == [("sse.message", "last"), done(told)]
    assert stream.state is State.LINGERING
    assert stream.transport.is_shut


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (None, "closed by server"),
        ("", "closed by server"),
        ({}, "closed by server"),
        ({"reason": None}, "closed by server"),
        ("enough", "enough"),
        ({"reason": "enough"}, "enough"),
    ],
)
def test_close_tells_the_reason(connect, payload, told):
    """§5.3, §5.5"""
    stream = connect()
    send(stream, payload, "sse.close")
    assert events(stream) == [done(told)]
    assert not send(stream, "too late")


@pytest.mark.parametrize(("reason", "told"), [(None, "closed by server"), ("moving", "moving")])
def test_cancel_ends_the_stream(node, connect, reason, told):
    """§2.5, §5.3"""
    stream = connect()
    node.cancel(stream.pid, reason=reason)
    assert events(stream) == [done(told)]


def test_drain_ends_the_stream(connect):
    """§5.3, §9"""
    stream = connect()
    stream.drain()
    assert events(stream) == [done("shutdown")]


def test_terminate_closes_the_socket_at_once(node, connect):
    """§2.5"""
    stream = connect()
    node.terminate(stream.pid)
    assert stream.transport.written == b""
    assert stream.transport.is_closed


def test_leave_is_the_last_message_and_comes_once(connect, recorder):
    """§5.2"""
    stream = connect(metadata={"user": 7})
    send(stream, "enough", "sse.close")
    stream.on_eof()
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert recorder.payloads("sse.leave") == [
        {"client_pid": stream.pid, "reason": "normal", "code": 1000, "metadata": {"user": 7}}
    ]


def end_by_client(stream):
    stream.on_eof()


def end_by_close(stream):
    send(stream, None, "sse.close")


def end_by_idling(stream):
    stream.wheel.clock.advance(10)


def end_by_time(stream):
    stream.wheel.clock.advance(20)


@pytest.mark.parametrize(
    ("end", "fields", "reason"),
    [
        (end_by_client, {}, "connection_lost"),
        (end_by_close, {}, "normal"),
        (end_by_idling, {"idle_timeout": "5s"}, "idle_timeout"),
        (end_by_time, {"hard_timeout": "15s"}, "hard_timeout"),
    ],
)
def test_monitor_gets_the_reason(node, connect, watcher, end, fields, reason):
    """§5.6"""
    stream = connect(**fields)
    node.monitor(watcher, stream.pid)
    end(stream)
    assert [exit.reason for exit in watcher.exits] == [reason]


def test_ended_stream_is_out_of_every_table(node, connect, clock, recorder):
    """§5.6"""
    stream = connect(hard_timeout="1h", idle_timeout="1h")
    stream.on_eof()
    assert not node.is_alive(stream.pid)
    assert node.topology.is_empty()
    assert len(clock.wheel) == 0


def test_goodbye_waits_for_a_client_that_reads_slowly(connect):
    """§5.3"""
    stream = connect()
    stream.transport.unsent = 1
    send(stream, "last")
    send(stream, None, "sse.close")
    assert not stream.transport.is_shut
    stream.transport.flush()
    assert stream.transport.is_shut
    assert events(stream) == [("sse.message", "last"), done("closed by server")]


def test_client_that_never_reads_the_goodbye_is_cut_off(connect, clock):
    """§5.6"""
    stream = connect()
    stream.transport.unsent = 1
    send(stream, None, "sse.close")
    clock.advance(6)
    assert stream.transport.is_closed


# -- time (§5.1, §5.6) ---------------------------------------------------------


def test_heartbeat_reaches_client_and_target(connect, recorder, clock):
    """§5.3"""
    stream = connect(metadata={"user": 7})
    clock.advance(30.5)
    assert stream.transport.written == b": ping\n\n"
    (beat,) = recorder.payloads("sse.heartbeat")
    assert beat["client_pid"] == stream.pid
    assert beat["uptime"] == pytest.approx(30, abs=0.5)
    assert (beat["message_count"], beat["metadata"]) == (0, {"user": 7})


def test_heartbeat_keeps_its_step(connect, recorder, clock):
    """§5.1"""
    stream = connect(heartbeat_interval="10s")
    clock.advance(60.5)
    assert stream.transport.written == b": ping\n\n" * 6


def test_heartbeat_of_a_detached_stream_is_on_the_wire_only(connect, clock):
    """§5.3"""
    stream = connect(None, heartbeat_interval="10s")
    clock.advance(10.5)
    assert stream.transport.written.endswith(b"\n\n: ping\n\n")


def test_no_heartbeat_while_something_waits_to_be_sent(connect, recorder, clock):
    """§5.3"""
    stream = connect(heartbeat_interval="10s")
    stream.transport.unsent = 1
    clock.advance(10.5)
    assert stream.transport.written == b""
    assert len(recorder.payloads("sse.heartbeat")) == 1


def test_zero_is_no_heartbeat(connect, clock):
    """§5.1"""
    stream = connect(heartbeat_interval="0s")
    clock.advance(100)
    assert stream.transport.written == b""


def test_idle_stream_ends(connect, clock):
    """§5.6"""
    stream = connect(idle_timeout="45s")
    clock.advance(44)
    assert stream.state is State.OPEN
    clock.advance(2)
    assert events(stream) == [done("idle timeout")]


def test_forwarded_events_and_nothing_else_reset_the_idle_time(connect, clock):
    """§5.6"""
    stream = connect(idle_timeout="10s", heartbeat_interval="1s", message_topic="news")
    for _ in range(3):
        clock.advance(9)
        send(stream, "x", "news")
    for _ in range(3):
        clock.advance(3)
        send(stream, "x", "other")
        control(stream, metadata={})
    clock.advance(2)
    assert events(stream) == [("news", "x")] * 3 + [done("idle timeout")]


def test_hard_timeout_ends_a_busy_stream(connect, clock):
    """§5.6"""
    stream = connect(hard_timeout="10s", idle_timeout="5s")
    for _ in range(12):
        send(stream, "x")
        clock.advance(1)
    assert events(stream)[-1] == done("hard timeout")
    assert stream.state > State.OPEN


# -- sse.control (§5.5) --------------------------------------------------------


def test_control_attaches_a_detached_stream(connect, recorder):
    """§5.5"""
    stream = connect(None, metadata={"user": 7})
    control(stream, target_pid=recorder.pid)
    assert recorder.topics == ["sse.join"]
    recorder.kill("normal")
    assert events(stream)[-1] == done("target process exited")


def test_control_detaches_from_the_target(connect, recorder):
    """§5.5"""
    stream = connect()
    control(stream, target_pid="")
    assert recorder.payloads("sse.leave")[0]["reason"] == "transferred"
    recorder.kill("normal")
    send(stream, "alive")
    assert events(stream) == [("sse.message", "alive")]


def test_control_switches_the_target(node, connect, recorder):
    """§5.5"""
    stream, other = connect(), RecordingTarget(node)
    control(stream, target_pid=other.pid, metadata={"moved": True})
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert other.payloads("sse.join")[0]["metadata"] == {"moved": True}
    recorder.kill("normal")
    assert stream.state is State.OPEN


def test_control_to_the_same_target_changes_nothing(connect, recorder):
    """§5.5"""
    control(connect(), target_pid=recorder.pid)
    assert recorder.topics == ["sse.join"]


def test_control_without_target_keeps_it(connect, recorder):
    """§5.5"""
    control(connect(), message_topic="news")
    assert recorder.topics == ["sse.join"]


def test_control_to_a_dead_target_changes_nothing(node, connect, recorder, caplog):
    """§5.5"""
    stream, dead = connect(), RecordingTarget(node)
    dead.kill()
    control(stream, target_pid=dead.pid, message_topic="news")
    send(stream, "x")
    assert recorder.topics == ["sse.join"]
    assert events(stream) == [("sse.message", "x")]
    wait_until(lambda: "is not alive" in caplog.text)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="no mapping"),
        pytest.param("{", id="no JSON"),
        pytest.param({"message_topic": "news", "colour": "red"}, id="unknown field"),
        pytest.param({"message_topic": "news", "dialect": "raw"}, id="field of the other relay"),
        pytest.param({"message_topic": "news", "idle_timeout": "soon"}, id="no duration"),
        pytest.param({"message_topic": "news", "hard_timeout": "-1s"}, id="negative"),
        pytest.param({"message_topic": "news", "heartbeat_interval": None}, id="null"),
        pytest.param({"message_topic": "news", "metadata": "x"}, id="no object"),
        pytest.param({"message_topic": "news", "target_pid": "x"}, id="no PID"),
        pytest.param({"message_topic": "news", "target_pid": None}, id="null PID"),
        pytest.param({"message_topic": "@x"}, id="reserved topic"),
    ],
)
def test_malformed_control_is_ignored_whole(connect, caplog, payload):
    """§3.6, §5.5"""
    stream = connect()
    send(stream, payload, "sse.control")
    send(stream, "x")
    assert events(stream) == [("sse.message", "x")]
    wait_until(lambda: "bad sse.control" in caplog.text)
    assert "Relay" not in caplog.text  # no header was involved


def test_control_may_be_json_text(connect):
    """§3.6, §5.5"""
    stream = connect()
    send(stream, '{"message_topic": "news"}', "sse.control")
    send(stream, "x", "news")
    assert events(stream) == [("news", "x")]


def test_control_sets_the_metadata(connect, recorder):
    """§5.5"""
    stream = connect()
    control(stream, metadata={"user": 8})
    stream.on_eof()
    assert recorder.payloads("sse.leave")[0]["metadata"] == {"user": 8}


def test_control_sets_the_heartbeat(connect, recorder, clock):
    """§5.5"""
    stream = connect(heartbeat_interval="0s")
    control(stream, heartbeat_interval="10s")
    clock.advance(20.5)
    assert stream.transport.written == b": ping\n\n" * 2


def test_control_of_something_else_does_not_put_the_heartbeat_off(connect, clock):
    """§5.5"""
    stream = connect(heartbeat_interval="10s")
    for _ in range(4):
        clock.advance(6)
        control(stream, metadata={})
    assert stream.transport.written == b": ping\n\n" * 2


def test_idle_time_that_control_sets_begins_then(connect, clock):
    """§5.5"""
    stream = connect()
    clock.advance(60)
    control(stream, idle_timeout="10s")
    clock.advance(9)
    assert stream.state is State.OPEN
    clock.advance(2)
    assert events(stream) == [done("idle timeout")]


def test_hard_time_that_control_sets_counts_from_the_beginning(connect, clock):
    """§5.6: absolute."""
    stream = connect()
    clock.advance(60)
    control(stream, hard_timeout="70s")
    clock.advance(11)
    assert events(stream) == [done("hard timeout")]


def test_control_switches_timeouts_off(connect, clock):
    """§5.5"""
    stream = connect(idle_timeout="10s", hard_timeout="10s")
    control(stream, idle_timeout="0s", hard_timeout="0s")
    clock.advance(30)
    assert stream.state is State.OPEN


def test_control_sets_the_time_to_reconnect(connect):
    """§5.5: the browser is told at once."""
    stream = connect()
    control(stream, retry="2s")
    control(stream, metadata={})
    assert stream.transport.written == b"retry: 2000\n\n"


# -- clients that read slowly (§8) ---------------------------------------------


def stall(stream):
    """Let the client not read any more."""
    stream.transport.unsent = 1


def test_slow_consumer_is_closed(node, connect, watcher):
    """§8"""
    stream = connect(max_backlog=100)
    node.monitor(watcher, stream.pid)
    stall(stream)
    send(stream, "x" * 50)
    send(stream, "y" * 50)
    assert events(stream) == [done("slow consumer")]
    assert [exit.reason for exit in watcher.exits] == ["slow_consumer"]
    assert node.counts["slow_consumer.closed"] == 1


def test_new_events_are_dropped(node, connect):
    """§8"""
    stream = connect(max_backlog=100, slow_consumer="drop_new")
    stall(stream)
    for number in range(5):
        send(stream, f"{number}" * 10)
    stream.transport.flush()
    assert [data[0] for _, data in events(stream)] == ["0", "1"]
    assert node.counts["slow_consumer.dropped"] == 3


def test_old_events_are_dropped(node, connect):
    """§8"""
    stream = connect(max_backlog=100, slow_consumer="drop_old")
    stall(stream)
    for number in range(5):
        send(stream, f"{number}" * 10)
    stream.transport.flush()
    assert [data[0] for _, data in events(stream)] == ["3", "4"]
    assert node.counts["slow_consumer.dropped"] == 3


def test_target_on_a_node_that_nobody_knows_is_dead(connect):
    """§5.2"""
    stream = connect(None)
    control(stream, target_pid=Node("other").make_pid("proc"))
    assert stream.info()["target"] is None
