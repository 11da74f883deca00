"""Clients that read slowly, and targets that are full (§8)."""

import gevent
import gevent.event
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration import raw
from tests.integration.apps import Recorder, relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

# -- clients that read slowly --------------------------------------------------


def test_client_that_never_reads_is_closed_with_1013(node, relay_server, target, witness):
    """§8: and what waits for it stays within the backlog."""
    server = relay_server(relay_app(node, target, max_backlog=200_000))
    with raw.RawClient(server.url, receive_buffer=4096) as client:
        client.upgrade()
        witness.watch(target.client)
        connection = node.find(target.client)
        gevent.sleep(0)
        while send_frame(target.client, "x" * 50_000):
            assert connection.transport.unsent <= 200_000
        assert client.read_close() == (1013, "slow consumer")
    assert witness.wait_for_reason() == "slow_consumer"


def test_slow_client_that_catches_up_stays(node, relay_server, target):
    """§8"""
    server = relay_server(relay_app(node, target, max_backlog=400_000))
    with server.connect_ws("/ws") as ws:
        for _ in range(20):
            for number in range(3):
                assert send_frame(target.client, f"{number}" * 100_000)
            assert [ws.receive()[0] for _ in range(3)] == ["0", "1", "2"]


# -- a target that is full ------------------------------------------------------


def test_full_mailbox_pauses_reading_and_loses_nothing(node, relay_server):
    """§8"""
    go = gevent.event.Event()
    node.max_mailbox = 10
    target = Recorder(lambda message: go.wait())
    pid = node.spawn(target)
    server = relay_server(relay_app(node, pid))
    sent = [f"{number} {'x' * 1000}" for number in range(3000)]
    with server.connect_ws("/ws") as ws:
        sender = gevent.spawn(lambda: [ws.send(text) for text in sent])
        wait_until(lambda: node.find(pid).is_full)
        sender.join(timeout=0.2)
        assert len(node.find(pid).mailbox) < 100  # the mark, and one read of 64 KiB
        go.set()
        wait_until(lambda: len(target.payloads()) == len(sent))
    assert target.payloads() == sent


def test_connection_of_a_busy_target_can_be_closed(node, relay_server, target):
    """§3.5, §8: the client's close frame is read however full the mailbox is."""
    node.max_mailbox = 1
    go = gevent.event.Event()
    pid = node.spawn(lambda: go.wait() and target())
    server = relay_server(relay_app(node, pid))
    with server.connect_ws("/ws") as ws:
        ws.send("one")
        [client] = [entity.pid for entity in node if entity.pid != pid]
        process.send(client, "ws.close", "bye")
        assert ws.wait_closed().reason == "bye"
        wait_until(lambda: not node.is_alive(client))
    go.set()
    assert target.wait_for("ws.leave")["code"] == 1000


MARK = 20


class Slow:
    """A target that reads when it is told to."""

    def __init__(self, one_target):
        one_target.node.max_mailbox = MARK
        self.may_read = gevent.event.Event()
        self.taken = []
        one_target.target = one_target.node.spawn(self.run)
        self.mailbox = one_target.node.find(one_target.target).mailbox

    def run(self):
        self.may_read.wait()
        for message in process.inbox():
            self.taken.append(message)
            gevent.sleep(0)


def is_reading(one_target, pid):
    return one_target.node.find(pid).transport.is_reading


def connections(one_target):
    return [each.pid for each in one_target.node if each.pid.host == "ws"]


def test_full_target_pauses_its_connections_and_drained_resumes_them(one_target):
    """§8"""
    slow = Slow(one_target)
    clients = [one_target.server.connect_ws("/ws") for _ in range(3)]
    wait_until(lambda: len(connections(one_target)) == 3)
    for client in clients:
        for number in range(MARK):
            client.send(str(number))
    wait_until(lambda: not any(is_reading(one_target, pid) for pid in connections(one_target)))
    slow.may_read.set()
    wait_until(lambda: len(slow.taken) == 3 + 3 * MARK)
    assert all(is_reading(one_target, pid) for pid in connections(one_target))
    for client in clients:
        client.close()


def test_paused_connections_lose_nothing_and_keep_their_order(one_target):
    """§8, §2.2"""
    slow = Slow(one_target)
    with one_target.server.connect_ws("/ws") as client:
        for number in range(5 * MARK):
            client.send(str(number))
        wait_until(lambda: slow.mailbox.is_full)
        slow.may_read.set()
        wait_until(lambda: len(slow.taken) == 5 * MARK + 1)
    assert [each.payload for each in slow.taken[1 : 5 * MARK + 1]] == [
        str(number) for number in range(5 * MARK)
    ]


def test_processes_send_to_a_full_target_all_the_same(one_target):
    """§8: sends between processes never block."""
    slow = Slow(one_target)
    assert all(process.send(one_target.target, "more") for _ in range(10 * MARK))
    assert slow.mailbox.is_full
    slow.may_read.set()
    wait_until(lambda: len(slow.taken) == 10 * MARK)


def test_paused_connection_still_writes(one_target):
    """§8: only reading is paused."""
    slow = Slow(one_target)
    with one_target.server.connect_ws("/ws") as client:
        (pid,) = wait_until(lambda: connections(one_target))
        for _ in range(2 * MARK):
            client.send("x")
        wait_until(lambda: not is_reading(one_target, pid))
        send_frame(pid, "still here")
        assert client.receive() == "still here"
        slow.may_read.set()


def test_target_that_ends_while_it_is_full_lets_its_connections_go(one_target):
    """§8, §3.7"""
    Slow(one_target)
    with one_target.server.connect_ws("/ws") as client:
        (pid,) = wait_until(lambda: connections(one_target))
        for _ in range(2 * MARK):
            client.send("x")
        wait_until(lambda: not is_reading(one_target, pid))
        process.terminate(one_target.target)
        assert client.wait_closed().code == 1011


def test_target_that_waits_for_one_topic_is_reached_though_it_is_full(one_target):
    """§8: by processes; its clients wait until it has taken what they sent before."""
    heard = []

    def picky():
        heard.append(process.listen("go").receive())
        heard.extend(iter(process.inbox().receive, None))

    one_target.node.max_mailbox = MARK
    one_target.target = one_target.node.spawn(picky)
    with one_target.server.connect_ws("/ws") as client:
        for _ in range(5 * MARK):
            client.send("x")
        (pid,) = connections(one_target)
        wait_until(lambda: not is_reading(one_target, pid))
        process.send(one_target.target, "go")
    wait_until(lambda: heard[-1:] and heard[-1].topic == "ws.leave")
    assert len(heard) == 1 + 1 + 5 * MARK + 1
    process.terminate(one_target.target)
