"""Sending and receiving by the API (§2)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.pid import PID
from greenrelay.testing import wait_until
from tests.sample_processes import crash, idle

UNKNOWN = PID("proc@test/0123456789abcdef")

# -- send --------------------------------------------------------------------------------


@pytest.mark.parametrize("dest", [str, PID, lambda pid: "receiver"], ids=["text", "PID", "name"])
def test_message_reaches_its_destination(node, receiver, messages, dest):
    """§2"""
    assert process.send(dest(receiver), "topic", {"a": 1})
    (message,) = wait_until(lambda: messages)
    assert (message.topic, message.payload, message.sender) == ("topic", {"a": 1}, None)


def test_message_names_its_sender(in_process, receiver, messages):
    """§2.1"""
    pid = in_process(lambda: process.send(receiver, "topic") and process.pid())
    assert wait_until(lambda: messages)[0].sender == pid


def test_payload_is_the_object_itself(receiver, messages):
    """§2.1: any Python object locally."""
    payload = object()
    process.send(receiver, "topic", payload)
    assert wait_until(lambda: messages)[0].payload is payload


def test_message_has_a_readable_text(receiver, messages):
    process.send(receiver, "topic", 1)
    assert repr(wait_until(lambda: messages)[0]) == "Message('topic', 1, sender=None)"


@pytest.mark.parametrize("end", [process.cancel, process.terminate])
def test_send_says_when_nobody_is_there(node, receiver, end):
    """§2: and never raises for that."""
    end(receiver)
    wait_until(lambda: not process.is_alive(receiver))
    assert process.send(receiver, "topic") is False


def test_order_is_kept_between_any_two(node, receiver, messages):
    """§2.2"""
    for sender in range(5):
        node.spawn(send_numbers, (receiver, sender))
    wait_until(lambda: len(messages) == 500)
    for sender in range(5):
        numbers = [m.payload[1] for m in messages if m.payload[0] == sender]
        assert numbers == list(range(100))


def send_numbers(receiver, sender):
    for number in range(100):
        process.send(receiver, "number", (sender, number))
        if number % (sender + 3) == 0:
            gevent.sleep(0)


def test_process_may_send_to_itself(in_process):
    def body():
        process.send(process.pid(), "note", 1)
        return process.inbox().receive().payload

    assert in_process(body) == 1


def test_two_that_flood_each_other_do_not_stop(node):
    """§8: sends between processes never block."""
    node.max_mailbox, done = 100, []
    one, other = (node.spawn(flood, (done,)) for _ in range(2))
    process.send(one, "other", other)
    process.send(other, "other", one)
    wait_until(lambda: len(done) == 2)


def flood(done, count=200):
    """Send so many to the other one, and take as many."""
    other = process.inbox().receive().payload
    for number in range(count):
        process.send(other, "number", number)
    taken = [process.inbox().receive().payload for _ in range(count)]
    done.append(taken == list(range(count)))


def test_broadcast_counts_those_who_live(node, receiver, messages):
    """§2"""
    dead = node.spawn(crash)
    wait_until(lambda: not node.is_alive(dead))
    assert process.broadcast([receiver, dead, "receiver", "nobody"], "topic") == 2
    wait_until(lambda: len(messages) == 2)


# -- receive -----------------------------------------------------------------------------


def test_listener_wins_over_the_inbox(in_process):
    """§2.2"""

    def body():
        news = process.listen("news")
        for topic in ("letter", "news", "letter"):
            process.send(process.pid(), topic)
        return len(news), len(process.inbox()), news.receive().topic

    assert in_process(body) == (1, 2, "news")


def test_unlisten_gives_the_topic_back_to_the_inbox(in_process):
    def body():
        news = process.listen("news")
        process.send(process.pid(), "news", 1)
        process.unlisten(news)
        process.send(process.pid(), "news", 2)
        return [process.inbox().receive().payload for _ in range(2)]

    assert in_process(body) == [1, 2]


def test_select_takes_from_the_first_that_has_something(in_process):
    """§2"""

    def body():
        news, events, inbox = process.listen("news"), process.events(), process.inbox()
        process.send(process.pid(), "letter")
        process.monitor(UNKNOWN)
        taken = [process.select(news, events, inbox, timeout=0.01) for _ in range(3)]
        return [one and (one[0] in (events, inbox), one[1].__class__.__name__) for one in taken]

    assert in_process(body) == [(True, "Exit"), (True, "Message"), None]


def test_loop_over_the_inbox_ends_with_the_process(node, observer):
    """§2"""
    notes = []
    pid = node.spawn(lambda: (idle(), notes.append("after the loop")))
    gevent.sleep(0)
    process.cancel(pid)
    assert observer.reason_of(pid) == "cancelled"
    assert notes == ["after the loop"]
