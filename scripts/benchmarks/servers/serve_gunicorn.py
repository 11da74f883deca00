"""One of the servers here under gunicorn, with one worker, as apps have it.

`serve_gunicorn.py MODULE:APP -k WORKER_CLASS …` opens the port, says it, and becomes gunicorn.
Who connects before the worker is there waits until it is.
"""

import os
import socket
import sys
from pathlib import Path

from common import BACKLOG, say_port

COMMAND = (
    *("-m", "gunicorn", "--chdir", str(Path(__file__).parent), "--backlog", str(BACKLOG)),
    *("--worker-connections", "20000", "--graceful-timeout", "1"),
)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    os.set_inheritable(listener.fileno(), True)
    say_port(listener.getsockname()[1])
    bind = ("--bind", f"fd://{listener.fileno()}")
    os.execv(sys.executable, [sys.executable, *COMMAND, *bind, *sys.argv[1:]])
