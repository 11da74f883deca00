"""The death of an interpreter on which ten thousand monitors of ours hang (§7.2)."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import gevent
from gevent import subprocess

from greenrelay import process
from greenrelay.cluster.joining import join, leave
from greenrelay.pid import PID
from greenrelay.process import on_node
from greenrelay.processes.node import Node
from greenrelay.testing import wait_until

ROOT = Path(__file__).parents[2]
COUNT = 10_000
MAX_GAP_SECONDS = 0.05

PROGRAM = f"""
import json, gevent
from greenrelay import process
from greenrelay.cluster.joining import join
from greenrelay.processes.interpreter import default_node
from tests.cluster.acts import idle

join(default_node(), "local:")
print(json.dumps([process.spawn(idle) for _ in range({COUNT})]), flush=True)
gevent.sleep(60)
"""


def longest_gap(is_done):
    """Return the most CPU time, in seconds, that our thread took between two ticks of 1 ms.

    Not the time of the clock, which is other programs', too.
    """
    longest, last = 0.0, time.thread_time()
    deadline = time.monotonic() + 20
    while not is_done() and time.monotonic() < deadline:
        gevent.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert is_done()
    return longest


def test_the_death_of_an_interpreter_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    node, reasons = Node("here"), []
    join(node, "local:")
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    pids = [PID.parse(text) for text in json.loads(child.stdout.readline())]

    def watch():
        for pid in pids:
            process.monitor(pid)
        for event in process.events():
            reasons.append(event.reason)

    with on_node(node):
        pid = process.spawn(watch)
    (peer,) = node.table.elsewhere.peers
    wait_until(lambda: len(peer.watched) == COUNT and not peer.pending())
    child.kill()
    gap = longest_gap(lambda: len(reasons) == COUNT)
    child.wait()
    child.stdout.close()
    node.terminate(pid)
    wait_until(lambda: not len(node))
    leave(node)
    assert reasons == COUNT * ["noconnection"]
    assert gap < MAX_GAP_SECONDS
