"""Nodes that do not understand each other: a line a second at most, and no storm (§7.4)."""

import gevent
import pytest

from greenrelay.cluster import envelope
from greenrelay.cluster.cluster import Cluster
from greenrelay.cluster.memory import MemoryBackend
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.cluster.places import Place

MESSAGES = 50


@pytest.fixture
def join(request):
    """Return what makes a node, joined under a secret."""
    places = []

    def join(name, secret=None):
        node = Node(name)
        cluster = Cluster(node, MemoryBackend(request.node.name), secret=secret)
        cluster.start()
        places.append(Place(node, cluster))
        return places[-1]

    yield join
    for place in places:
        place.end()
        place.cluster.stop()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nodes that do not understand each other wait for news in vain."""
    monkeypatch.setattr("greenrelay.cluster.cluster.FIRST_NEWS_SECONDS", 0.01)


def talk(one, other):
    """Have one send the other messages, each in an envelope of its own."""
    pid = other.spawn("idle")
    for _ in range(MESSAGES):
        one.node.send(pid, "topic")
        gevent.sleep(0)
    wait_until(lambda: not any(peer.pending() for peer in one.cluster.peers))


def refusals(caplog):
    return [line for line in caplog.messages if line.startswith("refused from node")]


def test_a_node_of_a_newer_version_is_told_of_in_a_line(join, caplog):
    one, two = join("one"), join("two")
    (peer,) = two.cluster.peers
    peer._sealer._prefix = envelope._at_version(peer._sealer._prefix, envelope.VERSION + 1)
    talk(two, one)
    assert one.node.counts["cluster_refused"] > MESSAGES / 2
    (line,) = refusals(caplog)
    assert "refused from node 'two': newer_version: version 2; this node knows 1" in line


def test_a_node_with_another_secret_is_told_of_in_a_line_each(join, caplog):
    one, two = join("one", "one secret"), join("two", "another")
    talk(two, one)
    talk(one, two)
    assert min(place.node.counts["cluster_refused"] for place in (one, two)) > MESSAGES / 2
    assert sorted(line[:24] for line in refusals(caplog)) == [
        "refused from node 'one':",
        "refused from node 'two':",
    ]
    assert all("its signature is not that of this node's secret" in x for x in refusals(caplog))


def test_who_is_not_understood_is_sent_nothing_for_it(join):
    one, two = join("one", "one secret"), join("two", "another")
    wait_until(lambda: one.node.counts["cluster_refused"])
    before = one.node.counts["cluster_sent"]
    talk(two, one)
    assert one.node.counts["cluster_sent"] == before
