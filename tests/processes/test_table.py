"""What lives under each PID, and what hangs on it until it ends."""

import pytest

from greenrelay.errors import ProcessDown
from greenrelay.pid import PID
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.table import Table
from greenrelay.processes.timers import Timers

ONE, OTHER = (PID.make("proc", "test", bytes([each]) * 12) for each in (1, 2))


class Living:
    """An entity that keeps the news it gets."""

    def __init__(self, pid):
        self.pid = pid
        self.exits, self.downs = [], []

    def on_exit(self, news):
        self.exits.append(news)

    def on_link_down(self, news):
        self.downs.append(news)


@pytest.fixture
def table():
    return Table(Timers(HubThread()))


@pytest.fixture
def living(table):
    """One that is in the table."""
    one = Living(ONE)
    table.add(one)
    return one


def test_end_takes_all_that_hangs_on_it_along(table, living):
    watcher, linked = Living(OTHER), Living(OTHER)
    table.add(linked)
    table.register("room", ONE)
    table.join("rooms", ONE)
    ref = table.monitor(watcher, ONE)
    table.link(linked, ONE)
    table.timers.start(60.0, ONE, lambda: None)
    table.end(living, "killed")
    assert [(news.reason, news.ref) for news in watcher.exits] == [("killed", ref)]
    assert [news.reason for news in linked.downs] == ["killed"]
    assert table.registry.lookup("room") is None
    assert not table.groups.groups(ONE)
    assert table.topology.is_empty()
    assert not len(table.timers)


def test_second_end_tells_nobody(table, living):
    watcher = Living(OTHER)
    table.end(living, "normal")
    table.monitor_ahead(watcher, ONE)
    table.end(living, "killed")
    assert not watcher.exits


def test_links_do_not_hear_of_a_normal_end(table, living):
    linked = Living(OTHER)
    table.add(linked)
    table.link(linked, ONE)
    table.end(living, "normal")
    assert not linked.downs


@pytest.mark.parametrize("verb", [Table.register, Table.join])
def test_the_dead_get_neither_name_nor_group(table, verb):
    with pytest.raises(ProcessDown, match="noproc"):
        verb(table, "room", ONE)


def test_monitor_of_the_dead_fires_at_once(table):
    watcher = Living(OTHER)
    ref = table.monitor(watcher, ONE)
    assert [(news.reason, news.ref) for news in watcher.exits] == [("noproc", ref)]
    assert table.topology.is_empty()


class Name:
    """A ref that its watcher gives."""

    pid = ONE


def test_monitor_may_have_a_name_that_its_watcher_gives(table, living):
    watcher, names = Living(OTHER), [Name(), Name()]
    for name in names:
        table.monitor_as(name, watcher)
    table.unmonitor(names[:1])
    table.end(living, "killed")
    assert [(news.reason, news.ref) for news in watcher.exits] == [("killed", None)]


def test_monitor_of_the_dead_under_a_name_fires_at_once(table):
    watcher = Living(OTHER)
    table.monitor_as(Name(), watcher)
    assert [(news.reason, news.ref) for news in watcher.exits] == [("noproc", None)]
    assert table.topology.is_empty()


def test_monitor_ahead_waits_for_what_is_entered_later(table):
    watcher, late = Living(OTHER), Living(ONE)
    ref = table.monitor_ahead(watcher, ONE)
    table.add(late)
    table.end(late, "normal")
    assert [news.ref for news in watcher.exits] == [ref]


def test_nobody_is_linked_with_itself(table, living):
    table.link(living, ONE)
    assert table.topology.is_empty()
