"""A supervisor's children in their order (§2.8, §2.12)."""

import pytest

from greenrelay.pid import PID
from greenrelay.processes.children import Child
from greenrelay.processes.roster import STRATEGIES, Roster

PIDS = [PID.make("proc", "test", bytes([number]) * 12) for number in range(6)]


def work():
    """What a child runs."""


def make(strategy="one_for_one", waiting=(), added=()):
    """A roster of three, some of which wait for their ready() or were added later."""
    roster = Roster(strategy)
    for number in range(3):
        child = Child(work, name=f"child{number}", waits_ready=number in waiting)
        roster.add(child, object() if number in added else None)
    return roster


def begin(roster, *numbers):
    """Note that these run."""
    for running in roster:
        if running.number in numbers:
            roster.begin(running, PIDS[running.number], is_ours=True)


def startable(roster, now=100.0):
    return [running.number for running in roster.startable(now)]


@pytest.mark.parametrize(
    ("strategy", "numbers"),
    [("one_for_one", [1]), ("one_for_all", [0, 1, 2]), ("rest_for_one", [1, 2])],
)
def test_strategy_says_who_is_affected(strategy, numbers):
    """§2.8"""
    roster = make(strategy)
    assert [each.number for each in roster.affected(roster.find("child1"))] == numbers


def test_all_are_due_at_first_in_order():
    assert startable(make()) == [0, 1, 2]


def test_one_that_waits_for_ready_holds_up_those_after_it():
    """§2.12: until it is ready, not until it runs."""
    roster = make(waiting={1})
    assert startable(roster) == [0, 1]
    begin(roster, 0, 1)
    assert startable(roster) == []
    roster.note_ready(roster.find("child1"))
    assert startable(roster) == [2]


def test_one_that_waits_to_be_started_anew_holds_up_those_after_it():
    """§2.12"""
    roster = make(waiting={0})
    roster.plan(roster.find("child0"), 200.0)
    assert (startable(roster), roster.next_time()) == ([], 200.0)


def test_one_that_is_done_holds_up_nobody():
    """§2.12"""
    roster = make(waiting={0})
    begin(roster, 0)
    roster.end(roster.find("child0"))
    assert startable(roster) == [1, 2]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_that_was_added_holds_up_only_those_that_depend_on_it(strategy):
    """§2.12"""
    roster = make(strategy, waiting={1}, added={1, 2})
    begin(roster, 0, 1)
    assert startable(roster) == ([2] if strategy == "one_for_one" else [])


def test_next_time_is_that_of_the_first_who_may_be_started():
    roster = make()
    begin(roster, 0)
    for name, due in (("child1", 300.0), ("child2", 200.0)):
        roster.plan(roster.find(name), due)
    assert roster.next_time() == 200.0


def test_there_is_no_next_time_when_all_run():
    roster = make()
    begin(roster, 0, 1, 2)
    assert roster.next_time() is None
    assert roster.is_settled


def test_one_that_is_not_ready_in_time_is_overdue():
    """§2.12"""
    roster = make(waiting={1})
    begin(roster, 0, 1)
    late = roster.find("child1")
    assert roster.next_time() == late.ready_by
    assert roster.overdue(late.ready_by - 0.1) == []
    assert roster.overdue(late.ready_by) == [late]


def test_one_is_found_by_what_it_runs_as_and_what_it_is_known_as():
    """§2.12"""
    roster = make(added={0})
    begin(roster, 0)
    running = roster.find(PIDS[0])
    running.known_as = PIDS[0]
    roster.end(running)
    assert roster.running_as(PIDS[0]) is None
    roster.begin(running, PIDS[5], is_ours=True)
    assert roster.find(PIDS[0]) is roster.find(PIDS[5]) is roster.running_as(PIDS[5]) is running


def test_nothing_is_kept_of_one_that_is_taken_out():
    """§2.12"""
    roster = make(waiting={0}, added={0})
    begin(roster, 0)
    running = roster.find("child0")
    running.known_as = running.pid
    roster.end(running)
    roster.remove(running)
    assert running not in list(roster)
    assert [roster.find(dest) for dest in ("child0", PIDS[0])] == [None, None]
    assert (roster._starting, roster._pids) == ({}, {})
