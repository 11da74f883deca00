"""The tables of monitors and links (§2.3, §2.4)."""

import pytest

from greenrelay.message import MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.topology import Topology

A, B, C = (PID(f"proc@test/{letter * 16}") for letter in "abc")


@pytest.fixture
def topology():
    return Topology()


def monitor(topology, pid, *numbers):
    """Set monitors; the watcher is the number itself."""
    for number in numbers:
        topology.monitor(MonitorRef(pid, number), number)


# -- monitors ----------------------------------------------------------------------------


def test_monitors_stack(topology):
    """§2.3"""
    monitor(topology, A, 1, 2)
    assert topology.watchers(A) == [1, 2]


def test_watchers_are_told_in_the_order_of_their_monitors(topology):
    monitor(topology, A, *range(20))
    watchers, _ = topology.remove(A)
    assert list(watchers.values()) == list(range(20))


def test_unmonitor_takes_one_of_them(topology):
    """§2.3"""
    monitor(topology, A, 1, 2)
    assert topology.unmonitor(MonitorRef(A, 1))
    assert topology.watchers(A) == [2]


@pytest.mark.parametrize("ref", [MonitorRef(A, 2), MonitorRef(B, 1)])
def test_unmonitor_of_an_unknown_ref_says_so(topology, ref):
    monitor(topology, A, 1)
    assert not topology.unmonitor(ref)
    assert topology.watchers(A) == [1]


# -- links -------------------------------------------------------------------------------


def test_link_is_symmetric(topology):
    """§2.4"""
    topology.link(A, B)
    assert (topology.linked(A), topology.linked(B)) == ((B,), (A,))


def test_link_is_idempotent(topology):
    """§2.4"""
    topology.link(A, B)
    topology.link(B, A)
    topology.unlink(A, B)
    assert topology.is_empty()


@pytest.mark.parametrize(("one", "other"), [(A, B), (B, A)])
def test_unlink_is_symmetric(topology, one, other):
    """§2.4"""
    topology.link(A, B)
    topology.unlink(one, other)
    assert (topology.linked(A), topology.linked(B)) == ((), ())


def test_unlink_of_strangers_does_nothing(topology):
    topology.link(A, B)
    topology.unlink(A, C)
    assert topology.linked(A) == (B,)


def test_linked_are_told_in_the_order_of_their_links(topology):
    """Not in the order of a hash, which differs from run to run."""
    others = [PID(f"proc@test/{number:016}") for number in range(20)]
    for other in others:
        topology.link(A, other)
    assert topology.remove(A)[1] == tuple(others)


# -- the end -----------------------------------------------------------------------------


def test_removed_process_is_in_no_table(topology):
    monitor(topology, A, 1)
    topology.link(A, B)
    topology.link(C, A)
    topology.remove(A)
    assert topology.is_empty()


def test_others_keep_their_links_and_monitors(topology):
    monitor(topology, B, 1)
    topology.link(A, B)
    topology.link(B, C)
    topology.remove(A)
    assert (topology.linked(B), topology.watchers(B)) == ((C,), [1])


def test_removing_a_stranger_gives_nothing(topology):
    assert topology.remove(A) == ({}, ())
