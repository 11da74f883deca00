"""One node needs nothing of a cluster (§7.1)."""

import subprocess
import sys

PROGRAM = """
import sys
from flask import Flask
from greenrelay import GreenRelay, process
GreenRelay(Flask("app"))
process.registry.lookup("nobody")
parts = ("greenrelay.cluster.", "msgpack", "redis")
print([name for name in sys.modules if name.startswith(parts)])
"""


def test_a_node_without_a_cluster_imports_nothing_of_it():  # §7.1
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
