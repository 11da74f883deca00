"""Names and groups by the API (§2)."""

import pytest

from greenrelay import process
from greenrelay.errors import (
    NameNotRegistered,
)
from greenrelay.pid import PID
from greenrelay.testing import wait_until
from tests.sample_processes import collect, idle

UNKNOWN = PID("proc@test/0123456789abcdef")

# -- names and groups --------------------------------------------------------------------


def test_process_registers_itself_or_another(node, in_process):
    """§2"""
    pid = node.spawn(idle)
    process.registry.register("other", str(pid))
    assert process.registry.lookup("other") == pid

    def body():
        process.registry.register("self")
        process.registry.register("self")
        return process.registry.lookup("self") == process.pid()

    assert in_process(body)
    assert process.registry.lookup("self") is None


def test_unregistered_name_reaches_nobody(node):
    """§2"""
    node.spawn(idle, name="name")
    assert process.registry.unregister("name")
    assert not process.registry.unregister("name")
    with pytest.raises(NameNotRegistered):
        process.send("name", "topic")


def test_group_reaches_its_members(node, messages):
    """§2"""
    group = process.group("room")
    pids = [node.spawn(collect, (messages,)) for _ in range(3)]
    for pid in pids:
        group.join(str(pid))
    assert group.members() == pids
    assert group.leave(pids[0])
    assert process.group("room").broadcast("topic", 1) == 2
    wait_until(lambda: len(messages) == 2)


def test_process_joins_and_leaves_itself(in_process):
    """§2"""

    def body():
        group = process.group("room")
        group.join()
        members = group.members()
        return members == [process.pid()], group.leave(), group.leave(), group.members()

    assert in_process(body) == (True, True, False, [])


def test_members_leave_when_they_end(node):
    """§2"""
    group = process.group("room")
    pids = [node.spawn(idle) for _ in range(2)]
    for pid in pids:
        group.join(pid)
    process.terminate(pids[0])
    wait_until(lambda: group.members() == pids[1:])
