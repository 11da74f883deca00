"""Terminating a process: it can not trap that, and cleans up in peace (§2.5)."""

import gevent
import gevent.socket
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.sample_processes import crash, idle, receive_forever, sleep

# -- terminate (§2.5) --------------------------------------------------------------------


def test_process_that_is_killed_before_its_first_step_never_runs(node, observer):
    """§2.5"""
    ran = []
    pid = node.spawn(ran.append, (True,))
    node.terminate(pid)
    assert observer.reason_of(pid) == "killed"
    gevent.sleep(0)
    assert ran == []


def swallow_once():
    try:
        sleep()
    except gevent.GreenletExit:
        return "alive after all"


def swallow_and_receive():
    try:
        sleep()
    except gevent.GreenletExit:
        process.inbox().receive()


def swallow_and_crash():
    try:
        sleep()
    finally:
        crash()


@pytest.mark.parametrize("function", [swallow_once, swallow_and_receive, swallow_and_crash])
def test_victim_can_not_trap_its_kill(node, observer, function):
    """§2.5"""
    pid = node.spawn(function)
    observer.watch(pid)
    gevent.sleep(0)
    node.terminate(pid)
    exit = observer.wait_for(pid)
    assert (exit.reason, exit.value, exit.error) == ("killed", None, None)


def test_error_in_the_cleanup_of_a_killed_process_is_logged(node, observer, caplog):
    """§2.6"""
    pid = node.spawn(swallow_and_crash)
    gevent.sleep(0)
    node.terminate(pid)
    observer.reason_of(pid)
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError]


def test_first_kill_gives_the_reason(node, observer):
    pid = node.spawn(idle)
    node.terminate(pid, "first")
    node.terminate(pid, "second")
    assert observer.reason_of(pid) == "first"


def tidy_up(wait, notes, act=lambda: gevent.sleep(0.02)):
    """Wait, and note that all of the `finally` has run."""
    try:
        wait()
    finally:
        act()
        notes.append("tidied up")


def test_kill_that_is_met_early_leaves_the_cleanup_alone(node, observer):
    """It was woken by a message and told by its mailbox, before the kill reached it."""
    notes = []
    pid = node.spawn(tidy_up, (receive_forever, notes))
    gevent.sleep(0)
    node.send(pid, "wake up")
    node.terminate(pid)
    assert observer.reason_of(pid) == "killed"
    assert notes == ["tidied up"]


def test_death_of_a_link_leaves_a_cleanup_alone(node):
    """§2.5"""
    notes, other = [], node.spawn(idle)
    pid = node.spawn(tidy_up, (lambda: (process.link(other), sleep()), notes))
    for each in (pid, other):
        gevent.sleep(0)
        node.terminate(each)
    wait_until(lambda: node.find(pid) is None)
    assert notes == ["tidied up"]


def test_cleanup_of_a_killed_process_may_end_others(node, observer):
    """§2.5: its own end has been raised, and is not raised again."""
    notes, other = [], node.spawn(idle)
    pid = node.spawn(tidy_up, (sleep, notes, lambda: process.terminate(other)))
    gevent.sleep(0)
    node.terminate(pid)
    assert observer.reason_of(pid) == "killed"
    assert notes == ["tidied up"]
    assert not node.is_alive(other)


def test_second_kill_interrupts_a_cleanup(node, observer):
    """§2.5: what hangs can be got rid of."""

    def victim():
        try:
            sleep()
        finally:
            sleep()

    pid = node.spawn(victim)
    for _ in range(2):
        gevent.sleep(0.001)
        node.terminate(pid)
    assert observer.reason_of(pid) == "killed"


def wait_on_a_socket():
    with gevent.socket.socket(type=gevent.socket.SOCK_DGRAM) as sock:
        sock.recv(1)


@pytest.mark.parametrize("wait", [sleep, receive_forever, idle, wait_on_a_socket])
def test_killed_process_does_nothing_more_whatever_wakes_it(node, observer, wait):
    """§2.8: also when it had been woken before it was killed."""
    notes = []
    pid = node.spawn(lambda: (wait(), notes.append("went on")))
    observer.watch(pid)
    gevent.sleep(0)
    greenlet = node.find(pid).greenlet
    gevent.get_hub().loop.run_callback(lambda: greenlet.switch())
    node.terminate(pid)
    assert observer.wait_for(pid).reason == "killed"
    assert notes == []


@pytest.mark.parametrize("function", [idle, sleep, swallow_and_receive])
def test_killed_process_is_not_alive_at_once(node, observer, function):
    """§2.8"""
    pid = process.spawn(function, name="name")
    observer.watch(pid)
    assert process.is_alive(pid)
    assert process.is_alive("name")
    process.terminate(pid)
    assert not process.is_alive(pid)
    assert not process.is_alive("name")
    assert process.send(pid, "too late") is False
    assert process.registry.lookup("name") is None
    assert observer.wait_for(pid).reason == "killed"
