"""Who is calling, and on which node: the process around the code, or the request's app.

in a process           that process, on its node
in a view              nobody, on the node of the view's app
anywhere else          nobody, on the interpreter's own node; in a test, on its server's
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token

from greenlet import getcurrent

from greenrelay.errors import NotAProcess
from greenrelay.pid import PID
from greenrelay.processes.interpreter import this_interpreter
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.node import Node
from greenrelay.processes.turn import Turn


class Scope:
    """Where anonymous code runs: in the request that an app on a node handles.

    A context manager that may be entered again and again; its value is the list of the PIDs
    started so far in the block.

    Args:
        node: which one the code means.
        make_turn: gives what surrounds each message of the processes spawned here.
    """

    __slots__ = ("_token", "make_turn", "node", "started")

    def __init__(self, node: Node, make_turn: Callable[[], Turn] | None = None) -> None:
        self.node = node
        self.make_turn = make_turn
        self.started: list[PID] | None = None
        """`None` outside of the block: a greenlet that was made in it may go on for ever."""
        self._token: Token[Scope | None] | None = None

    def __enter__(self) -> list[PID]:
        self._token = _here.set(self)
        self.started = []
        return self.started

    def __exit__(self, *error: object) -> None:
        self.started = None
        assert self._token is not None  # it has been entered
        _here.reset(self._token)


_here: ContextVar[Scope | None] = ContextVar("greenrelay.here", default=None)


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
    process = current_process()
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
        return _node_of(process)
    here = _here.get()
    if here is not None:
        return here.node
    return this_interpreter().meant_node()


def _node_of(process: Process) -> Node:
    node = process.node
    assert isinstance(node, Node)  # a process asks less of it than others do of the caller's
    return node


def current_pid() -> PID | None:
    """Return the caller's PID, `None` if the caller is anonymous."""
    process = current_process()
    return None if process is None else process.pid


def on_node(node: Node, make_turn: Callable[[], Turn] | None = None) -> Scope:
    """Let anonymous code in this block belong to `node`; see `Scope`."""
    return Scope(node, make_turn)


def spawn_place() -> tuple[Node, Turn | None]:
    """Return where a process lives that is spawned here and now, and what surrounds its messages.

    A process hands on what surrounds its own messages; a view's processes run in its app.
    """
    process = current_process()
    if process is not None:
        turn = process.mailbox.turn
        return _node_of(process), None if turn is None else turn.fresh()
    here = _here.get()
    if here is not None and here.make_turn is not None:
        return here.node, here.make_turn()
    return current_node(), None


def note_started(pid: PID) -> None:
    """Remember what the request under way has started."""
    here = _here.get()
    if here is not None and here.started is not None:
        here.started.append(pid)
