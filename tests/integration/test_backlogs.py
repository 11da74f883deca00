"""What waits for clients that do not read, on a real server (§8)."""

import tracemalloc

import gevent
import pytest

from tests.integration import raw
from tests.integration.apps import relay_app, send_frame

pytestmark = pytest.mark.usefixtures("no_socket_left")

PINGS = 2000


@pytest.fixture
def connect(node, relay_server, target):
    """Return an open client of the target that reads nothing, and its transport."""
    clients = []

    def connect(**fields):
        server = relay_server(relay_app(node, target, **fields))
        clients.append(raw.RawClient(server.url, receive_buffer=4096))
        clients[-1].upgrade()
        return clients[-1], node.find(target.client).transport

    yield connect
    for client in clients:
        client.close()


def test_unread_pongs_cost_little_more_than_they_hold(connect, target):
    """§8"""
    client, transport = connect(max_backlog=0)
    send_frame(target.client, "x" * 8_000_000)  # the kernel has enough of it
    before = transport.unsent
    assert before
    tracemalloc.start()
    try:
        while transport.unsent < before + (1 << 18):
            client.send(raw.frame(raw.PING, b"x") * PINGS)
            gevent.sleep(0)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * (transport.unsent - before)
    finally:
        tracemalloc.stop()


def test_pongs_arrive_among_messages_of_which_the_oldest_are_dropped(connect, target):
    """§8: whole ones."""
    client, transport = connect(max_backlog=50_000, slow_consumer="drop_old")
    while not transport.unsent:
        send_frame(target.client, "x" * 1000)
    for number in range(100):
        client.send(raw.frame(raw.PING, b"%d" % number))
        for _ in range(10):
            send_frame(target.client, f"{number:02}" * 100)
            gevent.sleep(0)
    client.send(raw.text("the last"))
    target.wait_for("ws.message")
    send_frame(target.client, "end")
    frames = list(iter(client.read_frame, (raw.TEXT, b"end")))
    assert [int(data) for opcode, data in frames if opcode == raw.PONG] == list(range(100))
    texts = [data for opcode, data in frames if opcode == raw.TEXT and len(data) == 200]
    assert all(len(set(zip(data[::2], data[1::2], strict=True))) == 1 for data in texts)
    assert len(texts) < 1000
    assert texts == sorted(texts)
