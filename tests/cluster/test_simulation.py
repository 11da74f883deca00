"""What `scripts/simulate` counts, with fewer nodes: nothing grows faster than it should."""

import pytest
from benchmarks.costs import costs
from benchmarks.simulation import Crowd

NODES = 20
OTHERS = NODES - 1


@pytest.fixture
def crowd():
    crowd = Crowd(NODES, names=2, members=3)
    crowd.populate()
    yield crowd
    crowd.close()


def values(findings):
    """Return the numbers by what they are of."""
    return {finding.what: finding.value for finding in findings}


def test_a_join_takes_a_few_envelopes_per_node(crowd):
    found = values(crowd.join())
    assert found["a join: envelopes for each other node"] <= 4


def test_a_name_is_told_once_to_each_node(crowd):  # §7.6
    assert values(crowd.claim())["a name: envelopes"] == OTHERS


def test_a_broadcast_crosses_once_per_node(crowd):  # §7.5
    found = values(crowd.broadcast())
    assert found["a group's broadcast: members"] == 3 * NODES
    assert found["a group's broadcast: envelopes"] == OTHERS


@pytest.mark.parametrize("watching", [1, OTHERS])
def test_the_loss_of_a_node_pauses_nobody(crowd, watching):  # §7.2
    *_, one, _ = crowd.lose(10_000, watching)
    assert one.what.endswith("pause of one node")
    assert 0 < one.value < 50


def test_what_one_of_each_takes_is_known():
    assert all(0 < finding.value < 2_000 for finding in costs(100))
