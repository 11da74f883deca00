"""Making a process: named, linked and monitored before its first step (§2.1)."""

import gevent
import pytest

from greenrelay import process
from greenrelay.errors import InvalidPID
from greenrelay.processes.starting import Start, start_on
from greenrelay.testing import leaks


def idle():
    process.inbox().receive()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"target": 7}, TypeError, id="target"),
        pytest.param({"target": "no.such:thing"}, ValueError, id="text"),
        pytest.param({"name": "a@b"}, ValueError, id="name"),
        pytest.param({"host": "a b"}, InvalidPID, id="host"),
    ],
)
def test_what_cannot_be_started_leaves_nothing(node, fields, error):
    with pytest.raises(error):
        start_on(node, Start(**{"target": idle, "args": (), "kwargs": {}, **fields}))
    assert leaks(node) == []


def test_holder_of_the_name_is_no_new_process(node):
    start = Start(idle, (), {}, name="room")
    first, second = start_on(node, start), start_on(node, start)
    assert (first[1], second) == (True, (first[0], False))
    assert len(node) == 1
    node.terminate(first[0])


def test_process_is_known_before_its_first_step(node):
    steps = []
    pid, _ = start_on(node, Start(steps.append, ("step",), {}, name="room"))
    assert (node.is_alive(pid), node.registry.lookup("room"), steps) == (True, pid, [])
    gevent.sleep(0.01)
    assert (node.is_alive(pid), steps) == (False, ["step"])
