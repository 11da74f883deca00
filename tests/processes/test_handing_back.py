"""What has ended holds nothing any more, also for whoever still holds *it*."""

import gc
import weakref

from greenrelay.message import Message
from greenrelay.testing import fake_websocket, wait_until
from greenrelay.web.quota import Quota
from tests.sample_processes import crash, idle
from tests.targets import RecordingTarget


class Large:
    """Something that a process is handed, and that one can see going."""


def keep(large):
    idle()


def test_process_that_has_ended_takes_no_message_from_whoever_still_holds_it(node):
    """§2.2: a connection holds its target; what it hands on then must not be lost in silence."""
    for end in (lambda: None, crash):
        process = node.find(node.spawn(end))
        wait_until(lambda process=process: process.has_ended)
        assert not process.deliver(Message("late"))


def test_process_that_was_killed_takes_no_message(node):
    """§2.8"""
    pid = node.spawn(idle)
    process = node.find(pid)
    node.terminate(pid)
    wait_until(lambda: process.has_ended)
    assert not process.deliver(Message("late"))


def test_arguments_of_a_process_go_with_it(node):
    """Its monitors and names may hold it for longer; what it was given may be large."""
    positional, named = Large(), Large()
    fates = [weakref.ref(positional), weakref.ref(named)]
    pids = [node.spawn(keep, (positional,)), node.spawn(keep, (), {"large": named})]
    held = [node.find(pid) for pid in pids]
    del positional, named
    assert None not in [fate() for fate in fates]
    for pid in pids:
        node.cancel(pid)
    wait_until(lambda: all(process.has_ended for process in held))
    wait_until(lambda: gc.collect() >= 0 and [fate() for fate in fates] == [None, None])


def test_quota_forgets_an_address_with_its_last_connection(node):
    """§8: or it grows with every address that was ever here."""
    quota, recorder = Quota(per_address=2), RecordingTarget(node)
    for number in range(1, 200):
        address = f"192.0.2.{number}"
        quota.check(address)
        session = fake_websocket(node, recorder.pid)
        quota.count(node, session.pid, address)
        session.kill()
    assert repr(vars(quota)) == repr(vars(Quota(per_address=2)))
