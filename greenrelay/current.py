"""Who is calling, and on which node: the process around the code, or the request's app.

in a process           that process, on its node
in a view              nobody, on the node of the view's app
anywhere else          nobody, on the interpreter's own node
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

from greenlet import getcurrent

from greenrelay.errors import ConfigurationError, NotAProcess
from greenrelay.lifecycle import Process
from greenrelay.node import Node
from greenrelay.pid import PID
from greenrelay.turn import Turn


class _Here(NamedTuple):
    """Where anonymous code runs: in the request that an app on a node handles."""

    node: Node
    make_turn: Callable[[], Turn] | None
    spawned: list[PID]


_here: ContextVar[_Here | None] = ContextVar("greenrelay.here", default=None)


class _Interpreter:
    """Holds the one node that plain code of this interpreter means."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.is_pinned = False


_interpreter = _Interpreter()


def current_process() -> Process | None:
    """Return the process around the calling code, `None` if there is none."""
    process: Process | None = getattr(getcurrent(), "process", None)
    return process


def require_process(call: str) -> Process:
    """Return the process around the calling code.

    Args:
        call: what was called, for the error.

    Raises:
        NotAProcess: there is none.
    """
    process: Process | None = getattr(getcurrent(), "process", None)
    if process is None:
        raise NotAProcess(
            f"process.{call} needs a process around it; start one with process.spawn(function), "
            f"and call {call} in that function"
        )
    return process


def current_node() -> Node:
    """Return the node that the calling code belongs to.

    A process has its own; a view has its app's; everything else means the
    interpreter's, which is made when it is first asked for.
    """
    process = current_process()
    if process is not None:
        node: Node = process.node
        return node
    here = _here.get()
    return default_node() if here is None else here.node


def current_pid() -> PID | None:
    """Return the caller's PID, `None` if the caller is anonymous."""
    process = current_process()
    return None if process is None else process.pid


def default_node(name: str | None = None) -> Node:
    """Return the interpreter's own node.

    Args:
        name: gives a node of that name; it becomes the interpreter's if there is none
            yet, or none that anybody has named.

    Raises:
        ConfigurationError: processes live on the interpreter's unnamed node already.
        InvalidPID: `name` can't stand in a PID.
    """
    node = _interpreter.node
    if node is not None and (_interpreter.is_pinned or name in (None, node.name)):
        return node
    if node is not None and node.has_default_name and len(node):
        raise ConfigurationError(
            f"the node can't be named {name!r} any more: {len(node)} processes live on it already; "
            "name it first, with GREENRELAY_NODE or --node, and spawn after GreenRelay(app)"
        )
    fresh = Node(name)
    if node is None or node.has_default_name:
        _interpreter.node = fresh
    return fresh


def pin_node(name: str) -> Node:
    """Name the interpreter's own node for good: no app's configuration changes it.

    Raises:
        InvalidPID: `name` can't stand in a PID.
    """
    node = default_node(name)
    _interpreter.is_pinned = True
    return node


@contextlib.contextmanager
def on_node(node: Node, make_turn: Callable[[], Turn] | None = None) -> Iterator[list[PID]]:
    """Let anonymous code in this block belong to `node`.

    Args:
        make_turn: gives what surrounds each message of the processes spawned here.

    Returns:
        A context manager; its value is the list of the PIDs spawned so far in the block.
    """
    here = _Here(node, make_turn, [])
    token = _here.set(here)
    try:
        yield here.spawned
    finally:
        _here.reset(token)


def make_turn() -> Turn | None:
    """Return what surrounds each message of a process that is spawned here and now.

    A process hands on what surrounds its own messages; a view's processes run in its app.
    """
    process = current_process()
    if process is not None:
        turn = process.mailbox.turn
        return None if turn is None else turn.fresh()
    here = _here.get()
    return here.make_turn() if here is not None and here.make_turn is not None else None


def note_spawned(pid: PID) -> None:
    """Remember what the request under way has spawned."""
    here = _here.get()
    if here is not None:
        here.spawned.append(pid)
