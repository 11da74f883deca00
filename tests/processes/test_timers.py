"""Messages that are sent later (§2)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import InvalidPID, NameNotRegistered
from greenrelay.processes.hubthread import HubThread
from greenrelay.processes.timers import Ticker, Timers
from greenrelay.testing import wait_until
from tests.sample_processes import collect, echo


@pytest.fixture
def timers():
    return Timers(HubThread())


# -- one timer ---------------------------------------------------------------------------


def test_timer_fires_once_and_is_forgotten(timers):
    fired = []
    timer = timers.start(0, "x", lambda: fired.append(timer.is_waiting))
    wait_until(lambda: fired)
    gevent.sleep(0.005)
    assert fired == [False]
    assert len(timers) == 0


def test_cancelled_timer_does_not_fire(timers):
    fired = []
    timer = timers.start(0, "x", lambda: fired.append(True))
    assert timer.cancel()
    gevent.sleep(0.005)
    assert fired == []


def test_cancel_says_whether_it_was_in_time(timers):
    timer, late = timers.start(60, "x", int), timers.start(0, "x", int)
    wait_until(lambda: not late.is_waiting)
    assert [timer.cancel(), timer.cancel(), late.cancel()] == [True, False, False]


def test_cancelled_timers_do_not_pile_up(timers):
    """A process that sets a time-out for each message, and mostly does not need it."""
    for number in range(100):
        timers.start(60, f"x{number}", int).cancel()
    assert (len(timers), timers._waiting) == (0, {})


def test_timer_counts_from_now(timers):
    """Not from when the event loop last looked at its clock."""
    fired = []
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    before = time.monotonic()
    timers.start(0.02, "x", lambda: fired.append(time.monotonic()))
    wait_until(lambda: fired)
    assert fired[0] - before >= 0.019


def test_timers_of_one_destination_are_cancelled_together(timers):
    ours, others = [timers.start(60, "x", int) for _ in range(3)], timers.start(60, "y", int)
    timers.remove("x")
    timers.remove("nobody")
    assert [timer.is_waiting for timer in ours] == [False] * 3
    assert others.cancel()


# -- send_after --------------------------------------------------------------------------


def test_message_arrives_after_its_time(node, receiver, messages):
    before = time.monotonic()
    process.send_after(0.02, receiver, "late", {"a": 1})
    (message,) = wait_until(lambda: messages)
    assert time.monotonic() - before >= 0.02
    assert (message.topic, message.payload, message.sender) == ("late", {"a": 1}, None)


def test_message_carries_its_sender(in_process, receiver, messages):
    sender = in_process(lambda: process.send_after(0, receiver, "late") and process.pid())
    assert wait_until(lambda: messages)[0].sender == sender


def test_messages_of_one_instant_keep_their_order(node, receiver, messages):
    """§2.2"""
    for number in range(20):
        process.send_after(0.01, receiver, "late", number)
    wait_until(lambda: len(messages) == 20)
    assert [message.payload for message in messages] == list(range(20))


def test_name_is_looked_up_when_the_time_has_come(node, messages):
    process.send_after(0.005, "receiver", "late")
    node.spawn(collect, (messages,), name="receiver")
    wait_until(lambda: messages)


def test_name_that_nobody_holds_then_is_logged(node, caplog):
    process.send_after(0, "nobody", "late")
    wait_until(lambda: caplog.messages)
    assert caplog.messages[0].startswith("a timed 'late' was not sent: nobody holds the name")


def test_timers_end_with_their_destination(node, receiver):
    timer = process.send_after(60, receiver, "late")
    assert len(node.table.timers) == 1
    node.terminate(receiver)
    wait_until(lambda: not timer.is_waiting)
    assert len(node.table.timers) == 0


def test_timer_survives_its_sender(in_process, receiver, messages):
    in_process(lambda: process.send_after(0.01, receiver, "late"))
    wait_until(lambda: messages)


def test_nothing_waits_for_a_dead_process(node, in_process):
    timer = process.send_after(60, in_process(process.pid), "late")
    assert not timer.is_waiting
    assert len(node.table.timers) == 0


def test_waiting_for_a_timer_is_no_dead_end(node):
    """The loop knows that something is still to happen."""

    def answer_later():
        request = process.inbox().receive()
        process.send_after(0.01, process.pid(), "now")
        process.inbox().receive()
        request.reply("done")

    assert process.call(node.spawn(answer_later), "ask", timeout=None) == "done"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        pytest.param((-1, "receiver", "t"), ValueError, "seconds from now on, got -1", id="past"),
        pytest.param((float("nan"), "receiver", "t"), ValueError, "got nan", id="no number"),
        pytest.param((1, "receiver", ""), ValueError, "a topic is not empty", id="no topic"),
        pytest.param((1, "receiver", "@exit"), ValueError, "no '@' first", id="reserved"),
        pytest.param((1, "a@b", "t"), InvalidPID, "host@node/id", id="no PID"),
        pytest.param((1, None, "t"), InvalidPID, "got NoneType", id="nobody"),
    ],
)
def test_bad_use_is_an_error_at_once(node, arguments, error, text):
    with pytest.raises(error, match=text):
        process.send_after(*arguments)
    assert len(node.table.timers) == 0


def test_unknown_name_is_no_error_yet(node):
    timer = process.send_after(60, "nobody yet", "t")
    assert timer.cancel()
    with pytest.raises(NameNotRegistered):
        process.send("nobody yet", "t")


def test_call_is_answered_while_a_timer_runs(node):
    pid = node.spawn(echo)
    timer = process.send_after(60, pid, "late")
    assert process.call(pid, "ask", 1) == 1
    assert timer.cancel()


# -- every -------------------------------------------------------------------------------


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ticker(clock):
    """One that ticks once in 10 seconds."""
    ticker = Ticker(10.0, int, lambda timer: None, HubThread(), clock)
    yield ticker
    ticker.cancel()


def test_ticker_waits_for_the_next_time_of_its_grid(ticker, clock):
    """§2.12: no drift, whatever a tick was late or early."""
    waits = []
    for passed in (10.0, 20.5, 29.999, 43.0):
        clock.now = 100.0 + passed
        waits.append(round(ticker._next(), 3))
    assert waits == [10.0, 9.5, 10.001, 7.0]


def test_ticker_leaves_out_what_it_has_missed(ticker, clock):
    """§2.12: no burst after a pause, and the grid stays."""
    clock.now = 100.0 + 57.0
    assert ticker._next() == 3.0


def test_periodic_message_comes_again_and_again(node, receiver, messages):
    """§2.12"""
    timer = process.every(0.005, "tick", {"a": 1}, dest=receiver)
    wait_until(lambda: len(messages) >= 3)
    assert timer.cancel()
    assert {(each.topic, each.payload["a"], each.sender) for each in messages} == {
        ("tick", 1, None)
    }


def test_first_periodic_message_comes_after_one_period(node, receiver, messages):
    """§2.12"""
    before = time.monotonic()
    process.every(0.03, "tick", dest=receiver)
    wait_until(lambda: messages)
    assert time.monotonic() - before >= 0.03


def test_periodic_message_is_for_the_caller_by_default(in_process):
    """§2.12"""

    def tick():
        process.every(0.001, "tick")
        message = process.inbox().receive(5)
        return message.topic, message.sender == process.pid()

    assert in_process(tick) == ("tick", True)


def test_cancelled_periodic_message_does_not_come_again(node, receiver, messages):
    """§2.12"""
    timer = process.every(0.001, "tick", dest=receiver)
    wait_until(lambda: messages)
    assert (timer.is_waiting, timer.cancel(), timer.cancel(), timer.is_waiting) == (
        True,
        True,
        False,
        False,
    )
    assert len(node.table.timers) == 0


def test_periodic_message_can_be_cancelled_while_it_is_sent(node):
    """§2.12: by whoever gets it in the hub."""
    sent = []
    timer = node.start_timer(0.001, "x", lambda: sent.append(timer.cancel()), Ticker)
    wait_until(lambda: sent)
    gevent.sleep(0.005)
    assert sent == [True]


def test_periodic_message_ends_with_its_receiver(node, receiver):
    """§2.12"""
    timer = process.every(60, "tick", dest=receiver)
    node.terminate(receiver)
    wait_until(lambda: not timer.is_waiting)
    assert len(node.table.timers) == 0


def test_periodic_message_means_who_holds_the_name_now(node, receiver):
    """§2.12: it ends with that one, and its successor starts its own."""
    timer = process.every(60, "tick", dest="receiver")
    node.terminate(receiver)
    wait_until(lambda: not process.is_alive(receiver))
    node.spawn(collect, ([],), name="receiver")
    wait_until(lambda: not timer.is_waiting)


def test_periodic_message_survives_its_sender(in_process, receiver, messages):
    """§2.12"""
    in_process(lambda: process.every(0.001, "tick", dest=receiver))
    wait_until(lambda: len(messages) >= 2)


def test_nothing_is_sent_again_and_again_to_the_dead(node, in_process):
    """§2.12"""
    assert not process.every(60, "tick", dest=in_process(process.pid)).is_waiting
    assert len(node.table.timers) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        pytest.param((0, "t"), ValueError, "more than 0, got 0", id="zero"),
        pytest.param((-1, "t"), ValueError, "more than 0, got -1", id="past"),
        pytest.param(("1s", "t"), ValueError, "more than 0, got '1s'", id="text"),
        pytest.param((float("inf"), "t"), ValueError, "got inf", id="never"),
        pytest.param((1, ""), ValueError, "a topic is not empty", id="no topic"),
        pytest.param((1, "@exit"), ValueError, "no '@' first", id="reserved"),
        pytest.param((1, "t", None, "a@b"), InvalidPID, "host@node/id", id="no PID"),
        pytest.param((1, "t", None, "nobody"), NameNotRegistered, "'nobody'", id="no name"),
    ],
)
def test_bad_use_of_every_is_an_error_at_once(node, in_process, arguments, error, text):
    with pytest.raises(error, match=text):
        in_process(process.every, *arguments)
    assert len(node.table.timers) == 0
