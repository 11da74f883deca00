"""Watching and talking to a process that is about to end (§2.2, §2.3)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.testing import wait_until
from tests.sample_processes import collect, crash, idle

BOOM = "error: RuntimeError: boom"

# -- what ends a process, and what does not any more (§2.2, §2.3) ---------------------------


def when_it_runs(stage, act):
    act()


def when_it_is_killed(stage, act):
    process.terminate(stage)
    act()


def when_it_tidies_up(stage, act):
    process.terminate(stage)
    gevent.sleep(0)
    act()


def when_it_is_gone(stage, act):
    process.terminate(stage)
    gevent.sleep(0.02)
    act()


def tidy():
    try:
        idle()
    finally:
        gevent.sleep(0.01)


@pytest.mark.parametrize(
    ("moment", "reason", "is_taken"),
    [
        (when_it_runs, "killed", True),
        (when_it_is_killed, "killed", False),
        (when_it_tidies_up, "killed", False),
        (when_it_is_gone, "noproc", False),
    ],
)
def test_whenever_it_is_set_a_monitor_brings_one_exit(in_process, moment, reason, is_taken):
    """§2.3; and a message is taken until the process is told to end."""

    def body():
        pid, sent = process.spawn(tidy), []
        gevent.sleep(0)
        moment(pid, lambda: process.monitor(pid) and sent.append(process.send(pid, "hello")))
        process.terminate(pid)
        exit = process.events().receive()
        return exit.reason, sent[0], process.events().receive(timeout=0.005)

    assert in_process(body) == (reason, is_taken, None)


@pytest.mark.parametrize("moment", [when_it_runs, when_it_is_killed, when_it_tidies_up])
def test_whenever_it_is_set_a_link_kills(node, observer, moment):
    """§2.4"""

    def body():
        pid = process.spawn(tidy)
        gevent.sleep(0)
        moment(pid, lambda: process.link(pid))
        process.terminate(pid)
        idle()

    assert observer.reason_of(node.spawn(body)) == "killed"


def test_cancelled_process_takes_no_message_any_more(node):
    """§2.5: it takes what it has, and `send` says that this is too late."""
    pid = node.spawn(tidy)
    gevent.sleep(0)
    node.cancel(pid)
    assert node.is_alive(pid)
    assert not process.send(pid, "hello")


@pytest.mark.parametrize("end", [lambda: None, crash, process.exit])
def test_last_words_arrive_before_the_exit(in_process, end):
    """§2.2"""

    def body():
        listener = process.pid()
        process.spawn(lambda: (process.send(listener, "last words"), end()), monitor=True)
        process.events().receive()
        return process.inbox().receive(timeout=0).topic

    assert in_process(body) == "last words"


def test_who_hears_of_a_death_can_not_reach_the_dead(node):
    """§2.3: the news come when it is over."""
    seen = []

    class Heir:
        def on_exit(self, exit):
            seen.append(process.send(exit.sender, "hello"))
            if len(seen) == 1:
                node.monitor(self, exit.sender)

    pid = node.spawn(idle)
    node.monitor(Heir(), pid)
    node.terminate(pid)
    wait_until(lambda: len(seen) == 2)
    assert seen == [False, False]


def test_news_of_many_ends_come_in_their_order(node, in_process):
    """§2.2"""

    def body():
        pids = [process.spawn(idle, monitor=True) for _ in range(20)]
        for pid in reversed(pids):
            process.terminate(pid)
        ended = [process.events().receive().sender for _ in pids]
        return ended == pids[::-1]

    assert in_process(body)


def test_dying_process_is_told_nothing_more(node):
    """Its monitors go with it, also those that have not fired."""
    messages = []
    other = node.spawn(collect, (messages,))
    pid = node.spawn(lambda: process.monitor(other) and None)
    wait_until(lambda: not node.is_alive(pid))
    assert node.topology.watchers(other) == []
