"""The life of a process: every way to end, and that it ends once (§2.5, §2.6)."""

import contextlib
import gc
import logging
import sys
import time
import weakref

import gevent
import gevent.socket
import pytest

from greenrelay import process
from greenrelay.errors import CallTimeout, ProcessDown
from greenrelay.testing import leaks, wait_until
from tests.sample_processes import crash, idle, receive_forever, sleep

# -- why it ends (§2.6) ------------------------------------------------------------------


class Unspeakable(Exception):
    """An error that can't say what it is."""

    def __str__(self):
        raise RuntimeError("no text")


def fail(error):
    raise error


ENDS = [
    pytest.param(lambda: 42, "normal", id="returns"),
    pytest.param(lambda: process.exit(), "normal", id="exits"),
    pytest.param(lambda: process.exit("shutdown"), "shutdown", id="exits for a reason"),
    pytest.param(lambda: process.terminate(process.pid()), "killed", id="kills itself"),
    pytest.param(crash, "error: RuntimeError: boom", id="crashes"),
    pytest.param(lambda: fail(KeyError("a")), "error: KeyError: 'a'", id="crashes with a repr"),
    pytest.param(lambda: fail(Unspeakable()), "error: Unspeakable: ?", id="error without text"),
    pytest.param(lambda: sys.exit(3), "error: SystemExit: 3", id="sys.exit"),
    pytest.param(lambda: fail(gevent.GreenletExit()), "killed", id="gevent kills it"),
]


@pytest.mark.parametrize(("function", "reason"), ENDS)
def test_every_end_has_its_reason(node, observer, function, reason):
    """§2.6"""
    assert observer.reason_of(node.spawn(function)) == reason


def test_exit_carries_what_the_function_returned(node, observer):
    """§2.6"""
    pid = node.spawn(lambda: [1, 2])
    observer.watch(pid)
    exit = observer.wait_for(pid)
    assert (exit.value, exit.error, exit.kind) == ([1, 2], None, "pid.exit")
    assert abs(exit.at - time.time()) < 5


def test_exit_carries_the_error_of_a_crash(node, observer):
    """§2.6"""
    pid = node.spawn(crash)
    observer.watch(pid)
    exit = observer.wait_for(pid)
    assert (type(exit.error), exit.value) == (RuntimeError, None)


def test_crash_is_logged_once_with_its_pid(node, observer, caplog):
    """§2.6"""
    pid = node.spawn(crash)
    observer.reason_of(pid)
    (record,) = caplog.records
    assert record.message == f"process {pid} crashed"
    assert (record.levelname, record.exc_info[0]) == ("ERROR", RuntimeError)


@pytest.mark.parametrize("end", ["cancel", "terminate"])
def test_end_that_was_asked_for_is_not_logged(node, observer, caplog, end):
    """§2.6"""
    pid = node.spawn(idle)
    getattr(node, end)(pid)
    observer.reason_of(pid)
    assert caplog.records == []


def test_news_of_the_end_come_after_the_last_finally(node, observer):
    notes = []

    def careful():
        try:
            sleep()
        finally:
            gevent.sleep(0.01)
            notes.append(observer.exits[:])

    pid = node.spawn(careful)
    gevent.sleep(0)
    node.terminate(pid)
    assert observer.reason_of(pid) == "killed"
    assert notes == [[]]


def test_nothing_is_left_of_a_process(node, in_process):
    """Names, groups, links, monitors, timers: all gone with it."""
    other = node.spawn(idle)

    def body():
        process.registry.register("name")
        process.group("group").join()
        process.link(other)
        process.monitor(other)
        process.send_after(60, process.pid(), "late")
        process.listen("topic")

    in_process(body)
    node.terminate(other)
    wait_until(lambda: not leaks(node))


# -- cancel (§2.5) -----------------------------------------------------------------------


@pytest.mark.parametrize("function", [idle, receive_forever])
@pytest.mark.parametrize("has_begun", [True, False], ids=["running", "not begun"])
def test_cancel_ends_a_process_that_receives(node, observer, function, has_begun):
    """§2.5: the inbox closes."""
    pid = node.spawn(function)
    if has_begun:
        gevent.sleep(0)
    assert node.cancel(pid)
    assert observer.reason_of(pid) == "cancelled"


def test_cancelled_process_still_takes_what_it_has(node, observer):
    """§2.5"""
    taken = []
    pid = node.spawn(lambda: taken.extend(m.topic for m in process.inbox()))
    node.send(pid, "a")
    node.send(pid, "b")
    node.cancel(pid)
    observer.reason_of(pid)
    assert taken == ["a", "b"]


@pytest.mark.parametrize("has_begun", [True, False], ids=["running", "not begun"])
def test_process_with_events_decides_on_its_cancel(node, observer, has_begun):
    """§2.5"""
    taken = []

    def decide():
        taken.append(process.events().receive())
        process.exit("in my own time")

    pid = node.spawn(decide)
    if has_begun:
        gevent.sleep(0)
    node.cancel(pid, None, "please")
    assert observer.reason_of(pid) == "in my own time"
    assert (taken[0].kind, taken[0].reason, taken[0].sender) == ("pid.cancel", "please", None)


def test_inbox_of_a_process_with_events_stays_open(node):
    """§2.5"""
    pid = node.spawn(lambda: process.events() and idle())
    gevent.sleep(0)
    node.cancel(pid)
    assert node.send(pid, "still here")
    node.terminate(pid)


# -- what is left of it ------------------------------------------------------------------


class Treasure:
    """Something large."""


def listen_and_crash(treasure):
    process.listen("topic")
    process.events()
    crash()


@pytest.mark.parametrize("function", [idle, listen_and_crash, receive_forever, sleep])
@pytest.mark.parametrize("has_begun", [True, False], ids=["running", "not begun"])
def test_nothing_of_a_process_waits_for_the_collector(node, caplog, function, has_begun):
    """What it was given, and what waits for it, is free as soon as it has ended."""
    caplog.set_level(logging.CRITICAL, "greenrelay.process")  # a record keeps its traceback
    given, sent = Treasure(), Treasure()
    pid = node.spawn(
        lambda treasure: function(*[treasure] * (function is listen_and_crash)), (given,)
    )
    left = [weakref.ref(given), weakref.ref(sent)]
    gc.disable()
    try:
        if has_begun:
            gevent.sleep(0)
        node.send(pid, "here", sent)
        del given, sent
        node.terminate(pid)
        wait_until(lambda: node.find(pid) is None)
        gevent.sleep(0)
        assert [ref() for ref in left] == [None, None]
    finally:
        gc.enable()


def ask(callee, treasure, timeout):
    with contextlib.suppress(CallTimeout, ProcessDown):
        process.call(callee, "ask", treasure, timeout=timeout)


QUIET_ENDS = [
    pytest.param(lambda treasure, callee: process.inbox().receive(), id="cancelled in receive"),
    pytest.param(lambda treasure, callee: idle(), id="cancelled in a loop"),
    pytest.param(lambda treasure, callee: process.select(process.inbox()), id="in select"),
    pytest.param(lambda treasure, callee: ask(callee, treasure, 0.001), id="call took too long"),
    pytest.param(lambda treasure, callee: ask(callee, treasure, None), id="callee is down"),
]


@pytest.mark.parametrize("function", QUIET_ENDS)
def test_nothing_of_a_process_that_goes_quietly_waits_for_the_collector(node, function):
    """A thousand of them end in a drain."""
    treasure, callee = Treasure(), node.spawn(lambda: process.inbox().receive().topic)
    process.send_after(0.02, callee, "go away")
    left = weakref.ref(treasure)
    gc.disable()
    try:
        pid = node.spawn(function, (treasure, callee))
        gevent.sleep(0.005)
        del treasure
        node.cancel(pid)
        wait_until(lambda: not len(node))
        gevent.sleep(0)
        assert left() is None
    finally:
        gc.enable()


# -- those that will not end -------------------------------------------------------------


MANY = 5_000
"""So often something spins that must not; then it stops, and the test can fail."""


def swallow_in_receive(stop, swallowed=None):
    swallowed = [] if swallowed is None else swallowed
    while not stop and len(swallowed) < MANY:
        try:
            process.inbox().receive()
        except BaseException:
            swallowed.append(1)


def loop_around_a_loop(stop):
    while not stop:
        idle()


@pytest.fixture
def stop(monkeypatch):
    """What the stubborn are told in the end, so that their greenlets go."""
    monkeypatch.setattr("greenrelay.processes.end.GIVEN_UP_SECONDS", 0.01)
    stop = []
    yield stop
    stop.append(True)


@pytest.mark.parametrize("function", [swallow_in_receive, loop_around_a_loop])
@pytest.mark.parametrize(("end", "reason"), [("cancel", "cancelled"), ("terminate", "killed")])
def test_process_that_swallows_its_end_is_given_up(node, observer, stop, function, end, reason):
    """§2.5: it must neither live on nor stop everybody else."""
    pid = node.spawn(function, (stop,))
    gevent.sleep(0)
    getattr(node, end)(pid)
    assert observer.reason_of(pid) == reason
    assert not node.is_alive(pid)


def test_loop_around_a_loop_comes_to_an_end(node, stop):
    """§2.5: it has no handler that could swallow anything."""
    pid = node.spawn(loop_around_a_loop, (stop,))
    greenlet = node.find(pid).greenlet
    node.cancel(pid)
    wait_until(lambda: greenlet.dead)


def test_giving_up_a_process_is_logged(node, observer, stop, caplog):
    pid = node.spawn(swallow_in_receive, (stop,))
    node.cancel(pid)
    observer.reason_of(pid)
    wait_until(lambda: caplog.records)
    assert caplog.messages == [f"process {pid} swallows its end, let it raise"]
    assert caplog.records[0].levelno == logging.ERROR


def test_process_that_was_given_up_lets_others_run(node, stop):
    """§2.5: each further attempt to receive takes its time."""
    swallowed = []
    pid = node.spawn(swallow_in_receive, (stop, swallowed))
    gevent.sleep(0)
    node.cancel(pid)
    wait_until(lambda: not node.is_alive(pid))
    before, raised = time.monotonic(), len(swallowed)
    gevent.sleep(0.05)
    assert time.monotonic() - before < 0.1
    assert len(swallowed) - raised < 20


def test_process_that_was_given_up_watches_nobody(node, stop):
    """Nobody would take its monitors away."""
    other = node.spawn(idle)

    def watch():
        swallow_in_receive([], [None] * (MANY - 101))
        process.link(other)
        process.monitor(other)
        swallow_in_receive(stop)

    pid = node.spawn(watch)
    gevent.sleep(0)
    node.cancel(pid)
    wait_until(lambda: not node.is_alive(pid))
    gevent.sleep(0.05)
    assert node.topology.is_empty()
    assert node.is_alive(other)
