"""Starting and ending processes; see `greenrelay.process`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, ParamSpec, overload

from greenrelay.pid import PID
from greenrelay.processes import anywhere
from greenrelay.processes.current import (
    current_node,
    current_pid,
    current_process,
    note_started,
    require_process,
    spawn_place,
)
from greenrelay.processes.endings import ProcessExit
from greenrelay.processes.node import Node
from greenrelay.processes.registry import Scope
from greenrelay.processes.starting import Start, start_on
from greenrelay.processes.turn import Turn
from greenrelay.wire import HOST_PROCESS, NORMAL

if TYPE_CHECKING:  # in the standard library from Python 3.11 on; at runtime nobody needs it
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

Parameters = ParamSpec("Parameters")


# How a checker sees a spawn: a name is not looked up; with options, positional arguments are
# checked; without, all are. (No signature can have both the target's keywords and its own.)
@overload
def spawn(
    target: str,
    *args: Any,
    host: str = ...,
    name: str | None = ...,
    link: bool = ...,
    monitor: bool = ...,
    scope: Scope = ...,
    **kwargs: Any,
) -> PID: ...


@overload
def spawn(
    target: Callable[[Unpack[Arguments]], object],
    *args: Unpack[Arguments],
    host: str = ...,
    name: str | None = ...,
    link: bool = ...,
    monitor: bool = ...,
    scope: Scope = ...,
) -> PID: ...


@overload
def spawn(
    target: Callable[Parameters, object], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> PID: ...


def spawn(  # type: ignore[misc]  # the target's parameters may have the options' names
    target: Callable[..., Any] | str,
    *args: Any,
    host: str = HOST_PROCESS,
    name: str | None = None,
    link: bool = False,
    monitor: bool = False,
    scope: Scope = "cluster",
    **kwargs: Any,
) -> PID:
    """Start a process that runs `target(*args, **kwargs)`.

    Args:
        target: a callable, or `"package.module:function"`.
        host: what stands before the `@` of its PID.
        name: registered at once. If it is taken, nothing is spawned, and `args` are not
            looked at: one room per name, without a race.
        link: link it with the caller, before its first step; also the one that holds `name`.
        monitor: have the caller monitor it, before its first step; also the one that holds
            `name`.
        scope: among whom `name` is unique: `cluster`, all nodes that talk, in which case the
            call may wait for their answer; or `node`, the processes of this one.

    Type checkers compare `args` and `kwargs` with the target's parameters. They can't where
    there are both keywords for the target and options: `functools.partial(target, key=value)`
    puts the keywords where they can.

    Returns:
        Its PID, or the PID that already holds `name`: perhaps of a process that is about to
        end, so that a message to it may come too late, as with any PID.

    Raises:
        NotAProcess: `link` or `monitor` is set outside of a process.
        TypeError: `target` can't be called.
        ValueError: `target` names nothing, or `name` is no name.
        InvalidPID: `host` can't stand in a PID.
        ClusterError: the cluster can't be asked for the name just now.
    """
    call = (target, args, kwargs)
    options = Options(host, name, link, monitor, scope)
    return spawn_in(*spawn_place(), call, options)[0]


class Options(NamedTuple):
    """How a process is to be started; see `spawn()`."""

    host: str = HOST_PROCESS
    name: str | None = None
    link: bool = False
    monitor: bool = False
    scope: Scope = "cluster"


def spawn_in(
    node: Node,
    turn: Turn | None,
    call: tuple[Callable[..., Any] | str, tuple[Any, ...], dict[str, Any]],
    options: Options,
) -> tuple[PID, bool]:
    """Start a process on a node and in a turn that are not the caller's own.

    Args:
        turn: what surrounds the handling of each message.
        call: target, args and kwargs.
        options: as for `spawn()`.

    Returns:
        Its PID, or that of the one that holds the name; and whether it is new.
    """
    linked = require_process("spawn(link=True)") if options.link else None
    watcher = require_process("spawn(monitor=True)") if options.monitor else None
    start = Start(*call, options.host, options.name, linked, watcher, turn, options.scope)
    pid, is_new = node.thread.run_greenlet(start_on, node, start)
    if is_new:
        note_started(pid)
    return pid, is_new


def pid() -> PID:
    """Return the caller's own PID.

    Raises:
        NotAProcess: the caller is none.
    """
    return require_process("pid()").pid


def is_alive(pid: str) -> bool:
    """Tell whether a process or connection lives under `pid`, a PID or a name.

    Switches: yes, if it is another node's.
    """
    node = current_node()
    if node.table.elsewhere is None:
        return node.is_alive(pid)
    return node.thread.run_greenlet(anywhere.is_alive, node, pid)


def info(pid: str) -> dict[str, Any] | None:
    """Return what is known about a process or connection; `None`: it is dead.

    Switches: yes, if it is another node's.

    Returns:
        `{"pid": PID, "uptime": seconds, "names": list, "groups": list, "links": list of PIDs,
        "watchers": int}`; for a process also `"mailbox": int, "monitors": list of PIDs,
        "function": str` (where it is just now); for a connection also `"target": PID,
        "unsent": bytes, "messages_in": int, "messages_out": int, "remote_address": str`.

    Raises:
        NameNotRegistered, InvalidPID: `pid` is neither a PID nor a registered name.
    """
    node = current_node()
    return node.thread.run_greenlet(anywhere.info, node, node.resolve(pid))


def exit(reason: str = NORMAL) -> NoReturn:
    """End the calling process with `reason`; anything but `normal` reaches its links.

    Raises:
        NotAProcess: the caller is none.
        TypeError, ValueError: `reason` is no text, or empty.
    """
    require_process("exit()")
    if not isinstance(reason, str):
        raise TypeError(f"exit() takes a reason like 'shutdown', got {reason!r}; return a value")
    if not reason:
        raise ValueError("exit() takes a reason like 'shutdown'; without any it is 'normal'")
    raise ProcessExit(reason)


def cancel(pid: str, reason: str | None = None) -> bool:
    """Ask a process to end; `False`: it is dead already.

    One that has called `events()` gets a `Cancel` and decides; in another the inbox
    closes. A connection closes with 1001.
    """
    node = current_node()
    return node.thread.run(node.cancel, node.resolve(pid), current_pid(), reason)


def terminate(pid: str) -> bool:
    """Force a process to end with reason `killed`; `False`: it is dead already.

    Its `finally` blocks run; a second `terminate()` interrupts one that takes too long.
    A connection's socket is closed at once.
    """
    node = current_node()
    is_done = node.thread.run(node.terminate, node.resolve(pid))
    process = current_process()
    if process is not None:
        process.raise_if_killed()
    return is_done
