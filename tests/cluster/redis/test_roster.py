"""Who is a member, as lists, events and bytes tell it (§7.2)."""

import pytest

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_roster import MAX_GONE, Roster

ME = Member("me", "m" * 16)
ONE = Member("one", "1" * 16)
AGAIN = Member("one", "2" * 16)
TWO = Member("two", "3" * 16)


@pytest.fixture
def told():
    return []


@pytest.fixture
def roster(told):
    return Roster(ME, lambda m: told.append(("up", m)), lambda m: told.append(("lost", m)), 10.0)


def test_a_list_brings_members_up_except_oneself(roster, told):
    roster.read_list("5", [ME, ONE], [], 0.0)
    assert told == [("up", ONE)]


def test_the_same_list_tells_nothing_new(roster, told):
    roster.read_list("5", [ONE], [], 0.0)
    roster.read_list("5", [ONE], [], 1.0)
    assert told == [("up", ONE)]


def test_an_event_in_order_is_enough(roster, told):
    roster.read_list("5", [], [], 0.0)
    assert roster.read_event(6, "+", ONE)
    assert (roster.version, told) == ("6", [("up", ONE)])


def test_an_event_after_a_missed_one_counts_and_asks_for_the_list(roster, told):
    roster.read_list("5", [], [], 0.0)
    assert not roster.read_event(7, "+", ONE)
    assert (roster.version, told) == ("", [("up", ONE)])


def test_an_event_from_before_the_list_is_old(roster, told):
    roster.read_list("5", [], [], 0.0)
    assert roster.read_event(4, "+", ONE)
    assert told == []


def test_who_is_lost_is_lost_once_and_stays_it(roster, told):
    roster.hear(ONE)
    roster.lose(ONE)
    roster.lose(ONE)
    roster.read_list("9", [ONE], [ONE], 0.0)
    assert not roster.hear(ONE)
    assert told == [("up", ONE), ("lost", ONE)]


def test_who_was_never_up_is_not_lost(roster, told):
    roster.read_list("5", [], [ONE], 0.0)
    assert told == []


def test_who_was_lost_before_we_came_does_not_come_up(roster):
    roster.read_list("5", [], [ONE], 0.0)
    assert not roster.hear(ONE)


def test_another_incarnation_takes_the_place_of_the_first(roster, told):
    roster.hear(ONE)
    roster.hear(AGAIN)
    assert told == [("up", ONE), ("lost", ONE), ("up", AGAIN)]


def test_who_is_missing_has_a_lease_to_come_back(roster, told):
    roster.hear(ONE)
    roster.read_list("1", [], [], 0.0)
    roster.lose_missing(9.0)
    roster.read_list("2", [ONE], [], 9.5)
    roster.lose_missing(30.0)
    assert told == [("up", ONE)]


def test_who_stays_missing_is_lost(roster, told):
    roster.hear(ONE)
    roster.read_list("1", [], [], 0.0)
    roster.read_list("1", [], [], 5.0)
    roster.lose_missing(10.0)
    assert told == [("up", ONE), ("lost", ONE)]


def test_for_another_incarnation_of_ours_the_others_are_members_again(roster, told):
    roster.hear(ONE)
    roster.lose_all()
    roster.become(Member("me", "n" * 16))
    assert roster.hear(ONE)
    assert told == [("up", ONE), ("lost", ONE), ("up", ONE)]


def test_the_lost_are_remembered_up_to_a_bound(roster):
    for number in range(MAX_GONE + 10):
        roster.lose(Member("web", f"{number:016}"))
    assert len(roster._gone) == MAX_GONE
