"""Who is calling, and on which node: the process around the code, or the request's app.

in a process           that process, on its node
in a view              nobody, on the node of the view's app
anywhere else          nobody, on the interpreter's own node; in a test, on its server's
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from greenlet import getcurrent

from greenrelay.errors import ConfigurationError, NotAProcess
from greenrelay.pid import PID
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
        self._token: Any = None

    def __enter__(self) -> list[PID]:
        self._token = _here.set(self)
        self.started = []
        return self.started

    def __exit__(self, *error: object) -> None:
        self.started = None
        _here.reset(self._token)


_here: ContextVar[Scope | None] = ContextVar("greenrelay.here", default=None)


class _Interpreter:
    """Holds the one node that plain code of this interpreter means."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.is_pinned = False
        self.apps: WeakKeyDictionary[Any, tuple[Node, bool]] = WeakKeyDictionary()
        """Each app's node, and whether somebody chose it."""
        self.has_told = False
        self.made: WeakSet[Node] = WeakSet()
        """Its node, and those that have been it."""
        self.older: Node | None = None
        """What was its node before a test began."""
        self.served: Node | None = None
        """The node that plain code of a test means instead: its server's."""


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
    if here is not None:
        return here.node
    return default_node() if _interpreter.served is None else _interpreter.served


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
    _interpreter.made.add(fresh)
    if node is None or node.has_default_name:
        _interpreter.node = fresh
    return fresh


def share_node(app: Any, node: Node, is_chosen: bool) -> list[Any]:
    """Enter an app that lives on a node.

    Args:
        is_chosen: whether somebody said so; else it is the interpreter's for want of another.

    Returns:
        The apps that live there already, unless it was chosen for all of them; once.
    """
    others = _others_on(node, is_chosen)
    _interpreter.apps[app] = (node, is_chosen)
    if not others or _interpreter.has_told:
        return []
    del others
    gc.collect()  # an app of an earlier test, say, has not been one for long
    others = [other for other in _others_on(node, is_chosen) if other is not app]
    _interpreter.has_told = bool(others)
    return others


def _others_on(node: Node, is_chosen: bool) -> list[Any]:
    apps = _interpreter.apps.items()
    return [app for app, (where, chosen) in apps if where is node and not (chosen and is_chosen)]


def pin_node(name: str) -> Node:
    """Name the interpreter's own node for good: no app's configuration changes it.

    Raises:
        InvalidPID: `name` can't stand in a PID.
    """
    node = default_node(name)
    _interpreter.is_pinned = True
    return node


def on_node(node: Node, make_turn: Callable[[], Turn] | None = None) -> Scope:
    """Let anonymous code in this block belong to `node`; see `Scope`."""
    return Scope(node, make_turn)


def is_interpreters(node: Node) -> bool:
    """Tell whether `node` is, or was, the interpreter's own, and not one that an app was given."""
    return node in _interpreter.made


def likely_node() -> Node:
    """Return the node of an app that does not say which: the interpreter's when it was made."""
    if _interpreter.node is None and _interpreter.older is not None:
        return _interpreter.older
    return default_node()


@contextlib.contextmanager
def fresh_interpreter() -> Iterator[Callable[[Node], None]]:
    """Let this block begin as a new interpreter does, for a test: without a node.

    Returns:
        A context manager; its value is called with the node that plain code means from then on.
        (Not the node of apps that are made then: each of them may have its own server.)
    """
    kept = vars(_interpreter).copy()
    fresh = {**vars(_Interpreter()), "made": kept["made"], "older": kept["node"]}
    fresh["has_told"] = True  # each of the test's servers has a node of its own
    vars(_interpreter).update(fresh)

    def mean(node: Node) -> None:
        _interpreter.served = node

    try:
        yield mean
    finally:
        vars(_interpreter).update(kept)


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


def note_started(pid: PID) -> None:
    """Remember what the request under way has started."""
    here = _here.get()
    if here is not None and here.started is not None:
        here.started.append(pid)
