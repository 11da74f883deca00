"""A client finds its way to every kind of Redis that nodes do (§7.1, §7.8)."""

import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.cluster.clients import SECONDS, Nodes
from tests.cluster.redis.test_clusters import ThreeMasters
from tests.cluster.redis.test_sentinels import Watched
from tests.cluster.redis_servers import RedisServer


@pytest.fixture(params=["cluster", "sentinel", "tls"])
def address(request, tmp_path):
    """The URL of a Redis, with an option."""
    if request.param == "tls":
        cert, key = request.getfixturevalue("certificate")
        tls = {"tls_cert_file": cert, "tls_key_file": key, "tls_ca_cert_file": cert}
        server = RedisServer(tmp_path, **tls, tls_auth_clients="no")
        url = f"rediss://localhost:{server.port}?ssl_ca_certs={cert}"
    else:
        server = (ThreeMasters if request.param == "cluster" else Watched)(tmp_path)
        url = f"{server.url}?deployment=shop"
    yield url
    server.stop()


@pytest.fixture
def nodes(address, tmp_path):
    nodes = Nodes(address, str(tmp_path))
    yield nodes
    nodes.close()


def answer():
    for message in process.inbox():
        message.reply(message.payload)


def test_a_client_calls_a_process(nodes):
    """§7.8"""
    nodes.spawn(nodes.node("one"), answer, name="server")
    client = nodes.client()
    assert [nodes.there(client.call, "server", "ask", turn) for turn in range(20)] == [*range(20)]


def test_a_client_hears_of_nodes_that_come_and_go(nodes):
    """§7.2, §7.8"""
    client = nodes.client()
    node = nodes.node("one")
    nodes.spawn(node, answer, name="server")
    wait_until(lambda: nodes.there(client.lookup, "server"), SECONDS)
    nodes.backends["one"].stop()
    wait_until(lambda: nodes.there(client.lookup, "server") is None, SECONDS)


def test_nodes_hear_of_a_client_that_goes(nodes):
    """§7.8"""
    node = nodes.node("one")
    client = nodes.client()
    peers = node.table.elsewhere.peers
    wait_until(lambda: len(peers) == 1, SECONDS)
    nodes.there(client.close)
    wait_until(lambda: len(peers) == 0, SECONDS)
