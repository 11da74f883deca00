"""Spawning, ending, and what is known of a process (§2.1, §2.5)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.pid import PID
from greenrelay.processes.current import on_node
from greenrelay.processes.interpreter import default_node
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until
from tests.sample_processes import idle

UNKNOWN = PID("proc@test/0123456789abcdef")

# -- spawn -------------------------------------------------------------------------------


def test_spawn_runs_a_function_with_its_arguments(node):
    """§2"""
    seen = []
    process.spawn(lambda *args, **kwargs: seen.append((args, kwargs)), 1, 2, a=3)
    assert seen == []  # not before the caller waits
    wait_until(lambda: seen)
    assert seen == [((1, 2), {"a": 3})]


def test_pid_says_what_it_is(node, in_process):
    """§1.1"""
    pid = process.spawn(idle, host="app:rooms")
    assert (pid.host, pid.node, type(pid)) == ("app:rooms", "test", PID)
    assert in_process(process.pid).host == "proc"


def test_function_may_be_named(node):
    """§2"""
    pid = process.spawn("tests.sample_processes:idle", name="idle")
    assert process.is_alive(pid)
    assert process.is_alive("idle")


def test_taken_name_spawns_nothing(node):
    """§2: a room per name, race-free."""
    ran = []
    pid = process.spawn(idle, name="room")
    assert process.spawn(ran.append, "never", name="room") == pid
    gevent.idle()
    assert ran == []
    assert len(node) == 1


def test_name_is_free_as_soon_as_its_holder_is_terminated(node):
    """§2.8: who is not alive is nobody's room any more."""
    first = process.spawn(idle, name="room")
    process.group("rooms").join(first)
    process.terminate(first)
    second = process.spawn(idle, name="room")
    assert second != first
    assert process.group("rooms").members() == []
    assert process.send("room", "hello") is True


def test_name_is_free_again_after_the_end(node):
    """§2"""
    first = process.spawn(idle, name="room")
    process.terminate(first)
    wait_until(lambda: process.registry.lookup("room") is None)
    assert process.spawn(idle, name="room") != first


def test_name_of_a_process_that_is_asked_to_end_is_still_its_own(node):
    """§2: decided by the table; its PID is given, and a monitor tells the rest."""
    pid = process.spawn(idle, name="room")
    process.cancel(pid)
    assert process.spawn(idle, name="room") == pid


def test_crowd_that_opens_one_room_gets_one(node):
    """§2"""
    pids = set()
    for _ in range(50):
        process.spawn(lambda: pids.add(process.spawn(idle, name="room")))
    gevent.idle()
    assert len(pids) == 1


def test_processes_end_with_nothing_of_the_request_around_them(node):
    """A process does not see the context variables of who spawned it."""
    with on_node(Node("request")):
        pid = process.spawn(lambda: process.current_node().name)
    assert pid.node == "request"
    assert process.current_node() is node


def test_plain_code_means_the_interpreter_s_node():
    assert process.current_node() is default_node()
    assert default_node(default_node().name) is default_node()
    assert default_node("another").name == "another"


# -- ends --------------------------------------------------------------------------------


def test_cancel_carries_sender_and_reason(node, in_process):
    """§2.5"""
    events = []
    pid = node.spawn(lambda: events.append(process.events().receive()))
    gevent.sleep(0)
    sender = in_process(lambda: process.cancel(pid, "enough") and process.pid())
    event = wait_until(lambda: events)[0]
    assert (event.kind, event.sender, event.reason) == ("pid.cancel", sender, "enough")
    assert abs(event.at - time.time()) < 5


@pytest.mark.parametrize("end", [process.cancel, process.terminate])
def test_who_asks_is_told_whether_anybody_was_there(node, end):
    """§2.5"""
    pid = node.spawn(idle)
    assert end(pid) is True
    wait_until(lambda: node.find(pid) is None)
    assert end(pid) is False


def test_process_that_terminates_itself_goes_no_further(node, observer):
    """§2.5"""
    notes = []
    pid = node.spawn(lambda: (process.terminate(process.pid()), notes.append("further")))
    assert observer.reason_of(pid) == "killed"
    assert notes == []


# -- info --------------------------------------------------------------------------------


@pytest.fixture
def busy(node):
    """The PIDs of a process that is in all tables, and of another that it watches."""
    other = node.spawn(idle)

    def watch():
        process.link(other)
        process.monitor(other)
        process.send(process.pid(), "unread")
        gevent.sleep(60)

    pid = node.spawn(watch, name="busy")
    process.group("workers").join(pid)
    gevent.sleep(0)
    return pid, other


def test_info_tells_what_a_process_has_to_do_with(busy):
    """§2"""
    pid, other = busy
    info = process.info("busy")
    assert (info["pid"], info["names"], info["groups"]) == (pid, ["busy"], ["workers"])
    assert (info["links"], info["monitors"], info["watchers"]) == ([other], [other], 0)


def test_info_tells_what_a_process_does(busy):
    """§2"""
    info = process.info(busy[0])
    assert info["function"].endswith("test_spawning:watch")
    assert info["mailbox"] == 1
    assert 0 <= info["uptime"] < 5


@pytest.mark.parametrize("target", [idle, process.Supervisor([])], ids=["function", "object"])
def test_info_of_a_process_that_has_not_begun(node, target):
    assert ":" in process.info(process.spawn(target))["function"]


def test_info_of_the_dead_is_none(node):
    """§2"""
    assert process.info(UNKNOWN) is None
