"""Relayed event streams from their first event to their end, over real servers (§5, §8)."""

import re

import gevent
import gevent.socket
import pytest

from greenrelay import Event, process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder
from tests.integration.streams import Streams, detached, get, stream_app

pytestmark = pytest.mark.usefixtures("no_socket_left", "nothing_printed")

# -- managed (§5.2) ------------------------------------------------------------


def test_target_sends_events(node, any_server, recorder):
    """§5.2"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        recorder.send("hello")
        recorder.send({"a": [1, None]})
        assert stream.receive()[:2] == ("sse.message", "hello")
        assert stream.receive()[:2] == ("sse.message", '{"a":[1,null]}')


def test_join_is_the_first_and_leave_the_last_message(node, any_server, recorder):
    """§5.2"""
    server = any_server(stream_app(node, recorder, metadata={"user": 7}))
    with server.connect_sse("/sse"):
        client = recorder.client
    leave = recorder.wait_for("sse.leave")
    assert recorder.topics == ["sse.join", "sse.leave"]
    assert recorder.messages[0].sender == client
    assert leave == {
        "client_pid": client,
        "reason": "connection_lost",
        "code": 1006,
        "metadata": {"user": 7},
    }


def test_answer_to_the_join_comes_behind_the_head(node, any_server):
    """§5.1"""

    def greet(message):
        if message.topic == "sse.join":
            process.send(message.payload["client_pid"], "sse.message", "welcome")

    server = any_server(stream_app(node, Recorder(greet)))
    with server.connect_sse("/sse") as stream:
        assert stream.receive().data == "welcome"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        pytest.param(lambda pid: process.send(pid, "end"), "target process exited", id="ends"),
        pytest.param(lambda pid: process.send(pid, "crash"), "target process failed", id="crash"),
        pytest.param(lambda pid: process.terminate(pid), "target process failed", id="killed"),
    ],
)
def test_stream_ends_with_its_target(node, any_server, end, told):
    """§5.3: after everything that the target has sent."""

    def obey(message):
        if message.topic == "end":
            process.exit()
        if message.topic == "crash":
            raise ValueError("on purpose")

    recorder = Streams(obey)
    target = node.spawn(recorder)
    server = any_server(stream_app(node, target))
    with server.connect_sse("/sse") as stream:
        recorder.send("last")
        end(target)
        assert [event[:2] for event in stream] == [
            ("sse.message", "last"),
            ("done", f'{{"reason":"{told}"}}'),
        ]


def test_stream_holds_no_greenlet_of_the_server(node, any_server, recorder):
    """§5.1: the request has ended."""
    server = any_server(stream_app(node, recorder))
    pool = server.server.pool
    with server.connect_sse("/sse"), server.connect_sse("/sse"):
        wait_until(lambda: pool is None or not len(pool))
        assert len([each for each in node if each.pid.host == "sse"]) == 2


def test_request_has_ended_before_the_first_event(node, relay_server):
    """§3.1, §5.1"""
    order = []

    def greet(message):
        order.append(message.topic)
        process.send(message.payload["client_pid"], "sse.message", list(order))

    app = stream_app(node, Recorder(greet))
    app.teardown_request(lambda error: order.append("torn down"))
    with relay_server(app).connect_sse("/sse") as stream:
        assert stream.receive().data == '["torn down","sse.join"]'


# -- detached (§5.2) -----------------------------------------------------------


def test_detached_stream_names_itself(node, any_server):
    """§5.2: and never the metadata."""
    server = any_server(stream_app(node, message_topic="news", metadata={"secret": 7}))
    with server.connect_sse("/sse") as stream:
        (client,) = [entity.pid for entity in node]
        ready = stream.receive()
        assert ready.event == "ready"
        assert ready.data == f'{{"stream_pid":"{client}","message_topic":"news"}}'


def test_anybody_sends_to_a_detached_stream(node, any_server):
    """§5.2"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        assert process.send(detached(stream), "sse.message", "hello")
        assert stream.receive().data == "hello"


def test_control_attaches_switches_and_detaches(node, any_server):
    """§5.5"""
    first, second = Streams(), Streams()
    first_pid, second_pid = node.spawn(first), node.spawn(second)
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        client = detached(stream)
        process.send(client, "sse.control", {"target_pid": first_pid})
        first.wait_for("sse.join")
        process.send(client, "sse.control", {"target_pid": second_pid})
        second.wait_for("sse.join")
        process.send(client, "sse.control", {"target_pid": ""})
        assert second.wait_for("sse.leave")["reason"] == "transferred"
        process.terminate(second_pid)
        process.send(client, "sse.message", "alive")
        assert stream.receive().data == "alive"
    assert first.topics == ["sse.join", "sse.leave"]


def test_control_to_a_dead_target_changes_nothing(node, any_server, recorder, caplog):
    """§5.5"""
    dead = node.spawn(lambda: None)
    wait_until(lambda: not node.is_alive(dead))
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        recorder.send({"target_pid": dead}, "sse.control")
        recorder.send("x")
        assert stream.receive().data == "x"
        assert recorder.topics == ["sse.join"]
    wait_until(lambda: "is not alive" in caplog.text)


def test_control_sets_every_field(node, any_server, recorder):
    """§5.5"""
    server = any_server(stream_app(node, recorder))
    fields = {
        "message_topic": "news",
        "metadata": {"user": 8},
        "heartbeat_interval": "100ms",
        "idle_timeout": "10s",
        "hard_timeout": "500ms",
        "retry": "3s",
        "max_backlog": 1000,
        "slow_consumer": "drop_new",
    }
    with server.connect_sse("/sse") as stream:
        recorder.send(fields, "sse.control")
        recorder.send("old")
        recorder.send("new", "news")
        assert stream.receive() == ("news", "new", "", 3000)
        assert recorder.wait_for("sse.heartbeat")["metadata"] == {"user": 8}
        assert stream.receive()[:2] == ("done", '{"reason":"hard timeout"}')


def test_close_ends_the_stream_with_a_reason(node, any_server):
    """§5.3, §5.5"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as stream:
        process.send(detached(stream), "sse.close", "enough")
        assert [event[:2] for event in stream] == [("done", '{"reason":"enough"}')]


# -- what is forwarded (§5.3, §5.4) --------------------------------------------


def test_only_the_message_topic_is_forwarded(node, any_server, recorder):
    """§5.4"""
    server = any_server(stream_app(node, recorder, message_topic="news"))
    with server.connect_sse("/sse") as stream:
        for topic in ("other", "news", "sse.message", "sse.join", "sse.heartbeat", "news"):
            recorder.send(topic, topic)
        recorder.send("", "sse.close")
        assert [event.event for event in stream] == ["news", "news", "done"]


def test_bytes_on_the_wire(node, any_server, recorder):
    """§5.3"""
    server = any_server(stream_app(node, recorder, message_topic="*", retry="1s"))
    with raw.RawClient(server.url) as client:
        client.send(get())
        client.read_answer()
        recorder.send("a\rb\r\nc\n", "text")
        recorder.send(b"\xff", "bytes")
        recorder.send(Event({"n": 1}, id="7", retry=50), "event")
        recorder.send(None, "sse.close")
        assert client.read_rest() == (
            b"retry: 1000\n\n"
            b"event: text\ndata: a\ndata: b\ndata: c\ndata: \n\n"
            b"event: bytes\ndata: /w==\n\n"
            b'event: event\nid: 7\nretry: 50\ndata: {"n":1}\n\n'
            b'event: done\ndata: {"reason":"closed by server"}\n\n'
        )


def test_topic_with_a_line_break_is_the_senders_mistake(node, any_server, recorder, caplog):
    """§5.3"""
    server = any_server(stream_app(node, recorder, message_topic="*"))
    with server.connect_sse("/sse") as stream:
        recorder.send("x", "news\nevent: forged")
        recorder.send("y", "news")
        assert stream.receive()[:2] == ("news", "y")
    wait_until(lambda: "no CR, LF or NUL" in caplog.text)


def test_broadcast_reaches_every_stream(node, any_server):
    """§2"""
    server = any_server(stream_app(node))
    with server.connect_sse("/sse") as one, server.connect_sse("/sse") as two:
        pids = [detached(one), detached(two)]
        assert process.broadcast(pids, "sse.message", "hello") == 2
        assert one.receive().data == two.receive().data == "hello"


def test_small_events_are_not_held_back_by_the_kernel(node, any_server):
    """§5.3: or one that follows another waits for its acknowledgement."""
    with any_server(stream_app(node)).connect_sse("/sse"):
        (entity,) = node
        level, option = gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY
        assert entity.transport._sock.getsockopt(level, option)


# -- time (§5.3, §5.6) ---------------------------------------------------------


def test_heartbeat_reaches_wire_and_target(node, any_server, recorder):
    """§5.3"""
    server = any_server(stream_app(node, recorder, heartbeat_interval="100ms"))
    with raw.RawClient(server.url) as client:
        client.send(get())
        client.read_answer()
        assert client.file.read(16) == b": ping\n\n" * 2
    beat = recorder.wait_for("sse.heartbeat")
    assert (beat["client_pid"], beat["metadata"]) == (recorder.client, {})
    assert beat["uptime"] > 0


def test_idle_stream_ends(node, any_server, recorder, witness):
    """§5.6"""
    server = any_server(stream_app(node, recorder, idle_timeout="200ms", heartbeat_interval="50ms"))
    with server.connect_sse("/sse") as stream:
        witness.watch(recorder.client)
        assert [event[:2] for event in stream] == [("done", '{"reason":"idle timeout"}')]
    assert witness.wait_for_reason() == "idle_timeout"


def test_busy_stream_ends_at_its_hard_timeout(node, any_server, recorder):
    """§5.6"""
    server = any_server(stream_app(node, recorder, idle_timeout="1s", hard_timeout="300ms"))
    with server.connect_sse("/sse") as stream:
        while recorder.send("busy"):
            gevent.sleep(0.01)
        *busy, last = stream
    assert len(busy) > 5
    assert last[:2] == ("done", '{"reason":"hard timeout"}')


def test_stopping_server_says_so(node, any_server, recorder):
    """§5.3, §9"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse") as stream:
        stopping = gevent.spawn(server.stop, 5)
        assert [event[:2] for event in stream] == [("done", '{"reason":"shutdown"}')]
        stopping.join()


# -- clients that leave, and that come back (§5.6) -----------------------------


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_client_that_leaves_is_noticed_without_a_write(node, any_server, recorder, leave):
    """§5.6"""
    server = any_server(stream_app(node, recorder))
    client = raw.RawClient(server.url)
    client.send(get())
    client.read_answer()
    getattr(client, leave)()
    assert recorder.wait_for("sse.leave")["reason"] == "connection_lost"
    process.terminate(recorder.messages[0].sender)
    wait_until(lambda: [entity.pid.host for entity in node] == ["proc"])


@pytest.mark.parametrize(
    ("headers", "seen"),
    [({}, None), ({"Last-Event-ID": "7"}, "7"), ({"Last-Event-ID": "Ã©"}, "é")],
    ids=["none", "ASCII", "UTF-8"],
)
def test_id_of_the_last_event_is_in_the_join(node, any_server, recorder, headers, seen):
    """§5.6"""
    server = any_server(stream_app(node, recorder))
    with server.connect_sse("/sse", headers):
        assert recorder.wait_for("sse.join")["last_event_id"] == seen


# -- clients that read slowly (§8) ---------------------------------------------


class Stalled:
    """A client of a stream that does not read; a target that can send more than fits."""

    def __init__(self, node, server, recorder):
        self.recorder = recorder
        self.client = raw.RawClient(server.url, receive_buffer=4096)
        self.client.send(get())
        self.client.read_answer()

    def flood(self, count=400):
        """Send numbered events, 20 KiB each, as long as the stream lives."""
        for number in range(count):
            if not self.recorder.send(f"{number:04}" * 5000):
                return
            gevent.sleep(0)

    def read(self):
        """Return the numbers that have arrived, and the name of the last event."""
        rest = self.client.read_rest()
        last = rest.rsplit(b"event: ", 1)[1].split(b"\n")[0]
        return [int(number) for number in re.findall(rb"data: (\d{4})", rest)], last


@pytest.mark.parametrize("policy", ["close", "drop_new", "drop_old"])
def test_slow_consumer(node, any_server, recorder, witness, policy):
    """§8"""
    app = stream_app(node, recorder, max_backlog=100_000, slow_consumer=policy)
    stalled = Stalled(node, any_server(app), recorder)
    with stalled.client:
        witness.watch(recorder.client)
        stalled.flood()
        recorder.send("", "sse.close")
        numbers, last = stalled.read()
    reason = witness.wait_for_reason()
    assert last == b"done"
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < 400
    if policy == "close":
        assert reason == "slow_consumer"
        assert node.counts["slow_consumer.closed"] == 1
    else:
        assert reason == "normal"
        assert node.counts["slow_consumer.dropped"] == 400 - len(numbers)
        assert (numbers[-1] == 399) is (policy == "drop_old")
