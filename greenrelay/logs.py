"""Logging that is safe on the hub.

A log handler may take a lock or write to a pipe, and so switch greenlets, which
the hub must never do. A record from a hub callback, or from `deliver`, is handed
to a greenlet of its own.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import gevent


def log_soon(logger: logging.Logger, level: int, text: str, *args: Any, **kwargs: Any) -> None:
    """Log from another greenlet, in the event loop's next turn.

    Args:
        text, args, kwargs: as `Logger.log` takes them.
    """
    if logger.isEnabledFor(level):
        if kwargs.get("exc_info") is True:
            kwargs["exc_info"] = sys.exc_info()  # the other greenlet has none
        gevent.spawn_raw(logger.log, level, text, *args, **kwargs)
