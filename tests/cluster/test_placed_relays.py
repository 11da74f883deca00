"""Relays work with a target on another node as with one here (§7.1, §7.7)."""

import gevent

from greenrelay import process
from greenrelay.cluster import pressure
from greenrelay.protocol.frames import OP_TEXT
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.testing import fake_event_stream, fake_websocket, wait_until
from greenrelay.testing.fakes import Control
from tests.integration.raw import frame


def connect(places, pid, **fields):
    return open_on(places.here, pid, **fields)


def open_on(place, pid, **fields):
    return fake_websocket(place.node, pid, ping_interval="0s", dialect="raw", **fields)


def say(session, text):
    session.on_bytes(frame(OP_TEXT, text.encode()))


def test_the_target_hears_of_a_connection_and_its_messages(places, box):  # §3
    session = connect(places, places.there.spawn("report", box.pid), metadata={"user": 7})
    say(session, "hello")
    first, second = box.wait_for("got", 2)
    assert (first[0], first[1]["client_pid"], first[1]["metadata"]) == (
        "ws.join",
        session.pid,
        {"user": 7},
    )
    assert second[1:] == ["hello", session.pid]


def test_the_target_answers_a_client(places):
    pid = places.there.spawn("answer_clients")
    session = connect(places, pid)
    say(session, "hello")
    wait_until(lambda: session.transport.frames == ["hello back"])


def test_a_join_is_the_first_and_a_leave_the_last_message(places, box):  # §3.3
    session = connect(places, places.there.spawn("report", box.pid))
    for number in range(3):
        say(session, str(number))
    session.on_eof()
    topics = [topic for topic, _, _ in box.wait_for("got", 5)]
    assert (topics[0], topics[-1], len(topics)) == ("ws.join", "ws.leave", 5)


def test_a_client_is_closed_from_there(places):  # §3
    session = connect(places, places.there.spawn("idle"))
    places.there.run("send", session.pid, "ws.close", {"code": 4001, "reason": "enough"})
    wait_until(lambda: session.transport.frames == [Control(8, 4001, b"enough")])


def test_a_connection_moves_to_a_target_there(places, box):  # §3
    session = connect(places, places.here.spawn("idle"))
    pid = places.there.spawn("report", box.pid)
    process.send(session.pid, "ws.control", {"target_pid": pid})
    session_topics = [topic for topic, _, _ in box.wait_for("got")]
    say(session, "hello")
    box.wait_for("got", 2)
    assert session_topics == ["ws.join"]


def test_a_connection_there_is_controlled_from_here(places, box):
    pid = places.here.spawn("report", box.pid)
    client_pid = places.there.ask("open_websocket", places.there.spawn("idle"))
    process.send(client_pid, "ws.control", {"target_pid": pid})
    box.wait_for("got")
    places.there.ask("say", client_pid, "hello")
    assert box.wait_for("got", 2)[1][1] == "hello"


def test_a_connection_closes_with_its_target(places):  # §3
    pid = places.there.spawn("echo")
    session = connect(places, pid)
    process.send(pid, "fail", "bad")
    wait_until(lambda: [frame.code for frame in session.transport.frames] == [1011])


def test_a_target_that_ends_as_its_node_stops_is_gone_for_a_restart(cluster):  # §7.2, §9
    pid = cluster.there.spawn("idle")
    session = connect(cluster, pid)
    cluster.there.node.note_draining(True)
    process.cancel(pid)
    wait_until(lambda: [frame.code for frame in session.transport.frames] == [1012])


def test_a_node_that_comes_up_late_knows_who_stops(cluster):  # §7.2, §9
    cluster.there.node.note_draining(True)
    late = cluster.add("late")
    pid = cluster.there.spawn("idle")
    session = open_on(late, pid)
    process.cancel(pid)
    wait_until(lambda: [frame.code for frame in session.transport.frames] == [1012])


def test_a_stream_gets_events_from_there(places):  # §5
    stream = fake_event_stream(places.here.node, places.there.spawn("idle"))
    places.there.run("send", stream.pid, "sse.message", {"data": "hello"})
    wait_until(lambda: b"hello" in stream.transport.written)


# -- backpressure ------------------------------------------------------------------------


def test_a_full_target_there_stops_its_clients_here(places):  # §7.7
    session = fill(places, places.there.spawn("full_until_told", "now"))
    assert not session.transport.is_reading


def test_they_go_on_when_it_has_drained(places):  # §7.7
    pid = places.there.spawn("full_until_told", "now")
    session = fill(places, pid)
    process.send(pid, "now")
    wait_until(lambda: session.transport.is_reading)


def test_they_go_on_when_it_has_ended(places):  # §7.7
    pid = places.there.spawn("full_until_told", "now")
    session = fill(places, pid)
    process.terminate(pid)
    wait_until(lambda: session.transport.is_reading)


def fill(places, pid):
    """Return a session that sends until it has to pause."""
    session = connect(places, pid)

    def is_paused():
        if not session.pause_if_full():
            say(session, "more")
        return not session.transport.is_reading

    wait_until(is_paused)
    return session


def test_many_who_hold_back_go_on_a_few_at_a_time(apart):  # §7.7
    pid = apart.there.spawn("full_until_told", "now")
    fill(apart, pid)
    sessions = [connect(apart, pid) for _ in range(100)]
    assert all(session.pause_if_full() for session in sessions)
    process.send(pid, "now")
    wait_until(lambda: any(session.transport.is_reading for session in sessions))
    assert sum(session.transport.is_reading for session in sessions) < 50
    wait_until(lambda: not any(not session.transport.is_reading for session in sessions))


def test_a_full_way_stops_the_clients_of_all_targets_there(cluster, monkeypatch):  # §7.3
    """Within one interpreter: the way is held up by the test."""
    monkeypatch.setattr(pressure, "HIGH_BYTES", 10_000)
    session = connect(cluster, cluster.there.spawn("idle"))
    cluster.there.backend.hang()
    say(session, "x" * 20_000)
    wait_until(session.pause_if_full)
    cluster.there.backend.resume()
    wait_until(lambda: session.transport.is_reading)


# -- what relays meet between nodes --------------------------------------------------------


def test_a_lost_node_closes_connections_with_1012(cluster):  # §7.2
    """Within one interpreter: over the others, test_far_losses.py loses nodes."""
    session = connect(cluster, cluster.there.spawn("idle"))
    cluster.kill(cluster.there)
    wait_until(lambda: [frame.code for frame in session.transport.frames] == [1012])


def test_a_message_that_is_too_large_for_a_node_is_counted(apart):
    session = connect(apart, apart.there.spawn("idle"))
    say(session, "x" * 1024 * 1024)
    gevent.sleep(0)
    assert apart.here.node.counts["cluster_dropped"] == 1


def test_a_broadcast_is_encoded_once_by_the_node_that_receives_it(cluster, monkeypatch):  # §7.5
    """Within one interpreter: the test counts what the other node encodes."""
    target = cluster.there.spawn("idle")
    sessions = [open_on(cluster.there, target) for _ in range(3)]
    for session in sessions[1:]:
        session.frames = sessions[0].frames
    encoded = []
    encode = WebSocketSession.encode
    monkeypatch.setattr(
        WebSocketSession, "encode", lambda *args: encoded.append(args) or encode(*args)
    )
    process.broadcast([session.pid for session in sessions], "topic", {"a": 1})
    wait_until(lambda: all(session.transport.frames for session in sessions))
    assert len(encoded) == 1
