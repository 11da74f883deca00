"""A connection that moves between targets, under load (§3.6)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

MESSAGES = 10_000
MOVES = 50


@pytest.fixture
def recorders():
    return [Recorder() for _ in range(5)]


@pytest.fixture
def pids(node, recorders):
    """The PIDs of five targets."""
    return [node.spawn(recorder) for recorder in recorders]


@pytest.fixture
def moved(node, relay_server, recorders, pids):
    """Send 10,000 numbered messages; every 200th moves the connection to the next of five."""
    every = MESSAGES // MOVES

    def move(message):
        if message.topic == "ws.message" and int(message.payload) % every == 0:
            target = pids[(int(message.payload) // every + 1) % 5]
            process.send(message.sender, "ws.control", {"target_pid": target})

    def seen():
        return sum(len(recorder.payloads()) for recorder in recorders)

    for recorder in recorders:
        recorder.answer = move
    server = relay_server(relay_app(node, pids[0], metadata={"user": 7}))
    with server.connect_ws("/ws") as ws:
        for number in range(MESSAGES):
            ws.send(str(number))
            if number % every == 0:  # or all of them would be read at once
                wait_until(lambda number=number: seen() > number - every)
        wait_until(lambda: seen() >= MESSAGES)
    wait_until(lambda: sum(each.topics.count("ws.leave") for each in recorders) > MOVES)
    return recorders


def test_moving_loses_no_message_and_doubles_none(moved):
    """§3.6"""
    seen = [int(text) for recorder in moved for text in recorder.payloads()]
    assert sorted(seen) == list(range(MESSAGES))
    for recorder in moved:
        numbers = [int(text) for text in recorder.payloads()]
        assert numbers == sorted(numbers)
        assert numbers


def test_every_stay_begins_with_a_join_and_ends_with_a_leave(moved):
    """§3.3, §3.6"""
    leaves = []
    for recorder in moved:
        edges = [topic for topic in recorder.topics if topic != "ws.message"]
        assert edges == ["ws.join", "ws.leave"] * (len(edges) // 2)
        assert (recorder.topics[0], recorder.topics[-1]) == ("ws.join", "ws.leave")
        leaves += recorder.payloads("ws.leave")
    reasons = [(leave["reason"], leave["code"]) for leave in leaves]
    assert reasons.count(("transferred", 1000)) == MOVES
    assert len(reasons) == MOVES + 1
    assert all(leave["metadata"] == {"user": 7} for leave in leaves)


def test_message_count_goes_on_over_a_move(node, relay_server, recorders, pids):
    """§3.3"""
    server = relay_server(relay_app(node, pids[0]))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        recorders[0].wait_for("ws.message")
        changes = {"target_pid": pids[1], "heartbeat_interval": "50ms"}
        process.send(recorders[0].client, "ws.control", changes)
        assert recorders[1].wait_for("ws.heartbeat")["message_count"] == 1
    assert "ws.heartbeat" not in recorders[0].topics


def test_moving_changes_topic_and_metadata_with_the_target(node, relay_server, recorders, pids):
    """§3.6: the old target's leave has the old metadata, the new one's join the new."""
    server = relay_server(relay_app(node, pids[0], metadata={"room": 1}))
    changes = {"target_pid": pids[1], "message_topic": "line", "metadata": {"room": 2}}
    with server.connect_ws("/ws") as ws:
        process.send(recorders[0].client, "ws.control", changes)
        ws.send("hello")
        assert recorders[1].wait_for("line") == "hello"
    assert recorders[0].payloads("ws.leave")[0]["metadata"] == {"room": 1}
    assert recorders[1].payloads("ws.join")[0]["metadata"] == {"room": 2}


def test_old_target_may_end_after_the_move(node, relay_server, recorders, pids):
    """§3.7: it is not monitored any more."""
    server = relay_server(relay_app(node, pids[0]))
    with server.connect_ws("/ws") as ws:
        process.send(recorders[0].client, "ws.control", {"target_pid": pids[1]})
        node.terminate(pids[0])
        ws.send("hello")
        assert recorders[1].wait_for("ws.message") == "hello"
        node.terminate(pids[1])
        assert ws.wait_closed().reason == "target process failed"


def test_moving_to_a_dead_target_changes_nothing(node, relay_server, recorders, pids, caplog):
    """§3.6: no field of the control, no leave, no join; and a line in the log."""
    server = relay_server(relay_app(node, pids[0]))
    node.terminate(pids[1])
    wait_until(lambda: not node.is_alive(pids[1]))
    with server.connect_ws("/ws") as ws:
        changes = {"target_pid": pids[1], "message_topic": "line"}
        process.send(recorders[0].client, "ws.control", changes)
        ws.send("hello")
        assert recorders[0].wait_for("ws.message") == "hello"
        assert recorders[0].topics == ["ws.join", "ws.message"]
    assert f"the new target {pids[1]} is not alive" in caplog.text


def test_moving_to_the_same_target_is_no_move(node, relay_server, recorders, pids):
    """§3.6"""
    server = relay_server(relay_app(node, pids[0]))
    with server.connect_ws("/ws") as ws:
        process.send(recorders[0].client, "ws.control", {"target_pid": pids[0]})
        ws.send("hello")
        recorders[0].wait_for("ws.message")
    assert recorders[0].topics[:2] == ["ws.join", "ws.message"]


def test_moving_away_from_a_full_target_goes_on_reading(node, relay_server, recorders, pids):
    """§3.6, §8: what held the client back was the old target."""
    node.max_mailbox = 5
    stuck = node.spawn(gevent.event.Event().wait)
    server = relay_server(relay_app(node, stuck))
    with server.connect_ws("/ws") as ws:
        [connection] = [entity for entity in node if entity.pid.host == "ws"]
        for number in range(50):
            ws.send(str(number))
            gevent.sleep(0)
        wait_until(lambda: not connection.transport.is_reading)
        process.send(connection.pid, "ws.control", {"target_pid": pids[0]})
        ws.send("behind them")
        wait_until(lambda: recorders[0].payloads()[-1:] == ["behind them"])
    node.terminate(stuck)


# -- limits that change on the way ---------------------------------------------


def test_rate_may_be_limited_later(node, relay_server, target):
    """§3.6, §8"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.control", {"max_rate": 2})
        for _ in range(3):
            ws.send("hello")
        assert ws.wait_closed().code == 1008
    assert len(target.payloads()) == 2


def test_idle_timeout_may_come_later(node, relay_server, target):
    """§3.6, §8"""
    server = relay_server(relay_app(node, target))
    with server.connect_ws("/ws") as ws:
        process.send(target.client, "ws.control", {"idle_timeout": "60ms"})
        assert ws.wait_closed().reason == "idle timeout"


def test_ping_interval_may_come_later(node, relay_server, target):
    """§3.6, §8"""
    server = relay_server(relay_app(node, target, ping_interval="0s"))
    with raw.RawClient(server.url) as client:
        client.upgrade()
        process.send(target.client, "ws.control", {"ping_interval": "60ms"})
        assert client.read_frame() == (raw.PING, b"")
        assert client.read_close() == (1011, "ping timeout")


def test_backlog_and_policy_may_change_later(node, relay_server, target):
    """§3.6, §8"""
    server = relay_server(relay_app(node, target, max_backlog=0))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        connection = node.find(target.client)
        process.send(target.client, "ws.control", {"max_backlog": 1, "slow_consumer": "drop_new"})
        wait_until(lambda: send_frame(target.client, "x" * 50_000) and connection.transport.unsent)
        waiting = connection.transport.unsent
        assert send_frame(target.client, "dropped")
        assert connection.transport.unsent <= waiting
        process.send(target.client, "ws.control", {"slow_consumer": "close"})
        assert send_frame(target.client, "the end")
        assert client.read_close() == (1013, "slow consumer")
