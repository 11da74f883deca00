"""What a fork makes of a node: the child's begins empty, and what lived in its parent ends there.

    fork ─► in the child, at once: empty tables, a name of its own
         ─► in the child's event loop, if it ever turns: what was inherited is ended, and told

A server that loads the app and then forks its workers would otherwise have one process in
each of them, under one PID. Rule: the first step neither logs nor waits nor counts what
there is, for most children only execute another program.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final
from weakref import WeakMethod

from greenrelay.logs import log_soon
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.registry import Registry
from greenrelay.processes.table import Table

log = logging.getLogger("greenrelay.node")

MAX_SHOWN: Final = 3
"""Of many processes so many are named: their author knows the others."""


def at_fork(method: Callable[[], None]) -> None:
    """Have a method called in every child that is forked, as long as its object lives."""
    reference = WeakMethod(method)  # the interpreter keeps what it is given for ever

    def in_child() -> None:
        living = reference()
        if living is not None:
            living()

    os.register_at_fork(after_in_child=in_child)


def end_inherited(table: Table) -> None:
    """End the processes that a child has from its parent; one that has not begun never does.

    Args:
        table: the parent's. Its connections are left alone: to close their sockets here would
            end them there.
    """
    table.timers.clear()
    processes = [entity for entity in table if isinstance(entity, Process)]
    if not processes:
        return
    shown = [_describe(process, table.registry) for process in processes[:MAX_SHOWN]]
    more = [f"{len(processes) - MAX_SHOWN} more"] if len(processes) > MAX_SHOWN else []
    log_soon(
        log,
        logging.WARNING,
        "what was spawned before this worker was forked is not in this worker: %s; spawn it in "
        "a view, by name, or in gunicorn's hook post_worker_init",
        ", ".join(shown + more),
    )
    for process in processes:
        process.kill()


def _describe(process: Process, registry: Registry) -> str:
    names = ", ".join(map(repr, sorted(registry.names(process.pid))))
    return f"{process.info()['function']}{f' (named {names})' if names else ''}"
