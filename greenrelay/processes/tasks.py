"""Functions that run as processes of their own, while the caller waits for their values.

    run(load, 7)          ─► what it returned; or its exception, or `ProcessDown`
    gather(load, count)   ─► what each returned, in that order; or why the first of them failed

The rule: whatever ends the wait, a value, a failure, a time-out or the caller's own end, nothing
that was started for it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from gevent.event import Event

from greenrelay.errors import CallTimeout, ProcessDown
from greenrelay.message import Exit, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.children import is_number
from greenrelay.processes.current import current_pid, current_process, spawn_place
from greenrelay.processes.functions import name_of, resolve_target
from greenrelay.processes.node import Node
from greenrelay.processes.starting import Start, start_on
from greenrelay.wire import CANCELLED, NORMAL

if TYPE_CHECKING:  # in the standard library from Python 3.11 on; at runtime nobody needs it
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

GRACE_SECONDS: Final = 0.1
"""So long those may tidy up who hear that they are cancelled. Most functions don't listen, and the
caller waits with an error in its hands."""


# As with `spawn()`: no signature can have both the function's keywords and its own.
@overload
def run(target: str, *args: Any, timeout: float | None = ..., **kwargs: Any) -> Any: ...


@overload
def run(
    target: Callable[[Unpack[Arguments]], Value],
    *args: Unpack[Arguments],
    timeout: float | None = ...,
) -> Value: ...


@overload
def run(
    target: Callable[Parameters, Value], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Value: ...


def run(  # type: ignore[misc]  # the target's parameters may have the option's name
    target: Callable[..., Any] | str, *args: Any, timeout: float | None = None, **kwargs: Any
) -> Any:
    """Run `target(*args, **kwargs)` as a process of its own, and return what it returns.

    For what must not take its caller along when it is too slow or fails. It runs where a process
    runs that is spawned here: in the app's context, on its node. Works in a view, a process,
    plain code and other threads. Switches: yes. As with `call()`, messages gather in the inbox
    meanwhile. If the caller is killed, so is the process.

    Args:
        target: a callable, or `"package.module:function"`.
        timeout: seconds, for this call and not for the target; `None` waits for ever.

    Raises:
        Exception: whatever the target has raised, that very object; it is logged as any crash.
        ProcessDown: it ended otherwise: it was terminated or cancelled, called `exit()` with a
            reason, or raised what is no `Exception`, as `sys.exit()` does.
        CallTimeout: the time was up; it has been terminated.
        TypeError, ValueError: the target can't be called, or `timeout` is no number.
    """
    _check_timeout("run", timeout)
    node, turn = spawn_place()
    start = Start(_find("run", target), args, kwargs, turn=turn)
    return _wait_for(node, [start], timeout, "run")[0]


# As typeshed has asyncio's: a tuple of which each part has a type of its own. It is a list.
@overload
def gather(one: Callable[[], A], /, *, timeout: float | None = ...) -> tuple[A]: ...


@overload
def gather(
    one: Callable[[], A], two: Callable[[], B], /, *, timeout: float | None = ...
) -> tuple[A, B]: ...


@overload
def gather(
    one: Callable[[], A],
    two: Callable[[], B],
    three: Callable[[], C],
    /,
    *,
    timeout: float | None = ...,
) -> tuple[A, B, C]: ...


@overload
def gather(
    one: Callable[[], A],
    two: Callable[[], B],
    three: Callable[[], C],
    four: Callable[[], D],
    /,
    *,
    timeout: float | None = ...,
) -> tuple[A, B, C, D]: ...


@overload
def gather(
    one: Callable[[], A],
    two: Callable[[], B],
    three: Callable[[], C],
    four: Callable[[], D],
    five: Callable[[], E],
    /,
    *,
    timeout: float | None = ...,
) -> tuple[A, B, C, D, E]: ...


@overload
def gather(*targets: Callable[[], Value], timeout: float | None = ...) -> list[Value]: ...


@overload
def gather(*targets: Callable[[], Any] | str, timeout: float | None = ...) -> Any: ...


def gather(*targets: Callable[[], Any] | str, timeout: float | None = None) -> Any:
    """Run several functions at once, each as `run()` does, and return their values in this order.

    The first that fails cancels the others, and those that have not ended 0.1 s later are
    terminated; then its error is raised. Switches: yes.

    Args:
        targets: callables without arguments, `functools.partial(load, 7)` perhaps, or
            `"package.module:function"`. None at all give an empty list.
        timeout: seconds for all together; `None` waits for ever.

    Returns:
        A list, also where its type says tuple: so checkers know each value's type.

    Raises:
        Exception, ProcessDown: the first failure, as `run()` raises it.
        CallTimeout: the time was up; those that had not returned have been terminated.
        TypeError, ValueError: a target can't be called, or `timeout` is no number.
    """
    _check_timeout("gather", timeout)
    functions = [_find("gather", target) for target in targets]
    places = [spawn_place() for _ in functions]
    if not places:
        return []
    starts = [
        Start(each, (), {}, turn=turn) for each, (_, turn) in zip(functions, places, strict=True)
    ]
    return _wait_for(places[0][0], starts, timeout, "gather")


def _find(call: str, target: Callable[..., Any] | str) -> Callable[..., Any]:
    if not callable(target) and not isinstance(target, str):
        how = {
            "run": "a function, and then its arguments: run(load, 7)",
            "gather": "functions without arguments: gather(one, functools.partial(load, 7))",
        }
        raise TypeError(f"{call}() takes {how[call]}, got {target!r}")
    return resolve_target(target)


def _check_timeout(call: str, timeout: float | None) -> None:
    if timeout is not None and not is_number(timeout):
        raise ValueError(
            f"{call}(timeout=…) takes seconds, or None for no limit, got {timeout!r}; an argument "
            "of the function's own of that name goes into functools.partial(function, timeout=…)"
        )


def _wait_for(node: Node, starts: list[Start], timeout: float | None, call: str) -> list[Any]:
    process = current_process()
    try:
        outcome = node.thread.run_greenlet(_run_all, node, starts, timeout, call)
    finally:
        if process is not None:
            process.raise_if_killed()  # one of theirs may have been the caller's end, too
    if isinstance(outcome, list):
        return outcome
    try:
        raise _error_of(outcome)
    finally:
        del outcome  # its error holds this frame


def _error_of(exit: Exit) -> Exception:
    error = exit.error
    return error if isinstance(error, Exception) else ProcessDown(exit.sender, exit.reason)


def _run_all(node: Node, starts: list[Start], timeout: float | None, call: str) -> list[Any] | Exit:
    """Return what all returned, or the first end that was none. Switches: yes."""
    ends = _Ends(node)
    try:
        for start in starts:
            ends.expect(start_on(node, start)[0])
        ends.wait(timeout)
        if ends.failed is not None:
            ends.cancel()
        elif ends.missing:
            names = ", ".join(_name_of(starts[index]) for index in ends.missing)
            raise CallTimeout(
                f"{names} did not return in {timeout} s and was terminated; "
                f"{call}(…, timeout=…) waits longer"
            )
        return ends.failed or ends.values
    finally:
        ends.finish()


def _name_of(start: Start) -> str:
    return start.target if isinstance(start.target, str) else name_of(start.target)


class _Ends:
    """How the processes end that were started for one caller.

    Args:
        node: where they live.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refs: dict[PID, MonitorRef] = {}
        self._exits: dict[PID, Exit] = {}
        self._is_over = Event()
        self.failed: Exit | None = None
        """The first that did not return."""

    def expect(self, pid: PID) -> None:
        """Wait for one more, which has not taken its first step."""
        self._refs[pid] = self._node.monitor(self, pid)

    def on_exit(self, exit: Exit) -> None:
        """Take the news of one."""
        self._exits[exit.sender] = exit
        if exit.reason != NORMAL and self.failed is None:
            self.failed = exit
            self._is_over.set()
        elif len(self._exits) == len(self._refs):
            self._is_over.set()

    def wait(self, timeout: float | None) -> None:
        """Return when all have ended, one has failed, or the time is up. Switches: yes."""
        self._is_over.wait(timeout)

    @property
    def missing(self) -> list[int]:
        """The places of those that have not ended."""
        return [index for index, pid in enumerate(self._refs) if pid not in self._exits]

    @property
    def values(self) -> list[Any]:
        """What each has returned."""
        return [self._exits[pid].value for pid in self._refs]

    def cancel(self) -> None:
        """Ask those that go on to end, and wait a moment. Switches: yes."""
        going_on = [pid for pid in self._refs if pid not in self._exits]
        if going_on:
            self._is_over.clear()
            for pid in going_on:
                self._node.cancel(pid, current_pid(), CANCELLED)
            self._is_over.wait(GRACE_SECONDS)

    def finish(self) -> None:
        """Terminate those that still go on, and hear no more of any."""
        self._node.unmonitor(self._refs.values())
        for pid in self._refs:
            if pid not in self._exits:
                self._node.terminate(pid)
