"""Logging that clients and failing handlers can't abuse, and that is safe on the hub.

Every line of the package goes through here. What a client has chosen (paths, headers,
reasons) may hold line breaks and terminal sequences, which would forge lines of their
own: it is escaped. A handler that raises must not become the request's answer, or end
a process: its failure is told on standard error.

A log handler may take a lock or write to a pipe, and so switch greenlets, which the
hub must never do. A record from a hub callback, or from `deliver`, is handed to a
greenlet of its own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any


def log_now(logger: logging.Logger, level: int, text: str, *args: Any, **kwargs: Any) -> None:
    """Log; a handler that raises is reported on standard error, and raises nothing here.

    Args:
        text, args, kwargs: as `Logger.log` takes them.
    """
    if logger.isEnabledFor(level):
        try:
            logger.log(level, text, *map(_show, args), **{"stacklevel": 2, **kwargs})
        except Exception as error:
            report_failure(error)


def log_soon(logger: logging.Logger, level: int, text: str, *args: Any, **kwargs: Any) -> None:
    """Log from another greenlet, in the event loop's next turn; else as `log_now()`."""
    if logger.isEnabledFor(level):
        if kwargs.get("exc_info") is True:
            kwargs["exc_info"] = sys.exc_info()  # the other greenlet has none
        import gevent  # not above: a client of a cluster logs, and does without

        gevent.spawn_raw(log_now, logger, level, text, *args, **kwargs)


def report_failure(error: Exception) -> None:
    """Tell on standard error that a line could not be logged, and why."""
    with contextlib.suppress(Exception):  # there is no place left to tell it
        sys.stderr.write(f"greenrelay: a log handler failed: {error!r}\n")


def escape(text: str) -> str:
    """Return a text in printable ASCII on one line, and without double quotes.

    It can stand between double quotes, in which access logs put the request line.
    """
    # Not a codec: those are imported when first used, which takes a descriptor, of which there
    # may be none left.
    return ascii(text)[1:-1].replace('"', "\\x22")


def _show(arg: Any) -> Any:
    if isinstance(arg, BaseException):
        arg = str(arg)
    return _Escaped(arg) if isinstance(arg, str) and not arg.isprintable() else arg


class _Escaped(str):
    """A text that `%s` shows as `%r` would, without the quotes."""

    __slots__ = ()

    def __str__(self) -> str:
        return repr(self)[1:-1]
