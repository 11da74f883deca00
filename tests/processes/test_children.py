"""What a supervisor starts, and when it starts it again (§2.8)."""

import time

import pytest

from greenrelay.processes.children import MAX_BACK_OFF_SECONDS, Child, Restarts, Running, is_number


def work():
    """What a child runs."""


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        pytest.param({"target": 7}, TypeError, "7", id="target"),
        pytest.param({"name": "a@b"}, ValueError, "a@b", id="name"),
        pytest.param({"shutdown": -1}, ValueError, "seconds, 0 or more", id="negative"),
        pytest.param({"shutdown": True}, ValueError, "seconds, 0 or more", id="truth"),
        pytest.param({"shutdown": float("inf")}, ValueError, "None for no limit", id="infinite"),
        pytest.param({"restart": "always"}, ValueError, "one of permanent", id="restart"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_written_down(fields, error, text):
    with pytest.raises(error, match=text):
        Child(**{"target": work, **fields})


@pytest.mark.parametrize(
    ("restart", "reason", "is_restarted"),
    [
        ("permanent", "normal", True),
        ("permanent", "killed", True),
        ("transient", "normal", False),
        ("transient", "shutdown", False),
        ("transient", "cancelled", False),
        ("transient", "killed", True),
        ("temporary", "killed", False),
    ],
)
def test_restart_depends_on_the_reason(restart, reason, is_restarted):
    assert Child(work, restart=restart).is_restarted_after(reason) == is_restarted


def test_back_off_doubles_up_to_a_limit():
    restarts = Restarts(60.0)
    waits = []
    for _ in range(9):
        restarts.note()
        waits.append(restarts.back_off())
    assert waits[:4] == [0.0, 0.05, 0.1, 0.2]
    assert waits[-1] == MAX_BACK_OFF_SECONDS


def test_thousands_of_restarts_in_a_row_have_a_pause_too():
    """A supervisor of many children that bears them."""
    restarts = Restarts(60.0)
    for _ in range(5000):
        restarts.note()
    assert restarts.back_off() == MAX_BACK_OFF_SECONDS


def test_restarts_of_long_ago_do_not_count():
    restarts = Restarts(0.01)
    restarts.note()
    time.sleep(0.02)
    restarts.note()
    assert (len(restarts), restarts.back_off()) == (1, 0.0)


def test_end_of_a_child_gives_the_process_that_ran(node):
    running = Running(Child(work))
    pid = node.make_pid("proc")
    running.begin(pid, is_ours=True)
    assert (running.pid, running.due) == (pid, None)
    assert (running.end(), running.pid) == (pid, None)
    assert running.end() is None


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), -0.1])
def test_what_is_no_number_of_seconds(value):
    assert not is_number(value)
