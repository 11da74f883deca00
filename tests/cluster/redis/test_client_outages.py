"""A client lives through an absence of Redis, and says so meanwhile (§7.3, §7.8)."""

import pytest

from greenrelay import process
from greenrelay.cluster.client import connect
from greenrelay.errors import ClusterError, GreenRelayError
from greenrelay.testing import wait_until
from tests.cluster.clients import SECONDS, Nodes
from tests.cluster.redis_servers import RedisServer


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def nodes(server, tmp_path):
    nodes = Nodes(f"redis://{server.address}?", str(tmp_path))
    yield nodes
    nodes.close()


def answer():
    for message in process.inbox():
        message.reply(message.payload)


def has_answer(nodes, client):
    try:
        return nodes.there(client.call, "server", "ask", 1, timeout=0.5) == 1
    except GreenRelayError:
        return False


def test_an_absent_redis_is_told(nodes, server):
    """§7.3"""
    nodes.spawn(nodes.node("one"), answer, name="server")
    client = nodes.client(timeout=0.2)
    server.stop()
    with pytest.raises(ClusterError, match="the cluster is away: Redis at"):
        nodes.there(client.send, "server", "hello")
    server.start()


def test_a_client_comes_back_with_redis(nodes, server):
    """§7.3"""
    nodes.spawn(nodes.node("one"), answer, name="server")
    client = nodes.client(timeout=0.2)
    server.stop()
    server.start()
    wait_until(lambda: has_answer(nodes, client), 2 * SECONDS)


@pytest.mark.parametrize("password", ["", ":hunter2@"], ids=["none", "wrong"])
def test_a_refused_login_is_one_line_without_the_password(tmp_path, nodes, password):
    """§7.1"""
    locked = RedisServer(tmp_path / "locked", requirepass="right")
    try:
        with pytest.raises(
            ClusterError, match=r"^can't join the cluster: Redis at redis://"
        ) as told:
            nodes.there(connect, f"redis://{password}{locked.address}")
    finally:
        locked.stop()
    assert "hunter2" not in str(told.value)


def test_an_unreachable_redis_is_one_line(nodes, server):
    """§7.1"""
    server.stop()
    with pytest.raises(ClusterError, match=r"^can't join the cluster: Redis at redis://127"):
        nodes.there(connect, f"redis://user:pw@{server.address}")
