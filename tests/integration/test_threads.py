"""What a thread pool does to connections and processes of a running server (§2.9)."""

import gevent
import pytest
from flask import Flask

from greenrelay import GreenRelay, process
from greenrelay.testing import wait_until
from tests.sample_processes import collect

pytestmark = pytest.mark.usefixtures("no_socket_left")


class OneTargetApp:
    """A server whose connections have one target, and what that has been told."""

    def __init__(self, node, server):
        app, self.messages = Flask("one_target"), []
        relay = GreenRelay(app, node=node)
        target = node.spawn(collect, (self.messages,))
        app.add_url_rule("/ws", "ws", lambda: relay.websocket(target, heartbeat_interval="300ms"))
        self.server = server(app)

    def enter(self):
        """Connect; return the client, and the PID of its connection."""
        before = len(self.senders("ws.join"))
        client = self.server.connect_ws("/ws")
        wait_until(lambda: len(self.senders("ws.join")) > before)
        return client, self.senders("ws.join")[-1]

    def senders(self, topic):
        return [message.sender for message in self.messages if message.topic == topic]


@pytest.fixture
def one_target(node, any_server):
    return OneTargetApp(node, any_server)


def from_pool(node, call, *args):
    """Call a function in the pool that `doctor` recommends for blocking drivers."""

    def there():
        with process.on_node(node):
            return call(*args)

    return gevent.get_hub().threadpool.apply(there)


def test_what_a_pool_does_leaves_the_timers_of_the_others_alone(node, one_target):
    """§2.9: the one timer of all connections stays on the loop of them all."""
    guests = [one_target.enter() for _ in range(5)]
    pid, others = guests[0][1], {pid for _, pid in guests[1:]}
    from_pool(node, process.send, pid, "ws.control", {"heartbeat_interval": "50ms"})
    wait_until(lambda: one_target.senders("ws.heartbeat").count(pid) > 5)
    wait_until(lambda: all(one_target.senders("ws.heartbeat").count(other) > 2 for other in others))
    for client, _ in guests:
        client.close()


def test_close_from_a_pool_is_a_close(node, one_target):
    """§2.9, §3.5"""
    client, pid = one_target.enter()
    from_pool(node, process.send, pid, "ws.close", "bye")
    closed = client.wait_closed()
    assert (closed.code, closed.reason) == (1000, "bye")
    client.close()


def test_message_from_a_pool_that_does_not_fit_arrives(node, one_target):
    """§2.9: what waits for room is written by the loop of its connection."""
    client, pid = one_target.enter()
    text = "x" * 30_000_000
    from_pool(node, process.send, pid, "ws.send", {"type": "text", "data": text})
    assert client.receive() == text
    client.close()
