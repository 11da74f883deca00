"""One event stream without a socket: how it begins and what it forwards (§5.2 to §5.4, §8)."""

import pytest

from greenrelay.message import Message
from greenrelay.protocol.eventstream import Event
from greenrelay.relay.delivery import State
from greenrelay.relay.sse import EventCache
from greenrelay.testing import wait_until
from tests.relay.actions import done, events, forward

# -- beginning (§5.2) ----------------------------------------------------------


def test_target_is_told_of_the_stream(open_stream, recorder):
    """§5.2"""
    stream = open_stream(metadata={"user": 7})
    assert recorder.payloads("sse.join") == [
        {"client_pid": stream.pid, "metadata": {"user": 7}, "last_event_id": None}
    ]
    assert stream.pid.host == "sse"


def test_managed_stream_begins_with_nothing(open_stream):
    """§5.2"""
    assert open_stream().transport.written == b""


def test_detached_stream_begins_with_ready(open_stream):
    """§5.2: without the metadata."""
    stream = open_stream(None, metadata={"secret": 7}, message_topic="news")
    data = f'{{"stream_pid":"{stream.pid}","message_topic":"news"}}'
    assert stream.transport.written == f"event: ready\ndata: {data}\n\n".encode()


def test_retry_comes_before_everything_else(open_stream):
    """§5.3"""
    assert open_stream(None, retry="1500ms").transport.written.startswith(
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
def test_message_becomes_an_event(open_stream, payload, data):
    """§5.3"""
    stream = open_stream()
    assert forward(stream, payload)
    written = stream.transport.written
    assert written.startswith(b"event: sse.message\n")
    assert sorted(written.split(b"\n")) == sorted(
        (b"event: sse.message\n" + data + b"\n").split(b"\n")
    )


def test_only_the_message_topic_is_forwarded(open_stream):
    """§5.4"""
    stream = open_stream(message_topic="news")
    for topic in ("news", "sse.message", "news.more", "new", "NEWS"):
        assert forward(stream, "x", topic)
    assert events(stream) == [("news", "x")]


RESERVED = ["sse.join", "sse.leave", "sse.heartbeat", "@anything"]


@pytest.mark.parametrize("topic", ["*", *RESERVED[:3]])
def test_reserved_topics_are_never_forwarded(open_stream, topic):
    """§5.4"""
    stream = open_stream(message_topic=topic)
    for reserved in RESERVED:
        forward(stream, "x", reserved)
    assert events(stream) == []


def test_star_forwards_every_other_topic(open_stream):
    """§5.4"""
    stream = open_stream(message_topic="*")
    for topic in ("a", "ws.send", "done"):
        forward(stream, "x", topic)
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
def test_message_that_can_not_be_sent_is_its_senders_mistake(open_stream, caplog, topic, payload):
    """§5.3"""
    stream = open_stream(message_topic="*")
    assert forward(stream, payload, topic)
    forward(stream, "next", "a")
    assert events(stream) == [("a", "next")]
    wait_until(lambda: [record for record in caplog.records if "bad" in record.message])
    assert stream.pid in caplog.text


def test_broadcast_is_encoded_once(open_stream):
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


def test_what_the_client_sends_is_dropped(open_stream, recorder):
    """§5.1"""
    stream = open_stream()
    stream.on_bytes(b"GET / HTTP/1.1\r\n\r\n")
    assert recorder.topics == ["sse.join"]
    assert stream.state is State.OPEN


# -- clients that read slowly (§8) ---------------------------------------------


def stall(stream):
    """Let the client not read any more."""
    stream.transport.unsent = 1


def test_slow_consumer_is_closed(node, open_stream, watcher):
    """§8"""
    stream = open_stream(max_backlog=100)
    node.monitor(watcher, stream.pid)
    stall(stream)
    forward(stream, "x" * 50)
    forward(stream, "y" * 50)
    assert events(stream) == [done("slow consumer")]
    assert [exit.reason for exit in watcher.exits] == ["slow_consumer"]
    assert node.counts["slow_consumer.closed"] == 1


def test_new_events_are_dropped(node, open_stream):
    """§8"""
    stream = open_stream(max_backlog=100, slow_consumer="drop_new")
    stall(stream)
    for number in range(5):
        forward(stream, f"{number}" * 10)
    stream.transport.flush()
    assert [data[0] for _, data in events(stream)] == ["0", "1"]
    assert node.counts["slow_consumer.dropped"] == 3


def test_old_events_are_dropped(node, open_stream):
    """§8"""
    stream = open_stream(max_backlog=100, slow_consumer="drop_old")
    stall(stream)
    for number in range(5):
        forward(stream, f"{number}" * 10)
    stream.transport.flush()
    assert [data[0] for _, data in events(stream)] == ["3", "4"]
    assert node.counts["slow_consumer.dropped"] == 3
