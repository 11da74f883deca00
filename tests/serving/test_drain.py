"""Stopping a node: who is told when, and what happens to who does not listen (§9)."""

import time

import gevent
import gevent.event
import pytest

from greenrelay import process
from greenrelay.relay.connections import Connections
from greenrelay.serving.drain import BATCH_CONNECTIONS, BATCH_SECONDS, drain
from greenrelay.testing import FakeClock, fake_event_stream, fake_websocket, leaks, wait_until


@pytest.fixture
def connect(node, recorder):
    """Return WebSockets whose clients do not answer."""
    clock = FakeClock()
    return lambda count: [fake_websocket(node, recorder.pid, clock) for _ in range(count)]


def told(sessions):
    """Return how many have been told."""
    return sum(bool(session.transport.frames) for session in sessions)


def draining(node, seconds):
    """Return a drain that runs."""
    return gevent.spawn(drain, node, seconds)


# -- connections ---------------------------------------------------------------


def test_connections_are_told_in_batches(node, connect):
    """§9: or all of them would come back in the same instant."""
    sessions = connect(3 * BATCH_CONNECTIONS)
    begun = time.monotonic()
    drain_greenlet = draining(node, 1)
    for number in (1, 2, 3):
        wait_until(lambda number=number: told(sessions) == number * BATCH_CONNECTIONS)
        assert time.monotonic() - begun >= (number - 1) * BATCH_SECONDS
    drain_greenlet.join()


def test_everybody_is_told_in_the_first_half_of_the_time(node, connect):
    """§9: the rest is for their answers."""
    sessions = connect(1000)
    drain_greenlet = draining(node, 0.8)
    begun = time.monotonic()
    wait_until(lambda: told(sessions) == 1000)
    assert time.monotonic() - begun < 0.6
    drain_greenlet.join()


def test_client_that_reads_its_last_bytes_slowly_is_waited_for(node, recorder):
    """§9: also when its connection has ended for everybody else."""
    stream = fake_event_stream(node, recorder.pid, FakeClock())
    stream.transport.unsent = 1000
    drain_greenlet = draining(node, 10)
    wait_until(lambda: stream in node.shared(Connections))
    gevent.sleep(0.05)
    assert not drain_greenlet.ready()
    stream.transport.flush()
    drain_greenlet.join(5)
    assert drain_greenlet.ready()


def test_client_that_takes_nothing_does_not_hold_the_drain_up_for_ever(node, recorder):
    """§9"""
    stream = fake_event_stream(node, recorder.pid, FakeClock())
    stream.transport.unsent = 1000
    drain(node, 0.05)
    assert stream in node.shared(Connections)


def test_small_node_is_told_at_once(node, connect):
    """§9"""
    sessions = connect(BATCH_CONNECTIONS)
    drain_greenlet = draining(node, 0.1)
    gevent.sleep(0)
    assert told(sessions) == BATCH_CONNECTIONS
    drain_greenlet.join()


def test_websocket_gets_1012_and_its_monitors_shutdown(node, recorder, connect):
    """§9, §3.8"""
    [session] = connect(1)
    node.monitor(recorder, session.pid)
    drain(node, 0.05)
    assert session.transport.frames[0].code == 1012
    assert session.transport.frames[0].payload == b"shutdown"
    assert [exit.reason for exit in recorder.exits] == ["shutdown"]


def test_event_stream_gets_its_done_in_the_same_batches(node, recorder, connect):
    """§9"""
    connect(BATCH_CONNECTIONS - 1)
    streams = [fake_event_stream(node, recorder.pid) for _ in range(2)]
    for stream in streams:
        node.monitor(recorder, stream.pid)
    drain_greenlet = draining(node, 1)
    gevent.sleep(0)
    assert [b'{"reason":"shutdown"}' in each.transport.written for each in streams] == [True, False]
    drain_greenlet.join()
    assert b'event: done\ndata: {"reason":"shutdown"}\n\n' in streams[1].transport.written
    assert [exit.reason for exit in recorder.exits] == ["shutdown", "shutdown"]


def test_connection_that_joins_while_the_node_drains_is_told(node, connect):
    """§9: it was let in before, and its request's body was slow."""
    connect(1)
    drain_greenlet = draining(node, 0.3)
    gevent.sleep(0)
    [late] = connect(1)
    wait_until(lambda: told([late]), timeout=0.25)
    assert late.transport.frames[0].code == 1012
    drain_greenlet.join()


def test_drain_is_over_when_everybody_has_gone(node, connect):
    """§9: however much time is left."""
    sessions = connect(5)
    drain_greenlet = draining(node, 60)
    gevent.sleep(0)
    for session in sessions:
        session.on_eof()
    for entity in node:
        entity.kill("killed")  # the recorder
    drain_greenlet.join(1)
    assert drain_greenlet.dead


def test_empty_node_has_nothing_to_drain(node):
    """§9"""
    with gevent.Timeout(1):
        drain(node, 60)
    assert node.is_draining


# -- processes -----------------------------------------------------------------


def test_target_sees_the_leave_before_it_is_cancelled(node, connect):
    """§9, §3.3: connections first."""
    seen = []

    def target():
        for message in process.inbox():
            seen.append(
                (message.topic, message.payload["reason"] if "leave" in message.topic else "")
            )
        seen.append("cancelled")

    pid = node.spawn(target)
    session = fake_websocket(node, pid)
    drain_greenlet = draining(node, 5)
    gevent.sleep(0)
    session.on_eof()
    drain_greenlet.join()
    assert seen == [("ws.join", ""), ("ws.leave", "shutdown"), "cancelled"]


def test_process_learns_that_it_is_cancelled_and_why(node):
    """§9, §2.5"""
    news = []
    node.spawn(lambda: news.append(process.events().receive()))
    gevent.sleep(0)
    drain(node, 5)
    assert [(item.kind, item.reason) for item in news] == [("pid.cancel", "shutdown")]


def test_process_that_does_not_end_is_killed_at_the_deadline(node, recorder):
    """§9"""
    stubborn = node.spawn(gevent.event.Event().wait)
    node.monitor(recorder, stubborn)
    begun = time.monotonic()
    drain(node, 0.2)
    wait_until(lambda: not node.is_alive(stubborn))
    assert 0.2 <= time.monotonic() - begun < 1
    assert "killed" in [exit.reason for exit in recorder.exits]


def test_supervisor_restarts_nobody_in_a_drain(node):
    """§9: what it supervises ends with it, before the deadline."""
    starts = []

    def worker():
        starts.append(process.pid())
        for _ in process.inbox():
            pass

    process.Supervisor([worker, worker]).start()
    wait_until(lambda: len(starts) == 2)
    with gevent.Timeout(2):
        drain(node, 60)
    assert len(starts) == 2
    wait_until(lambda: not leaks(node))
