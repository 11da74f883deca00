"""Process groups: members in order, gone when they end (§2)."""

import pytest

from greenrelay.pid import PID
from greenrelay.processes.groups import Groups

A, B, C = (PID(f"proc@test/{letter * 16}") for letter in "abc")


@pytest.fixture
def groups():
    groups = Groups()
    for pid in (B, A):
        groups.join("room", pid)
    return groups


def test_members_stand_in_the_order_in_which_they_joined(groups):
    assert groups.members("room") == [B, A]


def test_joining_twice_is_joining_once(groups):
    groups.join("room", B)
    assert groups.members("room") == [B, A]
    assert groups.leave("room", B)
    assert groups.members("room") == [A]


def test_process_may_be_in_several_groups(groups):
    groups.join("hall", A)
    assert groups.groups(A) == {"room", "hall"}
    assert groups.groups(B) == {"room"}


@pytest.mark.parametrize(("group", "pid"), [("room", C), ("hall", A), ("nowhere", C)])
def test_leaving_a_group_one_is_not_in_says_so(groups, group, pid):
    groups.join("hall", B)
    assert not groups.leave(group, pid)
    assert groups.members("room") == [B, A]


def test_ended_process_is_in_no_group(groups):
    groups.join("hall", A)
    groups.remove(A)
    groups.remove(A)
    assert groups.members("room") == [B]
    assert groups.groups(A) == frozenset()


def test_group_without_members_does_not_exist(groups):
    for pid in (A, B):
        groups.leave("room", pid)
    assert (len(groups), groups.members("room")) == (0, [])


def test_list_of_members_is_a_copy(groups):
    """Whoever is told may leave meanwhile."""
    members = groups.members("room")
    groups.remove(A)
    assert members == [B, A]
