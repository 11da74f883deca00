"""Supervisors: who is started anew, when, in which order, and when it is too much (§2)."""

import logging
import time

import gevent
import pytest

from greenrelay import process
from greenrelay.process import Child, Supervisor
from greenrelay.testing import wait_until
from tests.sample_processes import idle, sleep

# -- starting and stopping ---------------------------------------------------------------


def test_children_start_in_order(noted):
    """§2"""
    Supervisor(noted.children()).start()
    noted.wait_for("+one +two +three")


def test_children_stop_in_reverse_order(noted, observer):
    """§2: each before the next is asked."""
    pid = noted.start(Supervisor(noted.children()))
    process.cancel(pid)
    assert observer.reason_of(pid) == "shutdown"
    noted.wait_for("-three -two -one")


def test_supervisor_that_is_cancelled_before_its_first_step_ends(noted, observer):
    """§2.5"""
    pid = Supervisor(noted.children()).start()
    process.cancel(pid)
    assert observer.reason_of(pid) == "shutdown"


def test_child_is_a_callable_a_text_or_a_child(node):
    """§2"""
    children = [idle, "tests.sample_processes:sleep", Child(idle, name="named")]
    supervisor = Supervisor(children, strategy="one_for_one").start()
    wait_until(lambda: len(node) == 4)
    assert [str(child) for child in Supervisor(children).specs] == [
        "idle",
        "tests.sample_processes:sleep",
        "named",
    ]
    process.terminate(supervisor)


def test_child_gets_its_arguments(node):
    seen = []
    Supervisor(
        [Child(lambda *a, **k: seen.append((a, k)), (1,), {"b": 2}, restart="temporary")]
    ).start()
    wait_until(lambda: seen)
    assert seen == [((1,), {"b": 2})]


def test_supervisor_may_be_called_in_a_process(noted, observer):
    pid = process.spawn(Supervisor(noted.children()), name="top")
    noted.wait_for("+one +two +three")
    process.cancel("top")
    assert observer.reason_of(pid) == "shutdown"


def test_killed_supervisor_takes_its_children_along(noted, node, observer):
    """§2.4: they are linked with it."""
    pid = noted.start(Supervisor(noted.children()))
    children = [process.registry.lookup(name) for name in noted.names]
    observer.watch(*children)
    process.terminate(pid)
    assert [observer.wait_for(child).reason for child in children] == ["killed"] * 3


def test_supervisor_ends_with_its_starter(noted, observer):
    """§2.4: with the same reason, after its children."""
    supervisors = []

    def starter():
        supervisors.append(Supervisor(noted.children()).start(link=True))
        process.inbox().receive()
        process.exit("bad")

    starter_pid = process.spawn(starter)
    noted.wait_for("+one +two +three")
    observer.watch(supervisors[0])
    process.send(starter_pid, "go")
    assert observer.wait_for(supervisors[0]).reason == "bad"
    noted.wait_for("-three -two -one")


def test_child_that_will_not_end_is_terminated(node, observer, caplog):
    """§2"""
    pid = Supervisor([Child(sleep, name="sleeper", shutdown=0.02)]).start()
    sleeper = wait_until(lambda: process.registry.lookup("sleeper"))
    observer.watch(sleeper, pid)
    process.cancel(pid)
    assert observer.wait_for(pid).reason == "shutdown"
    assert observer.wait_for(sleeper).reason == "killed"
    assert caplog.messages == [
        f"{sleeper} did not end in 0.02 s, in tests.sample_processes:sleep; terminating it"
    ]


# -- strategies --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "notes"),
    [
        ("one_for_one", "-two +two"),
        ("one_for_all", "-two -three -one +one +two +three"),
        ("rest_for_one", "-two -three +two +three"),
    ],
)
def test_strategy_says_who_is_started_anew(noted, strategy, notes):
    """§2"""
    noted.start(Supervisor(noted.children(), strategy=strategy))
    noted.tell("two")
    noted.wait_for(notes)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_several_that_fail_at_once_are_all_there_again(noted, observer, strategy):
    """Also one that ends while the supervisor stops another."""
    pid = noted.start(Supervisor(noted.children(), strategy=strategy))
    before = time.monotonic()
    for name in noted.names:
        process.send(name, "do", lambda: 1 / 0)
    wait_until(lambda: noted.notes.count("+one") + noted.notes.count("+three") >= 2)
    wait_until(lambda: all(process.registry.lookup(name) for name in noted.names))
    assert process.is_alive(pid)
    assert time.monotonic() - before < 2


def stop_slowly():
    """Take a moment to end, in which another child fails."""
    idle()
    process.send("two", "do", lambda: 1 / 0)
    gevent.sleep(0.02)


def test_child_that_fails_while_another_is_stopped_costs_no_time(noted):
    """two fails by itself just before it would have been stopped."""
    children = [noted.child("one"), noted.child("two"), Child(stop_slowly, name="slow")]
    supervisor = Supervisor(children, strategy="one_for_all").start()
    wait_until(lambda: process.is_alive("slow"))
    before = time.monotonic()
    noted.tell("one")
    wait_until(lambda: noted.notes.count("+two") == 2)
    assert time.monotonic() - before < 2
    assert process.is_alive(supervisor)


def test_one_for_one_leaves_the_others_alone(noted):
    """§2"""
    noted.start(Supervisor(noted.children()))
    others = [process.registry.lookup(name) for name in ("one", "three")]
    noted.tell("two")
    noted.wait_for("-two +two")
    assert [process.registry.lookup(name) for name in ("one", "three")] == others


# -- who is started anew -----------------------------------------------------------------

FAILS = {"it fails": lambda: 1 / 0}
ENDS_WELL = {
    "it ends normally": lambda: process.exit(),
    "it shuts down": lambda: process.exit("shutdown"),
    "it is cancelled": lambda: process.cancel(process.pid()),
}


@pytest.mark.parametrize(
    ("restart", "ends", "is_restarted"),
    [
        ("permanent", {**FAILS, **ENDS_WELL}, True),
        ("transient", FAILS, True),
        ("transient", ENDS_WELL, False),
        ("temporary", {**FAILS, **ENDS_WELL}, False),
    ],
)
def test_restart_says_after_which_ends(noted, restart, ends, is_restarted):
    """§2.8"""
    for end in ends.values():
        pid = noted.start(Supervisor([noted.child("one", restart=restart)]))
        noted.tell("one", end)
        noted.wait_for("-one +one" if is_restarted else "-one")
        process.cancel(pid)
        wait_until(lambda pid=pid: not process.is_alive(pid))
        noted.notes.clear()


def test_temporary_child_is_not_started_anew_with_the_others(noted):
    """§2.8: as Erlang's, whoever ended it."""
    children = [noted.child("one"), noted.child("two", restart="temporary")]
    noted.start(Supervisor(children, strategy="one_for_all"))
    noted.tell("one")
    noted.wait_for("-one -two +one")


def test_child_that_is_not_started_anew_is_logged(noted, caplog):
    noted.start(Supervisor([noted.child("one", restart="temporary")]))
    noted.tell("one", process.exit)
    wait_until(lambda: caplog.messages)
    assert caplog.messages == ["child one ended: normal; it is not restarted"]
    assert caplog.records[0].levelno == logging.INFO


# -- bad use -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        pytest.param(
            lambda: Supervisor([idle], strategy="all"),
            ValueError,
            "strategy is one of one_for_one, one_for_all, rest_for_one, got 'all'",
            id="strategy",
        ),
        pytest.param(
            lambda: Supervisor(["no.such:thing"]), ValueError, "package.module:function", id="text"
        ),
        pytest.param(lambda: Supervisor([None]), TypeError, "takes a function or", id="none"),
        pytest.param(lambda: Supervisor(idle), TypeError, "takes a list of children", id="one"),
        pytest.param(
            lambda: Supervisor("tests.sample_processes:idle"),
            TypeError,
            r"takes a list of children: \[tests.sample_processes:idle\]",
            id="one text",
        ),
        pytest.param(
            lambda: Child(idle, restart="always"),
            ValueError,
            "restart is one of permanent, transient, temporary, got 'always'",
            id="restart",
        ),
        pytest.param(lambda: Supervisor([])(), RuntimeError, "process around it", id="called"),
    ],
)
def test_bad_plan_is_an_error_at_once(node, make, error, text):
    with pytest.raises(error, match=text):
        make()
