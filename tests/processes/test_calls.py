"""Calls and replies (§2)."""

import time

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import (
    CallTimeout,
    InvalidPID,
    NameNotRegistered,
    NotACall,
    ProcessDown,
)
from greenrelay.message import Message
from greenrelay.testing import wait_until
from tests.sample_processes import collect, crash, echo, idle


@pytest.fixture
def requests():
    return []


@pytest.fixture
def silent(node, requests):
    """The PID of a process that keeps its messages and replies to none."""
    return node.spawn(collect, (requests,))


# -- with a reply ------------------------------------------------------------------------


def test_view_gets_a_reply(node):
    """§2: whoever is no process may call, too."""
    assert process.call(node.spawn(echo), "ask", {"a": 1}) == {"a": 1}


def test_process_gets_a_reply(node, in_process):
    pid = node.spawn(echo)
    assert in_process(lambda: process.call(pid, "ask", [1, 2])) == [1, 2]


def test_name_may_be_called(node):
    node.spawn(echo, name="echo")
    assert process.call("echo", "ask", 1) == 1


def test_callee_sees_topic_payload_and_sender(node, in_process):
    def describe():
        message = process.inbox().receive()
        message.reply((message.topic, message.payload, message.sender))

    pid = node.spawn(describe)
    topic, payload, sender = in_process(lambda: process.call(pid, "ask", 7))
    assert (topic, payload, sender.host) == ("ask", 7, "proc")


def test_reply_may_be_nothing(node):
    assert process.call(node.spawn(echo), "ask") is None


def test_listener_gets_calls_of_its_topic(node):
    pid = node.spawn(lambda: process.listen("ask").receive().reply("heard"))
    gevent.sleep(0)
    assert process.call(pid, "ask") == "heard"


def test_somebody_else_may_reply(node):
    """A message is handed on with the right to reply to it."""
    clerk = node.spawn(lambda: process.inbox().receive().payload.reply("from the clerk"))
    desk = node.spawn(lambda: process.send(clerk, "work", process.inbox().receive()) and idle())
    assert process.call(desk, "ask") == "from the clerk"


def test_replies_do_not_get_mixed_up(node):
    def backwards():
        requests = [process.inbox().receive() for _ in range(10)]
        for request in reversed(requests):
            request.reply(request.payload)

    pid, replies = node.spawn(backwards), {}
    for number in range(10):
        node.spawn(lambda number=number: replies.update({number: process.call(pid, "ask", number)}))
    wait_until(lambda: len(replies) == 10)
    assert replies == {number: number for number in range(10)}


def test_other_messages_wait_in_the_inbox_meanwhile(node, in_process):
    def caller():
        desk = node.spawn(meddle, (process.pid(),))
        answer = process.call(desk, "ask")
        return answer, process.inbox().receive(timeout=0).topic

    def meddle(caller):
        request = process.inbox().receive()
        process.send(caller, "something else")
        request.reply("the answer")

    assert in_process(caller) == ("the answer", "something else")


def test_reply_that_came_before_the_end_counts(node):
    """§2.2: what was sent before a process ends arrives before the news of its end."""
    pid = node.spawn(lambda: process.inbox().receive().reply("last words") and crash())
    assert process.call(pid, "ask") == "last words"


# -- without -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(lambda: None, "normal", id="returns"),
        pytest.param(crash, "error: RuntimeError: boom", id="crashes"),
        pytest.param(lambda: process.exit("shutdown"), "shutdown", id="exits"),
    ],
)
def test_end_of_the_callee_ends_the_call(node, body, reason):
    """§2: at once, not at the time-out."""
    pid = node.spawn(lambda: process.inbox().receive() and body())
    with pytest.raises(ProcessDown, match=f"{pid} is down: {reason}") as caught:
        process.call(pid, "ask", timeout=None)
    assert (caught.value.pid, caught.value.reason) == (pid, reason)


def test_killed_callee_ends_the_call(node, silent, requests):
    def kill():
        wait_until(lambda: requests)
        node.terminate(silent)

    gevent.spawn(kill)
    with pytest.raises(ProcessDown, match="killed"):
        process.call(silent, "ask", timeout=None)


def test_call_to_the_dead_fails_at_once(in_process):
    """§2"""
    dead = in_process(process.pid)
    with pytest.raises(ProcessDown, match="noproc"):
        process.call(dead, "ask", timeout=None)


def test_request_that_comes_too_late_fails_with_the_callee(node):
    """It is cancelled, so its inbox takes nothing, but it has not ended yet."""

    def slow():
        idle()
        gevent.sleep(0.01)

    pid = node.spawn(slow)
    node.cancel(pid)
    with pytest.raises(ProcessDown, match="cancelled"):
        process.call(pid, "ask", timeout=None)


def test_call_takes_no_longer_than_its_time_out(silent):
    """§2"""
    before = time.monotonic()
    with pytest.raises(CallTimeout, match=r"in 0.02 s; call\(…, timeout=…\) waits longer"):
        process.call(silent, "ask", timeout=0.02)
    assert 0.02 <= time.monotonic() - before < 2


def test_time_out_of_the_caller_is_its_own(silent):
    own = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, own:
        process.call(silent, "ask", timeout=5)
    assert caught.value is own


def test_late_reply_reaches_nobody(silent, requests, in_process):
    """§2"""

    def caller():
        with pytest.raises(CallTimeout):
            process.call(silent, "ask", timeout=0.001)
        is_heard = requests[0].reply("late")
        return is_heard, process.inbox().receive(timeout=0.005)

    assert in_process(caller) == (False, None)


def test_second_reply_reaches_nobody(node):
    replies = []

    def twice():
        request = process.inbox().receive()
        replies.extend(request.reply(number) for number in (1, 2))

    assert process.call(node.spawn(twice), "ask") == 1
    assert replies == [True, False]


# -- what is left ------------------------------------------------------------------------


def end_by_time_out(pid):
    with pytest.raises(CallTimeout):
        process.call(pid, "ask", timeout=0.001)


def end_by_kill(pid):
    caller = process.spawn(process.call, pid, "ask", timeout=None)
    gevent.sleep(0)
    process.terminate(caller)
    wait_until(lambda: process.info(caller) is None)


@pytest.mark.parametrize("end", [end_by_time_out, end_by_kill])
def test_nothing_is_left_of_a_call(node, silent, end):
    before = len(node)
    end(silent)
    assert len(node) == before
    assert node.topology.is_empty()


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_stopping_node_gives_up_its_calls(node, silent, observer, how):
    caller = node.spawn(process.call, (silent, "ask", None, None))
    observer.watch(caller)
    gevent.sleep(0)
    (call,) = [entity for entity in node if entity.pid.host == "call"]
    getattr(node, how)(call.pid)
    assert observer.wait_for(caller).reason.startswith(f"error: ProcessDown: {call.pid} is down")


# -- bad use -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dest", "topic", "error", "text"),
    [
        pytest.param("nobody", "ask", NameNotRegistered, "nobody holds the name", id="name"),
        pytest.param("a@b", "ask", InvalidPID, "host@node/id", id="no PID"),
        pytest.param(None, "ask", InvalidPID, "got NoneType", id="none"),
        pytest.param("echo", "", ValueError, "a topic is not empty", id="no topic"),
        pytest.param("echo", "@exit", ValueError, "no '@' first", id="reserved topic"),
        pytest.param("echo", 7, TypeError, "a topic is a str, got int", id="topic is no text"),
    ],
)
def test_bad_call_is_an_error_at_once(node, dest, topic, error, text):
    node.spawn(echo, name="echo")
    with pytest.raises(error, match=text):
        process.call(dest, topic)


def test_process_can_not_call_itself(in_process):
    with pytest.raises(ValueError, match=r"would wait for its own reply; send\(\)"):
        in_process(lambda: process.call(process.pid(), "ask"))


def test_reply_to_what_was_sent_says_what_to_do(in_process):
    def body():
        process.send(process.pid(), "told")
        process.inbox().receive().reply("why?")

    with pytest.raises(NotACall, match=r"'told' was sent.*process.send\(message.sender"):
        in_process(body)


# -- the end of the caller (§2.8) -----------------------------------------------------------


def call_and_go_on(callee, notes):
    try:
        process.call(callee, "ask", timeout=None)
    except ProcessDown:
        notes.append("told")
    notes.append("went on")


@pytest.mark.parametrize("end", [process.terminate, lambda pid: process.send(pid, "crash")])
def test_caller_that_dies_with_its_callee_does_nothing_more(node, observer, end):
    """§2.8: the news reached it in its `call()`, and so did its own end."""
    notes = []

    def callee():
        for message in process.inbox():
            if message.topic == "crash":
                process.exit("crash")

    def caller(callee):
        process.link(callee)
        call_and_go_on(callee, notes)

    pid = process.spawn(callee)
    dead = process.spawn(caller, pid)
    observer.watch(dead)
    gevent.sleep(0)
    end(pid)
    assert observer.wait_for(dead).reason in ("killed", "crash")
    assert notes == []


def test_caller_that_is_killed_as_its_reply_comes_does_nothing_more(node, observer, silent):
    """§2.8"""
    notes = []
    caller = process.spawn(call_and_go_on, silent, notes)
    observer.watch(caller)
    wait_until(lambda: any(entity.pid.host == "call" for entity in node))
    (call,) = [entity for entity in node if entity.pid.host == "call"]
    call.deliver(Message("@reply", 1))
    process.terminate(caller)
    assert observer.wait_for(caller).reason == "killed"
    assert notes == []
