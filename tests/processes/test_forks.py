"""A fork: the child's nodes begin empty, the parent's go on (§10.3)."""

import gc
import subprocess
import sys
import weakref

import pytest

from greenrelay.processes.node import Node

PARENT = """
import os, sys
import gevent
from greenrelay import process
from greenrelay.processes.interpreter import default_node

def loop(text):
    for message in process.inbox():
        print(text, message.topic, flush=True)

node = default_node()
pid = process.spawn(loop, "first", name="first")
{before}
process.send_after(0.05, "first", "timed")
child = os.fork()
if not child:
    gevent.reinit()
    {child}
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("parent", process.is_alive(pid), node.name.endswith(str(os.getpid())))
process.send("first", "hello")
gevent.sleep(0.1)
"""

LOOK = """
    print(node.name.endswith(str(os.getpid())))
    gevent.sleep(0.1)
    print(len(node), process.registry.lookup("first"))
    print(process.is_alive(pid), len(node.table.timers))
"""
GOES_ON = ["parent True True", "first hello", "first timed"]


def fork(child, before=""):
    """Return the lines that a program prints that forks, and what it logs."""
    program = PARENT.format(before=before, child=child)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("before", ["", "gevent.sleep(0)"], ids=["not begun", "begun"])
def test_a_child_s_node_begins_empty_and_its_parent_s_goes_on(before):
    """§10.3"""
    lines, log = fork(LOOK, before)
    assert lines == ["True", "0 None", "False 0", *GOES_ON]
    assert "loop (named 'first')" in log


def test_a_child_that_never_waits_says_nothing():
    """Most children only execute another program."""
    lines, log = fork("print('other program')")
    assert (lines, log) == (["other program", *GOES_ON], "")


def test_what_a_child_spawns_at_once_is_its_own():
    """§10.3: before its event loop has turned for the first time."""
    spawn = "mine = process.spawn(loop, 'child', name='first')"
    lines, _ = fork(
        f"{spawn}; process.send('first', 'hello'); gevent.sleep(0.1); print(mine != pid)"
    )
    assert lines == ["child hello", "True", *GOES_ON]


def test_no_pid_of_a_child_is_its_parents_too():
    """§10.3: also where a name that somebody has chosen stands for both."""
    lines, _ = fork(
        "print(chosen.make_pid('proc'))",
        "from greenrelay.processes.node import Node; chosen = Node('chosen'); "
        "import atexit; atexit.register(lambda: print(chosen.make_pid('proc')))",
    )
    of_child, of_parent = (line for line in lines if line.startswith("proc@chosen/"))
    assert of_child != of_parent


def test_many_processes_are_told_in_one_line():
    """§10.6"""
    many = "[process.spawn(loop, 'more') for _ in range(100)]"
    _, log = fork("gevent.sleep(0.1)", many)
    assert log.count("\n") == 1
    assert "98 more" in log


def test_a_node_is_not_kept_for_the_sake_of_forks():
    node = Node("short-lived")
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None
