"""The timer wheel: one timer for all connections."""

import tracemalloc

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrelay.relay.wheel import RESOLUTION_SECONDS, Entry, TimerWheel
from greenrelay.testing import FakeClock, wait_until


class Note(Entry):
    """An entry that notes when it is told."""

    def __init__(self, act=None):
        super().__init__()
        self.told = []
        self.act = act

    def on_timer(self, now):
        self.told.append(now)
        if self.act is not None:
            self.act()


@pytest.fixture
def wheel(clock):
    wheel = TimerWheel(clock)
    yield wheel
    wheel.advance(float("1e9"))
    assert len(wheel) == 0


def turn(wheel, clock, seconds):
    """Let time pass, and the wheel notice it."""
    clock.advance(seconds)
    wheel.advance(clock.now)


def test_entry_is_told_once_when_its_time_has_come(wheel, clock):
    entry = Note()
    wheel.schedule(entry, clock.now + 10)
    turn(wheel, clock, 9.9)
    assert entry.told == []
    turn(wheel, clock, 0.1 + 2 * RESOLUTION_SECONDS)
    turn(wheel, clock, 100)
    assert entry.told == [pytest.approx(clock.now - 100)]


def test_entry_that_is_never_due_is_out_of_the_wheel(wheel, clock):
    entry = Note()
    wheel.schedule(entry, clock.now + 10)
    wheel.schedule(entry, float("inf"))
    assert len(wheel) == 0
    turn(wheel, clock, 100)
    assert entry.told == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 3600), min_size=1), st.lists(st.floats(0.001, 600), max_size=30))
def test_no_entry_is_told_early_or_twice_or_much_too_late(times, steps):
    clock = FakeClock()
    wheel = TimerWheel(clock)
    start = clock.now
    entries = [(start + seconds, Note()) for seconds in times]
    for at, entry in entries:
        wheel.schedule(entry, at)
    for step in [*steps, 3601]:
        turn(wheel, clock, step)
        for at, entry in entries:
            assert bool(entry.told) or clock.now < at + 2 * RESOLUTION_SECONDS
    assert all(len(entry.told) == 1 and entry.told[0] >= at for at, entry in entries)


def test_entry_sits_in_one_slot(wheel, clock):
    entry = Note()
    for seconds in (30, 10, 20):
        wheel.schedule(entry, clock.now + seconds)
    assert len(wheel) == 1
    turn(wheel, clock, 15)
    assert entry.told == []
    turn(wheel, clock, 6)
    assert len(entry.told) == 1


def test_cancelled_entry_is_not_told(wheel, clock):
    entry = Note()
    wheel.schedule(entry, clock.now + 1)
    wheel.cancel(entry)
    wheel.cancel(entry)
    assert len(wheel) == 0
    turn(wheel, clock, 2)
    assert entry.told == []


def test_cancelled_entries_leave_nothing_behind(wheel, clock):
    """Hours of connections that come and go, each with a time-out in the distance."""
    lasting = Note()
    wheel.schedule(lasting, clock.now + 100_000)
    tracemalloc.start()
    for number in range(20_000):
        passing = Note()
        wheel.schedule(passing, clock.now + 3600 + number)
        wheel.cancel(passing)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 50_000
    turn(wheel, clock, 100_001)
    assert len(lasting.told) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40) | st.none()), max_size=300))
def test_moving_and_cancelling_in_any_order_tells_each_at_its_last_time(moves):
    clock = FakeClock()
    wheel = clock.wheel
    entries, due = [Note() for _ in range(10)], {}
    for index, seconds in moves:
        if seconds is None:
            wheel.cancel(entries[index])
            due.pop(index, None)
        else:
            due[index] = clock.now + seconds
            wheel.schedule(entries[index], due[index])
    assert len(wheel) == len(due)
    clock.advance(41)
    for index, entry in enumerate(entries):
        assert len(entry.told) == (index in due)
        assert all(due[index] <= at <= due[index] + 0.2 for at in entry.told)


def test_entry_may_schedule_itself_again(wheel, clock):
    entry = Note(lambda: wheel.schedule(entry, clock.now + 1))
    wheel.schedule(entry, clock.now + 1)
    for _ in range(3):
        turn(wheel, clock, 1.1)
    assert len(entry.told) == 3
    wheel.cancel(entry)


def test_entry_that_its_neighbour_cancels_is_not_told(wheel, clock):
    late = Note()
    early = Note(lambda: wheel.cancel(late))
    for entry in (early, late):
        wheel.schedule(entry, clock.now + 1)
    turn(wheel, clock, 2)
    assert early.told
    assert late.told == []


def test_entry_that_its_neighbour_moves_is_told_later(wheel, clock):
    late = Note()
    early = Note(lambda: wheel.schedule(late, clock.now + 10))
    for entry in (early, late):
        wheel.schedule(entry, clock.now + 1)
    turn(wheel, clock, 2)
    assert late.told == []
    assert len(wheel) == 1
    turn(wheel, clock, 11)
    assert len(late.told) == 1


def test_bug_of_one_entry_is_not_the_others(wheel, clock, caplog):
    broken = Note(lambda: 1 / 0)
    sound = Note()
    for entry in (broken, sound):
        wheel.schedule(entry, clock.now + 1)
    turn(wheel, clock, 2)
    assert sound.told
    wait_until(lambda: "ZeroDivisionError" in caplog.text)


def test_wheel_turns_by_itself():
    wheel = TimerWheel()
    entries = [Note(), Note()]
    for entry, seconds in zip(entries, (0.02, 0.12), strict=True):
        wheel.schedule(entry, wheel.clock() + seconds)
    wait_until(lambda: entries[1].told)
    assert entries[0].told[0] < entries[1].told[0]


def test_clock_that_stands_still_does_not_make_the_loop_spin():
    """On a moment at which rounding makes a slot due for the timer, and not for the wheel."""
    tick = next(t for t in range(1, 99_999) if int(t * RESOLUTION_SECONDS / RESOLUTION_SECONDS) < t)
    looks = []

    def clock():
        looks.append(tick)
        return tick * RESOLUTION_SECONDS

    wheel, entry = TimerWheel(clock), Note()
    wheel.schedule(entry, clock())
    gevent.sleep(0.02)
    wheel.cancel(entry)
    assert len(looks) < 100


def test_earlier_entry_brings_the_timer_forward():
    wheel = TimerWheel()
    wheel.schedule(Note(), wheel.clock() + 3600)
    soon = Note()
    wheel.schedule(soon, wheel.clock() + 0.02)
    wait_until(lambda: soon.told, timeout=2)
    assert len(wheel) == 1
