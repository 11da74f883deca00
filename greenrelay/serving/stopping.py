"""Signals that end an interpreter, whatever its event loop is doing.

    first   ─► the loop's next turn begins the stop; a loop that does not turn is reported
    second  ─► the kernel ends the interpreter, at once

Written by hand, as `gevent.signal_handler` runs in the loop, and `signal.signal` between two
byte codes of the main thread: code that never waits keeps both from running. So the first signal
is read by a native thread, from a pipe that the interpreter's C handler writes to. C code may
keep that thread from running, too: the second is left to the kernel's default action, for which
nothing of the interpreter has to run. Two rules: the thread touches the loop through
`run_callback_threadsafe` only, and it logs in yet another thread, so that a log handler's lock
can't hold it up.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import gevent
from gevent.monkey import get_original

from greenrelay.logs import log_now
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.node import Node

log = logging.getLogger("greenrelay.server")

STALL_SECONDS: Final = 1.0
"""A loop that has not turned for so long while it should be stopping is reported."""
EXTRA_SECONDS: Final = 3.0
"""After the drain time: what was killed may still run its `finally` blocks, and no longer."""
FORCED_EXIT_CODE: Final = 1
"""Exit code of an interpreter that did not end in good order."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_MAX_SIGNALS: Final = 64
"""Read at once; each is one byte in the pipe."""

_libc: Final = ctypes.CDLL(None)
_libc.signal.argtypes, _libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p

# Patched, they would be greenlets' and wait for the loop.
_start_thread: Callable[..., Any] = get_original("_thread", "start_new_thread")
_make_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")
_get_ident: Callable[[], int] = get_original("_thread", "get_ident")
_sleep: Callable[[float], None] = get_original("time", "sleep")


class LoopWatch:
    """Logs, from a native thread, what keeps the loop from turning while it should stop.

    Make it in the loop's own thread.

    Args:
        node: whose processes can be named.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop = gevent.get_hub().loop
        self._thread = _get_ident()
        self._told: set[str] = set()
        self._is_over = False

    def start(self, give_up_after: float | None = None) -> None:
        """Begin to watch.

        Args:
            give_up_after: seconds; a loop that stands still then ends the interpreter.
        """
        limit = None if give_up_after is None else time.monotonic() + give_up_after
        _start_thread(self._run, (limit,))

    def stop(self) -> None:
        """Watch no more."""
        self._is_over = True

    def _run(self, limit: float | None) -> None:
        while not self._is_over:
            if self._turns():
                _sleep(STALL_SECONDS)
                continue
            # What keeps the loop may hold a log handler's lock: this thread must not wait for it.
            _start_thread(self._report, ())
            if limit is not None and time.monotonic() > limit and not self._is_over:
                os._exit(FORCED_EXIT_CODE)

    def _turns(self) -> bool:
        lock = _make_lock()
        lock.acquire()
        self._loop.run_callback_threadsafe(lock.release)
        has_turned: bool = lock.acquire(timeout=STALL_SECONDS)
        return has_turned

    def _report(self) -> None:
        """Log what keeps the loop from turning; the same thing once."""
        blocker = self._blocker()
        if blocker not in self._told:
            self._told.add(blocker)
            log_now(
                log,
                logging.WARNING,
                "%s; it lets nobody else run. Wait there now and then, as gevent.sleep(0) does",
                blocker,
            )  # fmt: skip

    def _blocker(self) -> str:
        frame = _app_frame(sys._current_frames().get(self._thread))
        where = "?"
        if frame is not None:
            code = frame.f_code
            where = f"{frame.f_globals.get('__name__')}:{code.co_name} ({code.co_filename})"
        for entity in self._node:
            if isinstance(entity, Process) and is_running(entity):
                return f"process {entity.pid} delays the stop, in {where}"
        return f"a request or greenlet delays the stop, in {where}"


def is_running(process: Process) -> bool:
    """Tell from another thread whether it is this process that has the interpreter."""
    return bool(process.greenlet) and process.greenlet.gr_frame is None


def _app_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that is not greenrelay's or gevent's own, if there is one."""
    innermost = frame
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("greenrelay", "gevent"):
            return frame
        frame = frame.f_back
    return innermost


class StopSignals:
    """SIGTERM, SIGINT and SIGHUP: the first begins the stop, a second ends the interpreter.

    A SIGHUP does not count as a second: a terminal that closes, and systemd, send it beside
    others. One that is ignored, as under nohup, stays ignored. Make it in the main thread.

    Args:
        node: whose processes can be named.
        seconds: which the stop may take; a loop that stands still then ends the interpreter.
        begin: called once, in the loop.
    """

    def __init__(self, node: Node, seconds: float, begin: Callable[[], None]) -> None:
        self._watch = LoopWatch(node)
        self._seconds = seconds
        self._begin = begin
        self._loop = gevent.get_hub().loop
        self._has_begun = False
        self._count = 0
        self._numbers = list(_STOPPING)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._numbers.append(signal.SIGHUP)
        self._pipe, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, _leave_to_the_thread)
        for number in _STOPPING:
            _take_once(number)
        # A child that shares the pipe would report its own signals to us.
        os.register_at_fork(
            before=self._block, after_in_parent=self._unblock, after_in_child=self._restore
        )
        _start_thread(self._read, ())

    def close(self) -> None:
        """Report nothing any more, as the stop is over; a second signal still ends all at once."""
        self._watch.stop()

    def _block(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def _restore(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        self._unblock()

    def _read(self) -> None:
        while numbers := os.read(self._pipe, _MAX_SIGNALS):
            for number in numbers:
                if number in self._numbers:
                    self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number in _STOPPING:
            self._count += 1
        if self._count > 1:
            os._exit(FORCED_EXIT_CODE)
        if self._count == 1:
            for each in _STOPPING:
                _libc.signal(each, None)  # SIG_DFL; signal.signal() is for the main thread
        if not self._has_begun:
            self._has_begun = True
            self._loop.run_callback_threadsafe(self._begin)
            self._watch.start(self._seconds + EXTRA_SECONDS)


def _take_once(number: int) -> None:
    """Have the kernel restore a signal's default action as soon as it has come once.

    So a second one ends the interpreter, even if the thread has not read the first by then.
    """
    with contextlib.suppress(AttributeError):  # only glibc has it
        set_once = _libc.sysv_signal
        set_once.argtypes = ctypes.c_int, ctypes.c_void_p
        set_once(number, _libc.signal(number, None))


def _leave_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Do nothing here: Python calls this only when the code under way lets it."""
