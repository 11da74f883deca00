"""Real clients of a real server here, whose target lives elsewhere (§7.1, §7.7)."""

import gevent
import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.cluster.placed import Box

SECONDS = 10
FLOOD = 300


class Served:
    """A server of the node here, whose connections have the target that is set."""

    def __init__(self, places, relay_server):
        self.target = None
        app = Flask("placed")
        relay = GreenRelay(app, node=places.here.node)
        app.add_url_rule("/ws", "ws", lambda: relay.websocket(self.target))
        app.add_url_rule("/sse", "sse", lambda: relay.sse(self.target))
        self._server = relay_server(app, own_thread=False)

    def connect_ws(self, target):
        self.target = target
        return self._server.connect_ws("/ws")

    def connect_sse(self, target):
        self.target = target
        return self._server.connect_sse("/sse")


@pytest.fixture
def served(places, relay_server):
    return Served(places, relay_server)


def client_pid(box, topic="ws.join"):
    """Return the PID of the connection that has joined."""
    wait_until(lambda: topic in topics(box), SECONDS)
    return next(each[1]["client_pid"] for each in box.all("got") if each[0] == topic)


def topics(box):
    return [topic for topic, _, _ in box.all("got")]


def words(box):
    return [payload for topic, payload, _ in box.all("got") if topic == "ws.message"]


def test_a_websocket_client_is_answered_from_there(places, served):  # §3
    with served.connect_ws(places.there.spawn("answer_clients")) as ws:
        ws.send("hello")
        assert ws.receive(timeout=SECONDS) == "hello back"


def test_an_event_stream_gets_events_from_there(places, served, box):  # §5
    with served.connect_sse(places.there.spawn("report", box.pid)) as stream:
        pid = client_pid(box, "sse.join")
        places.there.run("send", pid, "sse.message", {"text": "hello"})
        assert '{"text":"hello"}' in stream.receive(timeout=SECONDS).data


def test_a_client_is_closed_from_there(places, served, box):  # §3
    with served.connect_ws(places.there.spawn("report", box.pid)) as ws:
        order = {"code": 4001, "reason": "enough"}
        places.there.run("send", client_pid(box), "ws.close", order)
        assert ws.wait_closed(timeout=SECONDS).code == 4001


def test_a_join_is_the_first_and_a_leave_the_last_message(places, served, box):  # §3.3
    with served.connect_ws(places.there.spawn("report", box.pid)) as ws:
        for number in range(20):
            ws.send(str(number))
    wait_until(lambda: "ws.leave" in topics(box), SECONDS)
    assert topics(box) == ["ws.join", *["ws.message"] * 20, "ws.leave"]


@pytest.fixture
def moved(places, served, box):
    """Have a client that goes on talking move from a target there to one here.

    Returns:
        What the two have got.
    """
    return move(places.there, places.here, places, served, box)


@pytest.fixture
def moved_there(places, served, box):
    """The same, from one here to one there."""
    return move(places.here, places.there, places, served, box)


def move(old, new, places, served, box):
    other = Box(places.here)
    with served.connect_ws(old.spawn("report", box.pid)) as ws:
        talking = gevent.spawn(talk, ws, 400)
        box.wait_for("got", 20)
        target = {"target_pid": new.spawn("report", other.pid)}
        old.run("send", client_pid(box), "ws.control", target)
        talking.join(SECONDS)
        wait_until(lambda: "ws.join" in topics(other), SECONDS)  # else it had nobody to leave
        wait_until(lambda: len(words(box)) + len(words(other)) >= 400, SECONDS)
    wait_until(lambda: "ws.leave" in topics(box) and "ws.leave" in topics(other), SECONDS)
    return box, other


def talk(ws, count):
    for number in range(count):
        ws.send(str(number))
        gevent.sleep(0)


@pytest.mark.parametrize("way", ["moved", "moved_there"])
def test_a_client_that_moves_loses_and_doubles_no_message(places, request, way):  # §3.6
    old, new = request.getfixturevalue(way)
    assert words(old) + words(new) == [str(number) for number in range(400)]


@pytest.mark.parametrize("way", ["moved", "moved_there"])
def test_both_targets_hear_of_a_move_in_order(places, request, way):  # §3.6
    for box in request.getfixturevalue(way):
        first, *between, last = topics(box)
        assert (first, last) == ("ws.join", "ws.leave")
        assert set(between) <= {"ws.message"}


# -- backpressure --------------------------------------------------------------------------


@pytest.fixture
def flooded(places, served, box):
    """Have three clients flood a process there that takes nothing; return it, and who sends."""
    pid = places.there.spawn("hold_then_count", box.pid, 3 * FLOOD)
    clients = [served.connect_ws(pid) for _ in range(3)]
    sending = [gevent.spawn(flood, ws) for ws in clients]
    wait_until(lambda: process.info(pid)["mailbox"] > 20, SECONDS)
    yield pid, sending
    gevent.killall(sending)
    for ws in clients:
        ws.abort()


def flood(ws):
    for number in range(FLOOD):
        ws.send(f"{number} {'x' * 30_000}")


def test_clients_of_a_paused_process_there_stop(flooded):  # §7.7
    pid, sending = flooded
    waiting = -1
    while waiting != (waiting := process.info(pid)["mailbox"]):
        gevent.sleep(0.1)
    assert waiting < 100  # the mark, and what was on its way
    assert not any(sender.ready() for sender in sending)


def test_they_lose_nothing_when_it_drains(flooded, box):  # §7.7
    pid, sending = flooded
    process.send(pid, "now")
    (numbers,) = box.wait_for("counted")
    assert numbers == [list(range(FLOOD))] * 3
    assert all(sender.ready() for sender in sending)
