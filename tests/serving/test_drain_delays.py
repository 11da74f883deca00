"""Who delays the stop: told in the log, and not for ever (§9)."""

import re
import time

import gevent
import pytest

from greenrelay import process
from greenrelay.serving.drain import drain
from greenrelay.testing import FakeClock, fake_websocket, wait_until
from tests.sample_processes import idle, sleep


def delays(caplog):
    """Return what was said of processes that delay the stop."""
    return [
        text for text in caplog.messages if "delays the stop" in text or "has not ended" in text
    ]


def test_process_that_does_not_end_is_named_once(node, caplog):
    """§9: with its PID and the function in which it is, at WARNING."""
    pid = node.spawn(sleep)
    node.spawn(idle)
    gevent.idle()
    drain(node, 0.1)
    assert delays(caplog) == [
        f"process {pid} delays the stop: it has been cancelled, "
        "is in tests.sample_processes:sleep, and is terminated now"
    ]
    assert [each.levelname for each in caplog.records] == ["WARNING"]


def test_process_that_takes_long_is_named_while_there_is_time(node, caplog):
    """§9: before the deadline."""
    pid = node.spawn(sleep)
    gevent.idle()
    draining = gevent.spawn(drain, node, 60)
    wait_until(lambda: delays(caplog))
    assert f"process {pid} delays the stop" in caplog.text
    assert re.search(r"is terminated in 5\d s", caplog.text)
    node.terminate(pid)
    draining.join(5)
    assert draining.ready()


def test_process_that_swallows_its_end_is_named_and_left(node, caplog):
    """§9: the stop goes on without it."""
    is_allowed = []

    def swallow():
        while not is_allowed:
            try:
                gevent.sleep(60)
            except BaseException:
                pass

    pid = node.spawn(swallow)
    gevent.idle()
    drain(node, 0.05)
    assert delays(caplog)[1] == (
        f"process {pid} has not ended, in {__name__}:swallow; the stop goes on without it"
    )
    is_allowed.append(True)
    node.terminate(pid)


def test_process_that_takes_long_in_its_finally_is_not_said_to_swallow_its_end(node, caplog):
    """§9: what is known is where it is."""

    def save():
        try:
            gevent.sleep(60)
        finally:
            gevent.sleep(60)

    pid = node.spawn(save)
    gevent.idle()
    drain(node, 0.05)
    line = f"process {pid} has not ended, in {__name__}:save; the stop goes on without it"
    assert delays(caplog)[1:] == [line]
    node.terminate(pid)


def test_many_that_delay_are_counted(node, caplog):
    """§9: a line each for the first, one for the rest."""
    for _ in range(30):
        node.spawn(sleep)
    gevent.idle()
    drain(node, 0.05)
    assert len(delays(caplog)) == 20
    assert "and 10 more processes delay the stop" in caplog.messages


def test_nobody_is_named_who_got_no_time(node, caplog):
    """§9: a drain of 0 s terminates at once."""
    node.spawn(sleep)
    gevent.idle()
    drain(node, 0)
    assert caplog.messages == []


def test_what_is_terminated_has_time_for_its_finally(node):
    """§9, §2.5"""
    done = []

    def save():
        try:
            gevent.sleep(60)
        finally:
            gevent.sleep(0.05)
            done.append(True)

    node.spawn(save)
    gevent.idle()
    drain(node, 0.05)
    assert done == [True]


def test_processes_have_time_when_a_client_never_answers(node):
    """§9: a quarter of it, whatever the connections do."""
    ends = []

    def target():
        for _ in process.inbox():
            pass
        gevent.sleep(0.05)
        ends.append(time.monotonic())

    fake_websocket(node, node.spawn(target), FakeClock())
    gevent.idle()
    drain(node, 1)
    assert len(ends) == 1


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_drain_ends_though_nobody_listens(node, seconds):
    """§9"""
    for _ in range(3):
        node.spawn(sleep)
    with gevent.Timeout(5):
        drain(node, seconds)
    assert len(node) == 0
