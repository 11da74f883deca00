"""What a watch over the loop tells of who keeps it (§9)."""

import sys

import gevent

from greenrelay.serving.stopping import LoopWatch, _app_frame, is_running
from tests.sample_processes import idle


def test_a_process_that_waits_does_not_run(node):
    pid = node.spawn(idle)
    gevent.idle()
    assert not is_running(node.find(pid))


def test_a_process_that_has_not_begun_does_not_run(node):
    assert not is_running(node.find(node.spawn(idle)))


def test_a_process_that_has_the_interpreter_runs(node, in_process):
    assert in_process(lambda: [is_running(entity) for entity in node]) == [True]


def test_who_keeps_the_loop_is_named_with_the_place(node, in_process):
    """§9: the app's, whatever it has called."""
    pid, text = in_process(lambda: (next(iter(node)).pid, LoopWatch(node)._blocker()))
    assert text.startswith(f"process {pid} delays the stop, in ")


def test_a_request_has_no_pid(node):
    watch = LoopWatch(node)
    assert watch._blocker().startswith("a request or greenlet delays the stop, in ")


def test_the_place_is_the_innermost_that_is_not_greenrelays_own():
    here = sys._getframe()
    assert _app_frame(here) is here
    assert _app_frame(None) is None
