"""`--reload`: the app is served by a child, and by another when a source file has changed.

    parent  supervise(): start a child ─► ended with `RELOAD`: start another ─► else: end likewise
    child   Watcher: a file has changed ─► stop in good order, and end with `RELOAD`
            end_with_parent(): it is gone, killed perhaps ─► stop in good order

So clients get their goodbye at each change, as at any other end of the server.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.monkey import get_original
from gevent.subprocess import Popen
from werkzeug._reloader import StatReloaderLoop

RELOAD: Final = 3
"""Exit code of a child that wants to be started anew; Werkzeug's."""
DRAIN_SECONDS: Final = 2.0
"""Whoever has just saved a file does not wait for a process that is slow to end."""
_CHILD_KEY: Final = "GREENRELAY_RELOAD"
"""In a child's environment: how many there have been before it."""
_PIPE_KEY: Final = "GREENRELAY_RELOAD_PIPE"
"""In a child's environment: a file descriptor that reads as ended when its parent has ended."""

# A terminal's Ctrl-C reaches the child as well. SIGHUP begins a stop, and never is a second signal.
_FORWARDED: Final = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGHUP,
    signal.SIGHUP: signal.SIGHUP,
}


def is_child() -> bool:
    """Tell whether this interpreter has been started to serve."""
    return _CHILD_KEY in os.environ


def is_first() -> bool:
    """Tell whether it is the first of them: there a mistake in the app ends everything."""
    return os.environ.get(_CHILD_KEY, "0") == "0"


def end_with_parent() -> None:
    """Have this child stop as its terminal would have it, once its parent is gone.

    A parent that is killed tells nobody, and its child would hold the port. A native thread
    looks out for it, since code that never waits must not keep it from that.
    """
    pipe = os.environ.pop(_PIPE_KEY, None)
    if pipe is not None:
        os.set_inheritable(int(pipe), False)
        get_original("_thread", "start_new_thread")(_wait_for_the_end, (int(pipe),))


def _wait_for_the_end(pipe: int) -> None:
    os.read(pipe, 1)  # nobody writes
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as under nohup
    os.kill(os.getpid(), signal.SIGTERM if is_ignored else signal.SIGHUP)


def pick_port(host: str) -> int:
    """Return a port that is free on `host` now; 0 for a host that the server will complain of."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return 0
        port: int = sock.getsockname()[1]
        return port


def supervise(*further: str) -> int:
    """Run this very command in children until one ends by itself; return its exit code.

    Args:
        further: options for the children, which win over the command's own.
    """
    parent = _Parent([sys.executable, "-m", "greenrelay", *sys.argv[1:], *further])
    for number, sent in _FORWARDED.items():
        gevent.signal_handler(number, parent.forward, sent)
    code = RELOAD
    while code == RELOAD and not parent.is_stopping:
        code = parent.run_child()
    # As a shell says that a signal ended it; a child that had begun to reload has ended well.
    return 0 if code == RELOAD else code if code >= 0 else 128 - code


class _Parent:
    def __init__(self, command: list[str]) -> None:
        self.is_stopping = False
        self._command = command
        self._count = 0
        self._child: Any = None
        self._pipe, self._held = os.pipe()
        """The latter is for as long as we live: children see when it is closed."""

    def run_child(self) -> int:
        environ = {**os.environ, _CHILD_KEY: str(self._count), _PIPE_KEY: str(self._pipe)}
        self._count += 1
        self._child = Popen(self._command, env=environ, pass_fds=(self._pipe,))
        code: int = self._child.wait()
        return code

    def forward(self, number: int) -> None:
        self.is_stopping = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


class Watcher(StatReloaderLoop):
    """Notices that a source file has changed; make it before the app is imported.

    Changes are measured by what there is now: one that is made during the import counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_changed = False
        self.__enter__()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called, in a greenlet, when a file has changed."""
        gevent.spawn(self.run).link(lambda _: on_change())

    def wait(self) -> None:
        """Wait until a file has changed. Switches: yes."""
        gevent.spawn(self.run).join()

    def run(self) -> None:
        """Look again and again, until a file has changed."""
        while not self._has_changed:
            gevent.sleep(self.interval)
            self.run_step()

    def trigger_reload(self, filename: str) -> None:
        """Take note: this has changed."""
        if not self._has_changed:
            self.log_reload(filename)
            self._has_changed = True
