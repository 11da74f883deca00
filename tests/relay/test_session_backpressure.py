"""A target that is full, and a client that does not read (§8)."""

from greenrelay.relay.delivery import State
from tests.relay.actions import send
from tests.targets import RecordingTarget

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


def test_close_resumes_reading(connect, recorder):
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
    [close] = session.transport.frames  # what waited before it is dropped
    assert close[1:] == (1013, b"slow consumer")
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


def test_close_is_sent_however_slow_the_client_is(connect):
    """§3.5"""
    session = connect(max_backlog=100)
    session.transport.unsent = 99
    send(session, "ws.close", "bye")
    assert session.transport.frames[-1][1:] == (1000, b"bye")
