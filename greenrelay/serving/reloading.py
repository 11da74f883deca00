"""`--reload`: the app is served by a child, and by another when a source file has changed.

    parent  supervise(): start a child ─► ended with `RELOAD`: start another ─► else: end likewise
    child   Watcher: a file has changed ─► stop in good order, and end with `RELOAD`
            end_with_parent(): it is gone, killed perhaps ─► stop in good order

So connections are closed with 1012 or `done` at each change, as at any other stop. Werkzeug's
own reloader is used for noticing a change only: it ends the interpreter in the middle of things.
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
"""Of a reload: somebody has just saved a file, and waits."""
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
    """Tell whether no child was before this one: then a mistake in the app ends the command."""
    return os.environ.get(_CHILD_KEY, "0") == "0"


def end_with_parent() -> None:
    """Have this child stop as by a closed terminal once its parent has ended.

    A parent that is killed can't forward a signal, and its child would go on holding the port. A
    native thread waits for its end, as code that never waits would keep a greenlet from it.
    """
    pipe = os.environ.pop(_PIPE_KEY, None)
    if pipe is not None:
        os.set_inheritable(int(pipe), False)
        get_original("_thread", "start_new_thread")(_wait_for_the_end, (int(pipe),))


def _wait_for_the_end(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written: this returns when the parent's end is closed
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as under nohup
    os.kill(os.getpid(), signal.SIGTERM if is_ignored else signal.SIGHUP)


def pick_port(host: str) -> int:
    """Return a port that is free on `host` now; 0 if there is none: the server will say why."""
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
    # 128 + N is how a shell says that signal N ended it. `RELOAD` here means that a signal came
    # while the child was ending for a reload: that is a good end.
    return 0 if code == RELOAD else code if code >= 0 else 128 - code


class _Parent:
    def __init__(self, command: list[str]) -> None:
        self.is_stopping = False
        self._command = command
        self._count = 0
        self._child: Any = None
        self._pipe, self._held = os.pipe()
        """The latter is open until this process ends; a child reads the end of the stream then."""

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
        """Note that this file has changed."""
        if not self._has_changed:
            self.log_reload(filename)
            self._has_changed = True
