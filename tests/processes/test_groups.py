"""Process groups: members in order, with metadata, gone when they end (§2, §2.13)."""

from types import MappingProxyType

import pytest

from greenrelay.pid import PID
from greenrelay.processes.groups import Change, Groups, copied

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


# -- metadata ----------------------------------------------------------------------------


def test_details_are_the_members_with_their_metadata(groups):
    """§2.13"""
    groups.join("room", C, {"name": "Ada"})
    assert list(groups.details("room").items()) == [(B, {}), (A, {}), (C, {"name": "Ada"})]
    assert groups.details("nowhere") == {}


def test_joining_again_changes_the_metadata_and_not_the_place(groups):
    """§2.13"""
    groups.join("room", B, {"away": True})
    assert list(groups.details("room").items()) == [(B, {"away": True}), (A, {})]


@pytest.mark.parametrize(
    "value", [{"a": {"b": [1, {"c": 2}]}}, [[1], ({"a": 1},)], {1, 2}, "text", None, 3.5]
)
def test_copy_is_equal_and_shares_nothing_that_can_be_changed(value):
    assert copied(value) == value
    assert copied(value) is not value or isinstance(value, (str, float, type(None)))


def test_copy_goes_all_the_way_down():
    value = {"a": [{"b": {1}}], "c": ([],), "d": MappingProxyType({"e": 1})}
    copy = copied(value)
    value["a"][0]["b"].add(2)
    value["c"][0].append(1)
    assert copy == {"a": [{"b": {1}}], "c": ([],), "d": {"e": 1}}


# -- hooks -------------------------------------------------------------------------------


@pytest.fixture
def changes(groups):
    changes = []
    groups.add_hook(changes.append)
    return changes


def test_hook_is_told_of_joins_and_leaves(groups, changes):
    """§2.13"""
    groups.join("hall", C, {"name": "Ada"})
    groups.leave("room", A)
    groups.remove(C)
    assert changes == [
        Change("join", "hall", C, {"name": "Ada"}),
        Change("leave", "room", A, {}),
        Change("leave", "hall", C, {"name": "Ada"}),
    ]


def test_hook_is_told_of_new_metadata_as_of_a_join(groups, changes):
    """§2.13"""
    groups.join("room", A, {"away": True})
    assert changes == [Change("join", "room", A, {"away": True})]


def test_hook_is_not_told_of_what_changes_nothing(groups, changes):
    """§2.13"""
    groups.join("room", A)
    groups.join("room", A, {})
    groups.leave("hall", A)
    groups.remove(C)
    assert changes == []


def test_hook_sees_the_group_as_it_is_after_the_change(groups):
    seen = []
    groups.add_hook(lambda change: seen.append(groups.members(change.group)))
    groups.join("room", C)
    groups.leave("room", B)
    assert seen == [[B, A, C], [A, C]]


def test_hook_that_is_removed_is_told_no_more(groups, changes):
    groups.remove_hook(changes.append)
    groups.join("room", C)
    assert changes == []


def test_groups_are_listed_by_their_names(groups):
    groups.join("hall", C)
    assert list(groups) == ["room", "hall"]
