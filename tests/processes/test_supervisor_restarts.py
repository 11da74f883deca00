"""How often a supervisor starts its children anew, and with which pause; singletons (§2.8)."""

import time

import gevent

from greenrelay import process
from greenrelay.process import Supervisor
from greenrelay.testing import wait_until

# -- intensity and back-off --------------------------------------------------------------


def test_supervisor_gives_up_after_too_many_restarts(noted, observer):
    """§2: reason `shutdown`, children in reverse order."""
    pid = noted.start(Supervisor(noted.children(), max_restarts=1))
    observer.watch(pid)
    noted.tell("two")
    noted.wait_for("-two +two")
    noted.tell("two")
    assert observer.wait_for(pid).reason == "shutdown"
    noted.wait_for("-two -three -one")


def test_supervisor_without_restarts_gives_up_at_once(noted, observer):
    pid = noted.start(Supervisor(noted.children(), max_restarts=0))
    observer.watch(pid)
    noted.tell("three")
    assert observer.wait_for(pid).reason == "shutdown"
    noted.wait_for("-three -two -one")


def test_old_restarts_are_forgiven(noted):
    """§2: it is so many within so many seconds that count."""
    pid = noted.start(Supervisor([noted.child("one")], max_restarts=1, within=0.03))
    for _ in range(4):
        noted.tell("one")
        noted.wait_for("-one +one")
        gevent.sleep(0.04)
    assert process.is_alive(pid)


def test_restarts_in_a_row_wait_longer_and_longer(noted):
    """§2: the first is at once, then 50 ms, 100 ms, …"""
    noted.start(Supervisor([noted.child("one")]))
    noted.tell("one")
    gevent.idle()
    for seconds in (0.05, 0.1):
        assert process.registry.lookup("one")
        before = time.monotonic()
        noted.tell("one")
        wait_until(lambda: process.registry.lookup("one"))
        assert time.monotonic() - before >= seconds


def test_supervisor_can_be_stopped_while_it_waits_to_restart(noted, observer):
    pid = noted.start(Supervisor([noted.child("one")]))
    for _ in range(3):
        wait_until(lambda: process.registry.lookup("one"))
        noted.tell("one")
    process.cancel(pid)
    assert observer.reason_of(pid) == "shutdown"


def test_failure_goes_up_to_the_next_supervisor(noted):
    """§2: one who can start a larger part afresh."""
    inner = Supervisor([noted.child("one")], max_restarts=0)
    Supervisor([inner]).start()
    noted.wait_for("+one")
    noted.tell("one")
    noted.wait_for("-one +one")


# -- reports -----------------------------------------------------------------------------


def test_reports_say_which_child_why_and_how_often(noted, caplog):
    """§2"""
    pid = noted.start(Supervisor([noted.child("one")], max_restarts=1))
    noted.tell("one", lambda: 1 / 0)
    noted.wait_for("-one +one")
    noted.tell("one", lambda: process.exit("bad"))
    wait_until(lambda: not process.is_alive(pid))
    reports = [each for each in caplog.records if each.name == "greenrelay.supervisor"]
    assert [(each.levelname, each.message) for each in reports] == [
        (
            "WARNING",
            "child one ended: error: ZeroDivisionError: division by zero; restart 1 of 1 in 5 s",
        ),
        ("ERROR", "child one ended: bad; 2 ends in 5 s are too many, giving up"),
    ]


# -- singletons --------------------------------------------------------------------------


def test_singleton_is_taken_over(noted, observer):
    """§2: by a supervisor that has waited for the name."""
    first = noted.start(Supervisor([noted.child("leader")]))
    second = Supervisor([noted.child("leader")]).start()
    leader = process.registry.lookup("leader")
    observer.watch(leader)
    gevent.idle()
    assert noted.notes == []
    process.terminate(first)
    assert observer.wait_for(leader).reason == "killed"
    noted.wait_for("-leader +leader")
    assert process.info("leader")["links"] == [second]


def test_failed_singleton_has_one_successor(noted):
    """§2: both supervisors want to start it."""
    for _ in range(2):
        Supervisor([noted.child("leader")]).start()
    noted.wait_for("+leader")
    for _ in range(3):
        noted.tell("leader")
        wait_until(lambda: process.registry.lookup("leader"))
    noted.wait_for("-leader +leader " * 2 + "-leader +leader")
    assert len(process.info("leader")["links"]) == 1


def test_stopping_supervisor_leaves_another_s_singleton_alone(noted, observer):
    noted.start(Supervisor([noted.child("leader")]))
    second = Supervisor([noted.child("leader")]).start()
    gevent.sleep(0)
    process.cancel(second)
    assert observer.reason_of(second) == "shutdown"
    assert process.info("leader")["watchers"] == 1
    assert noted.notes == []
