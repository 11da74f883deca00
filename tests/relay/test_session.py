"""What both relays share, from join to leave, without a socket (§3.3 to §3.8)."""

import dataclasses

import pytest

from greenrelay.message import Message
from greenrelay.relay.alarms import next_beat
from greenrelay.relay.config import relay_config
from greenrelay.relay.delivery import State
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.testing import FakeClock, FakeTransport, fake_websocket, wait_until
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
    """Return a connection to the recorder, joined and open."""

    def connect(**fields):
        return fake_websocket(node, recorder.pid, clock, **{"ping_interval": "0s", **fields})

    return connect


def send(session, topic, payload=None):
    return session.deliver(Message(topic, payload))


# -- joining (§3.3) ------------------------------------------------------------


def test_join_comes_before_anything_is_written_or_read(node, recorder, clock):
    """§3.3"""
    config = relay_config({"target_pid": recorder.pid, "metadata": {"user": 7}})
    session = WebSocketSession(node, clock.wheel, config, FrameCache())
    session.use(FakeTransport(session))
    session.join()
    assert recorder.payloads("ws.join") == [{"client_pid": session.pid, "metadata": {"user": 7}}]
    assert recorder.messages[0].sender == session.pid
    assert session.transport.written == b""
    assert not session.transport.is_reading
    session.kill()


def test_connection_is_registered_and_its_target_monitored_before_the_join(node, recorder, clock):
    """§3.3: so that a target may answer at once."""
    seen = []
    recorder.deliver = lambda message: seen.append(
        (node.is_alive(message.sender), len(node.topology.watchers(recorder.pid)))
    )
    fake_websocket(node, recorder.pid, clock).kill()
    assert seen[0] == (True, 1)


def test_target_that_dies_before_the_101_closes_the_connection_behind_it(node, recorder, clock):
    """§3.7"""
    config = relay_config({"target_pid": recorder.pid})
    session = WebSocketSession(node, clock.wheel, config, FrameCache())
    session.use(FakeTransport(session))
    session.join()
    recorder.kill("normal")
    session.begin(b"")
    assert session.transport.frames[-1].code == 1000
    assert session.state is State.CLOSING


def test_target_that_dies_before_the_join_closes_the_connection(node, recorder, clock, watcher):
    """§3.7"""
    recorder.kill("normal")
    session = fake_websocket(node, recorder.pid, clock)
    node.monitor(watcher, session.pid)
    assert session.transport.frames[-1][1:] == (1011, b"target process failed")
    session.on_eof()
    assert watcher.exits[0].reason == "noproc"


# -- ending (§3.8) -------------------------------------------------------------


def test_leave_is_the_last_message_and_comes_once(connect, recorder):
    """§3.3"""
    session = connect(metadata={"user": 7})
    session.on_eof()
    session.on_eof()
    session.kill()
    assert recorder.topics == ["ws.join", "ws.leave"]
    assert recorder.payloads("ws.leave") == [
        {
            "client_pid": session.pid,
            "reason": "connection_lost",
            "code": 1006,
            "metadata": {"user": 7},
        }
    ]


def test_ended_connection_is_out_of_every_table(node, connect, clock):
    """§3.8"""
    session = connect(heartbeat_interval="1s")
    node.groups.join("room", session.pid)
    session.on_eof()
    assert not node.is_alive(session.pid)
    assert node.groups.members("room") == []
    assert node.topology.is_empty()
    assert len(clock.wheel) == 0
    assert session.transport.is_closed


def test_monitor_gets_the_reason_once(node, connect, watcher):
    """§3.8"""
    session = connect()
    node.monitor(watcher, session.pid)
    session.on_eof()
    session.finish()
    assert [exit.reason for exit in watcher.exits] == ["connection_lost"]


def test_links_learn_of_an_abnormal_end(node, connect, watcher):
    """§3.8"""
    session = connect()
    node.link(watcher, session.pid)
    session.kill("killed")
    assert [news.reason for news in watcher.links_down] == ["killed"]


def test_normal_end_kills_no_one(node, connect, watcher):
    """§2.4"""
    session = connect()
    node.link(watcher, session.pid)
    send(session, "ws.close")
    session.on_eof()
    assert watcher.links_down == []


def test_linked_death_closes_the_connection(node, connect, watcher):
    """§2.4"""
    session = connect()
    node.link(watcher, session.pid)
    watcher.kill("error: ValueError: on purpose")
    assert session.transport.frames[-1].code == 1011
    session.on_eof()
    assert not node.is_alive(session.pid)


@pytest.mark.parametrize(
    ("reason", "code", "text"),
    [
        pytest.param("normal", 1000, b"target process exited", id="normal"),
        pytest.param("shutdown", 1000, b"target process exited", id="shutdown"),
        pytest.param("killed", 1011, b"target process failed", id="killed"),
        pytest.param("error: X: y", 1011, b"target process failed", id="crash"),
        pytest.param("noconnection", 1012, b"target process failed", id="node lost"),
    ],
)
def test_end_of_the_target_is_told_to_client_and_monitors(
    node, connect, recorder, watcher, reason, code, text
):
    """§3.7, §3.8"""
    session = connect()
    node.monitor(watcher, session.pid)
    send(session, "news", 1)
    recorder.kill(reason)
    assert session.transport.frames[0] == '{"topic":"news","data":1}'
    assert session.transport.frames[1][1:] == (code, text)
    session.on_eof()
    assert watcher.exits[0].reason == reason


def test_dead_target_gets_no_leave(connect, recorder):
    """§3.7"""
    session = connect()
    recorder.kill("normal")
    session.on_eof()
    assert recorder.topics == ["ws.join"]


def test_goodbye_that_nobody_answers_ends_after_five_seconds(node, connect, recorder, clock):
    """§3.5"""
    session = connect()
    send(session, "ws.close", "bye")
    clock.advance(4.9)
    assert session.state is State.CLOSING
    assert not session.transport.is_closed
    clock.advance(0.2)
    assert session.transport.is_closed
    assert recorder.payloads("ws.leave")[0]["reason"] == "bye"


def test_last_bytes_are_flushed_before_the_socket_is_closed(connect, clock):
    """The client must be able to read why."""
    session = connect()
    session.transport.unsent = 100
    session.on_bytes(b"\x00\x00")  # unmasked
    assert session.state is State.LINGERING
    assert not session.transport.is_shut
    session.transport.flush()
    assert session.transport.is_shut
    assert session.transport.is_reading
    session.on_eof()
    assert session.transport.is_closed


def test_client_that_does_not_read_its_goodbye_is_cut_off(connect, clock):
    session = connect()
    session.transport.unsent = 100
    session.on_bytes(b"\x00\x00")
    clock.advance(5.1)
    assert session.transport.is_closed


def test_terminate_closes_the_socket_at_once(connect, recorder):
    """§2.5"""
    session = connect()
    session.kill()
    assert session.transport.is_closed
    assert session.transport.frames == []
    assert recorder.payloads("ws.leave")[0]["reason"] == "killed"


@pytest.mark.parametrize("end", ["on_eof", "kill", "finish", "drain", "cancel", "on_flushed"])
def test_ended_connection_bears_any_further_end(connect, end):
    session = connect()
    session.kill()
    getattr(session, end)()
    assert session.state is State.CLOSED


def test_nothing_is_delivered_to_an_ended_connection(connect):
    """§2.2"""
    session = connect()
    assert send(session, "news")
    session.on_eof()
    assert not send(session, "news")


# -- control (§3.6) ------------------------------------------------------------


def test_moving_is_one_step(node, connect, recorder):
    """§3.6"""
    other = RecordingTarget(node)
    session = connect()
    send(session, "ws.control", {"target_pid": other.pid, "metadata": {"moved": True}})
    assert recorder.payloads("ws.leave")[0]["reason"] == "transferred"
    assert recorder.payloads("ws.leave")[0]["metadata"] == {}
    assert other.payloads("ws.join") == [{"client_pid": session.pid, "metadata": {"moved": True}}]
    session.kill()
    assert recorder.topics.count("ws.leave") == 1
    assert other.topics == ["ws.join", "ws.leave"]


def test_old_target_is_not_monitored_any_more(node, connect, recorder):
    """§3.6"""
    session = connect()
    send(session, "ws.control", {"target_pid": RecordingTarget(node).pid})
    recorder.kill("killed")
    assert session.state is State.OPEN


def test_new_target_is_monitored(node, connect):
    """§3.6"""
    other = RecordingTarget(node)
    session = connect()
    send(session, "ws.control", {"target_pid": other.pid})
    other.kill("killed")
    assert session.state is State.CLOSING


def test_same_target_is_neither_left_nor_joined(connect, recorder):
    """§3.6"""
    session = connect()
    send(session, "ws.control", {"target_pid": recorder.pid, "message_topic": "line"})
    assert recorder.topics == ["ws.join"]
    assert session.config.message_topic == "line"


def test_control_that_is_wrong_in_one_field_changes_none(node, connect, recorder, caplog):
    """§3.6"""
    session = connect()
    before = session.config
    for wrong in ({"max_rate": -1}, {"target_pid": "proc@test/AAAAAAAAAAAAAAAA"}):
        send(session, "ws.control", {"message_topic": "line", "metadata": {"a": 1}, **wrong})
        assert session.config == before
    wait_until(lambda: len(caplog.records) == 2)
    assert "bad ws.control" in caplog.text
    assert "Relay" not in caplog.text  # no header was involved
    assert recorder.topics == ["ws.join"]


# -- time ----------------------------------------------------------------------


def test_heartbeat_beats_in_step(connect, recorder, clock):
    """§3.3"""
    connect(heartbeat_interval="10s")
    clock.advance(35)
    uptimes = [beat["uptime"] for beat in recorder.payloads("ws.heartbeat")]
    assert uptimes == [
        pytest.approx(10, abs=0.1),
        pytest.approx(20, abs=0.1),
        pytest.approx(30, abs=0.1),
    ]


def test_heartbeats_that_a_stall_swallowed_are_gone(connect, recorder, clock):
    """§3.3"""
    connect(heartbeat_interval="10s")
    clock.jump(95)
    clock.advance(3)
    assert len(recorder.payloads("ws.heartbeat")) == 1
    clock.advance(3)
    assert len(recorder.payloads("ws.heartbeat")) == 2


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(10.0, 20.0, id="on time"),
        pytest.param(13.0, 20.0, id="a little late"),
        pytest.param(20.0, 30.0, id="a whole one late"),
        pytest.param(57.0, 60.0, id="after a stall"),
    ],
)
def test_next_beat_is_in_step_and_in_the_future(now, expected):
    assert next_beat(10.0, 10.0, now) == expected


def test_heartbeat_ends_with_the_connection(connect, recorder, clock):
    session = connect(heartbeat_interval="10s")
    session.on_eof()
    clock.advance(60)
    assert "ws.heartbeat" not in recorder.topics


def test_heartbeat_may_be_switched_off(connect, recorder, clock):
    """§3.6"""
    session = connect(heartbeat_interval="10s")
    send(session, "ws.control", {"heartbeat_interval": "0s"})
    clock.advance(60)
    assert "ws.heartbeat" not in recorder.topics
    assert len(clock.wheel) == 0


def test_idle_connection_is_closed(connect, clock, node, watcher):
    """§8"""
    session = connect(idle_timeout="60s")
    node.monitor(watcher, session.pid)
    clock.advance(61)
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")
    session.on_eof()
    assert watcher.exits[0].reason == "idle_timeout"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda session: send(session, "news"), id="to the client"),
        pytest.param(lambda session: session.on_bytes(b"\x81\x80\0\0\0\0"), id="from the client"),
    ],
)
def test_message_of_either_direction_keeps_it_from_being_idle(connect, clock, act):
    """§8"""
    session = connect(idle_timeout="60s")
    clock.advance(50)
    act(session)
    clock.advance(50)
    assert session.state is State.OPEN
    clock.advance(11)
    assert session.state is State.CLOSING


def test_our_own_pings_are_no_activity(connect, clock):
    """§8"""
    session = connect(idle_timeout="60s", ping_interval="25s")
    for _ in range(7):
        clock.advance(10)
        session.on_bytes(b"\x8a\x80\0\0\0\0")  # a pong
    assert session.transport.frames[-1][1:] == (1000, b"idle timeout")


# -- backpressure (§8) ---------------------------------------------------------


def test_full_target_pauses_reading_until_it_has_drained(connect, recorder):
    """§8"""
    session = connect()
    recorder.is_full = True
    session.on_bytes(b"\x81\x80\0\0\0\0")
    assert not session.transport.is_reading
    recorder.drain()
    assert session.transport.is_reading


def test_move_away_from_a_full_target_resumes_reading(node, connect, recorder):
    """§3.6, §8"""
    session = connect()
    recorder.is_full = True
    session.on_bytes(b"\x81\x80\0\0\0\0")
    send(session, "ws.control", {"target_pid": RecordingTarget(node).pid})
    assert session.transport.is_reading
    assert recorder.on_drained_calls == {}


def test_goodbye_resumes_reading(connect, recorder):
    """§3.5, §8"""
    session = connect()
    recorder.is_full = True
    session.on_bytes(b"\x81\x80\0\0\0\0")
    send(session, "ws.close", "bye")
    assert session.transport.is_reading
    session.on_bytes(b"\x81\x80\0\0\0\0")
    assert session.transport.is_reading


def test_death_of_a_full_target_resumes_reading(connect, recorder):
    """§3.7, §8"""
    session = connect()
    recorder.is_full = True
    session.on_bytes(b"\x81\x80\0\0\0\0")
    recorder.kill("killed")
    assert session.transport.is_reading


MESSAGE = {"type": "text", "data": "x" * 100}


def test_slow_client_is_closed(node, connect, watcher):
    """§8: the default."""
    session = connect(max_backlog=1000)
    node.monitor(watcher, session.pid)
    session.transport.unsent = 500
    for _ in range(5):
        send(session, "ws.send", MESSAGE)
    [goodbye] = session.transport.frames  # what waited before it is dropped
    assert goodbye[1:] == (1013, b"slow consumer")
    assert watcher.exits[0].reason == "slow_consumer"
    assert node.counts["slow_consumer.closed"] == 1


def test_newest_message_for_a_slow_client_is_dropped(node, connect):
    """§8"""
    session = connect(max_backlog=1000, slow_consumer="drop_new")
    session.transport.unsent = 950
    send(session, "ws.send", MESSAGE)
    assert session.transport.written == b""
    assert session.state is State.OPEN
    session.transport.flush()
    send(session, "ws.send", MESSAGE)
    assert session.transport.frames == [MESSAGE["data"]]
    assert node.counts["slow_consumer.dropped"] == 1


def test_oldest_messages_for_a_slow_client_are_dropped(node, connect):
    """§8: what has begun to go out stays."""
    session = connect(max_backlog=1000, slow_consumer="drop_old")
    session.transport.unsent = 650
    for number in range(6):
        send(session, "ws.send", {"type": "text", "data": f"{number}" * 98})
    assert session.transport.unsent == 950
    assert [frame[0] for frame in session.transport.frames] == ["3", "4", "5"]
    assert node.counts["slow_consumer.dropped"] == 3


def test_one_message_larger_than_the_backlog_goes_to_a_client_that_reads(connect):
    """§8: what counts is what waits already."""
    session = connect(max_backlog=10)
    send(session, "ws.send", MESSAGE)
    assert session.transport.frames == [MESSAGE["data"]]


def test_backlog_of_0_has_no_bound(connect):
    """§8"""
    session = connect(max_backlog=0)
    session.transport.unsent = 1 << 30
    send(session, "ws.send", MESSAGE)
    assert session.state is State.OPEN


def test_goodbye_is_sent_however_slow_the_client_is(connect):
    """§3.5"""
    session = connect(max_backlog=100)
    session.transport.unsent = 99
    send(session, "ws.close", "bye")
    assert session.transport.frames[-1][1:] == (1000, b"bye")


# -- what it knows about itself ------------------------------------------------


def test_info_counts(connect, recorder, clock):
    session = connect()
    session.on_bytes(b"\x81\x80\0\0\0\0")
    send(session, "news")
    clock.advance(10)
    info = session.info()
    assert info["target"] == recorder.pid
    assert (info["messages_in"], info["messages_out"]) == (1, 1)
    assert info["uptime"] == pytest.approx(10)
    assert info["state"] == "open"


def test_repr_names_pid_and_state(connect):
    session = connect()
    assert repr(session) == f"<WebSocketSession {session.pid} OPEN>"


def test_bug_on_a_timer_ends_that_connection_and_is_told(connect, clock, watcher, caplog):
    """Whatever fails in the hub, nobody else is touched, and nothing loses its timers."""
    broken, other = connect(heartbeat_interval="1s"), connect(heartbeat_interval="1s")
    broken.node.monitor(watcher, broken.pid)
    broken.adopt(dataclasses.replace(broken.config, heartbeat_interval="a bug"))
    clock.advance(1.5)
    wait_until(lambda: caplog.records)
    assert [exit.reason for exit in watcher.exits] == ["connection_lost"]
    assert f"{broken.pid}" in caplog.messages[0]
    assert caplog.records[0].exc_info[0] is TypeError
    assert other.state is State.OPEN
    other.kill()
