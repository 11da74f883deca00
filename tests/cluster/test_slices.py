"""Long work in short slices, and lines of the log at a bounded rate (§7.2, §7.3)."""

import time
from collections import Counter

import gevent
import pytest

from greenrelay.cluster.reports import Reports
from greenrelay.cluster.slices import Slices
from greenrelay.testing import FakeClock, wait_until


@pytest.fixture
def slices():
    slices = Slices()
    yield slices
    slices.close()


def test_works_are_done_one_after_the_other(slices):
    done = []

    def work(name):
        for number in range(3):
            done.append((name, number))
            yield

    slices.add(work("a"))
    slices.add(work("b"))
    wait_until(lambda: not len(slices))
    assert done == sorted(done)


def test_others_run_between_slices(slices):
    turns = []

    def work():
        for _ in range(20):
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            yield

    slices.add(work())
    while len(slices):
        turns.append(1)
        gevent.sleep(0)
    assert len(turns) > 5


def test_a_work_that_fails_is_told_and_the_next_is_done(slices, caplog):
    done = []

    def bad():
        yield
        raise ValueError("on purpose")

    def good():
        done.append(True)
        yield

    slices.add(bad())
    slices.add(good())
    wait_until(lambda: done and not len(slices))
    wait_until(lambda: "on purpose" in caplog.text)


class Node:
    def __init__(self):
        self.counts = Counter()

    def count(self, event, times=1):
        self.counts[event] += times


def test_what_goes_wrong_is_counted_always_and_told_once_a_second(caplog):
    node, clock = Node(), FakeClock()
    reports = Reports(node, clock)
    for _ in range(5):
        reports.note("cluster_lost", "lost", 2)
    clock.jump(1.0)
    reports.note("cluster_lost", "lost again", 2)
    gevent.sleep(0)
    assert node.counts == {"cluster_lost": 12}
    assert [record.args[-1] for record in caplog.records] == [2, 10]
