"""What ends a process, and the reason that those who watch it are told."""

from __future__ import annotations

import logging

import gevent

from greenrelay.logs import log_now
from greenrelay.pid import PID
from greenrelay.processes.channel import ChannelClosed
from greenrelay.wire import CANCELLED, KILLED

log = logging.getLogger("greenrelay.process")


class ProcessExit(gevent.GreenletExit):
    """End the process it is raised in, with a reason.

    Derived from `GreenletExit`, so it passes `except Exception`, as `SystemExit` does.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def exit_reason(error: BaseException) -> str:
    """Return the exit reason for what a process has raised."""
    if isinstance(error, ProcessExit):
        return error.reason
    if isinstance(error, ChannelClosed):
        return CANCELLED
    if isinstance(error, gevent.GreenletExit):
        return KILLED
    return describe_error(error)


def is_crash(error: BaseException) -> bool:
    """Tell whether it is a failure, which is logged and handed to watchers, and no orderly end."""
    return not isinstance(error, gevent.GreenletExit)


def report_crash(pid: PID, error: BaseException) -> None:
    """Log what has ended a process; a Ctrl-C ends the program, too."""
    if isinstance(error, KeyboardInterrupt):
        gevent.get_hub().handle_system_error(type(error), error)
    log_now(log, logging.ERROR, "process %s crashed", pid, exc_info=error)


def describe_error(error: BaseException) -> str:
    """Return the exit reason for an exception: `error: <Type>: <text>`."""
    try:
        text = str(error)
    except Exception:  # whatever it can't say, its process has to end
        text = "?"
    return f"error: {type(error).__name__}: {text}"
