"""How a process that waits without a time-out is woken: once, for what it waits for."""

import gevent
import pytest

from greenrelay import process
from greenrelay.message import Message
from greenrelay.testing import wait_until


class Alarm(Exception):
    """What somebody throws into a process that waits."""


def note_and_rest(seen, seconds):
    """Wait for a message; when something is thrown in instead, rest for so long."""
    try:
        seen.append(process.inbox().receive().topic)
    except Alarm:
        gevent.sleep(seconds)
        seen.append("rested")
        seen.append(process.inbox().receive().topic)


@pytest.fixture
def seen():
    return []


def sleeper(node, seen, seconds=0.05):
    waiting = node.find(node.spawn(note_and_rest, (seen, seconds)))
    gevent.idle()
    return waiting


def test_message_wakes_who_sleeps(node, seen):
    sleeper(node, seen).deliver(Message("hello"))
    wait_until(lambda: seen == ["hello"])


def test_wake_up_that_comes_too_late_ends_no_other_wait(node, seen):
    """§2.2: what is thrown in is there first, and the message is still in its place."""
    waiting = sleeper(node, seen)
    waiting.greenlet.parent.loop.run_callback(waiting.greenlet.throw, Alarm)
    waiting.deliver(Message("hello"))
    wait_until(lambda: len(seen) == 2)
    assert seen == ["rested", "hello"]


def test_many_messages_in_one_turn_wake_who_sleeps_once(node):
    """The others find it awake, or about to be."""

    def count():
        process.inbox().receive()
        first = process.inbox().receive(timeout=0)
        return first.topic

    pid = node.spawn(count)
    gevent.idle()
    ends = []
    node.monitor(Recorder(ends), pid)
    for topic in ("one", "two"):
        node.send(pid, topic)
    wait_until(lambda: ends)
    assert ends[0].value == "two"


class Recorder:
    """Notes the ends that it is told of."""

    def __init__(self, ends):
        self.on_exit = ends.append
