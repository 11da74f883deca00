"""The process API: what app code calls, from inside a process or from anywhere.

    from greenrelay import process

    def room():
        for message in process.inbox():
            process.send(message.sender, "room.said", message.payload)

    pid = process.spawn(room)

Inside a process the caller is that process. In a view, or a plain greenlet, the
caller is anonymous: it may spawn, send, call and look up; what needs a mailbox
raises `NotAProcess`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

from greenlet import getcurrent

from greenrelay.errors import NotAProcess
from greenrelay.lifecycle import Process, ProcessExit
from greenrelay.mailbox import Channel, Turn
from greenrelay.message import Event, Exit, Message, MonitorRef
from greenrelay.node import Node
from greenrelay.pid import PID
from greenrelay.wire import HOST_PROCESS, NORMAL


class _Here(NamedTuple):
    """Where anonymous code runs: in the request that an app on a node handles."""

    node: Node
    make_turn: Callable[[], Turn] | None
    spawned: list[str]


# Which node anonymous code means: the one whose request it handles, else the interpreter's.
_here: ContextVar[_Here | None] = ContextVar("greenrelay.here", default=None)


class _Interpreter:
    """Holds the one node that plain code of this interpreter means."""

    def __init__(self) -> None:
        self.node: Node | None = None


_interpreter = _Interpreter()


def current_node() -> Node:
    """Return the node that the calling code belongs to.

    A process has its own; a view has its app's; everything else means the
    interpreter's, which is made when it is first asked for.
    """
    process = getattr(getcurrent(), "process", None)
    if process is not None:
        return process.node  # type: ignore[no-any-return]  # set to a Node by Node.spawn
    here = _here.get()
    return default_node() if here is None else here.node


def default_node(name: str | None = None) -> Node:
    """Return the interpreter's own node.

    Args:
        name: gives a node of that name; it becomes the interpreter's if there is none yet.
    """
    node = _interpreter.node
    if node is not None and name in (None, node.name):
        return node
    fresh = Node(name)
    if node is None:
        _interpreter.node = fresh
    return fresh


@contextlib.contextmanager
def on_node(node: Node, make_turn: Callable[[], Turn] | None = None) -> Iterator[list[str]]:
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


def _self(call: str) -> Process:
    process = getattr(getcurrent(), "process", None)
    if not isinstance(process, Process):
        raise NotAProcess(
            f"process.{call} needs a process around it; start one with process.spawn(function), "
            f"and call {call} in that function"
        )
    return process


# -- life ------------------------------------------------------------------------


def spawn(
    target: Callable[..., Any] | str,
    *args: Any,
    host: str = HOST_PROCESS,
    name: str | None = None,
    link: bool = False,
    monitor: bool = False,
    **kwargs: Any,
) -> PID:
    """Start a process that runs `target(*args, **kwargs)`.

    Args:
        target: a callable, or `"package.module:function"`.
        host: what stands before the `@` of its PID.
        name: registered at once. If it is taken, nothing is spawned.
        link: link it with the caller, before its first step.
        monitor: have the caller monitor it, before its first step.

    Returns:
        Its PID, or the PID that already holds `name`.

    Raises:
        NotAProcess: `link` or `monitor` is set outside of a process.
        TypeError: `target` can't be called.
        ValueError: `target` names nothing, or `name` is no name.
        InvalidPID: `host` can't stand in a PID.
    """
    linked = _self("spawn(link=True)") if link else None
    watcher = _self("spawn(monitor=True)") if monitor else None
    here = _here.get()
    turn = here.make_turn() if here is not None and here.make_turn is not None else None
    node = current_node()
    is_new = name is None or node.registry.lookup(name) is None
    spawned = node.spawn(
        target, args, kwargs, host=host, name=name, link=linked, monitor=watcher, turn=turn
    )
    if here is not None and is_new:
        here.spawned.append(spawned)
    return spawned


def pid() -> PID:
    """Return the caller's own PID.

    Raises:
        NotAProcess: the caller is none.
    """
    return _self("pid()").pid


def is_alive(pid: str) -> bool:
    """Tell whether a process or connection lives under `pid` on this node."""
    return current_node().is_alive(pid)


def exit(reason: str = NORMAL) -> NoReturn:
    """End the calling process with `reason`.

    Raises:
        NotAProcess: the caller is none.
    """
    _self("exit()")
    raise ProcessExit(reason)


def cancel(pid: str, reason: str | None = None) -> bool:
    """Ask a process to end; `False`: it is dead already.

    One that has called `events()` gets a `Cancel` and decides; in another the inbox
    closes. A connection closes with 1001.
    """
    node = current_node()
    caller = getattr(getcurrent(), "process", None)
    return node.cancel(node.resolve(pid), caller.pid if caller is not None else None, reason)


def terminate(pid: str) -> bool:
    """Force a process to end with reason `killed`; `False`: it is dead already."""
    node = current_node()
    return node.terminate(node.resolve(pid))


# -- mail ------------------------------------------------------------------------


def send(dest: str, topic: str, payload: Any = None) -> bool:
    """Send a message; never blocks, and never raises for a dead process.

    Args:
        dest: a PID, its text, or a registered name.
        topic: not empty, and without a leading `@`.
        payload: any object; on one node it is handed over as it is, not copied.

    Returns:
        `True`, or `False` when nobody lives at `dest`.

    Raises:
        NameNotRegistered: `dest` is a name that nobody holds.
        InvalidPID: `dest` is neither a PID nor a name.
        ValueError: the topic is empty or reserved.
    """
    process = getattr(getcurrent(), "process", None)
    if process is None:
        return current_node().send(dest, topic, payload)
    return process.node.send(dest, topic, payload, process.pid)  # type: ignore[no-any-return]  # a Node


def broadcast(pids: Iterable[str], topic: str, payload: Any = None) -> int:
    """Send one message to many; for connections it is encoded once.

    Returns:
        How many took it. Dead ones and unknown names are passed over.

    Raises:
        ValueError: the topic is empty or reserved.
    """
    process = getattr(getcurrent(), "process", None)
    sender = process.pid if process is not None else None
    return current_node().broadcast(pids, topic, payload, sender)


def inbox() -> Channel[Message]:
    """Return the channel of all messages that no listener takes.

    `for message in process.inbox():` ends when the process is cancelled.
    """
    return _self("inbox()").mailbox.inbox


def events() -> Channel[Event]:
    """Return the channel of `Exit`, `LinkDown` and `Cancel`.

    From the first call on, the process decides itself what a `Cancel` means.
    """
    mailbox = _self("events()").mailbox
    mailbox.has_events = True
    return mailbox.events


def listen(topic: str) -> Channel[Message]:
    """Return a channel that gets all further messages of exactly this topic."""
    return _self("listen()").mailbox.listen(topic)


def unlisten(channel: Channel[Message]) -> None:
    """Stop listening; what the channel still holds goes to the inbox."""
    _self("unlisten()").mailbox.unlisten(channel)


def select(
    *channels: Channel[Any], timeout: float | None = None
) -> tuple[Channel[Any], Any] | None:
    """Return `(channel, item)` of the first channel that has an item, in the order given.

    Args:
        timeout: seconds until `None` is returned; `None` waits for ever.

    Switches: yes, if no channel has one yet.
    """
    if not channels:
        raise ValueError("select() takes at least one channel: select(inbox, events)")
    return _self("select()").mailbox.take(channels, timeout)


# -- who watches whom ------------------------------------------------------------


def monitor(pid: str) -> MonitorRef:
    """Get one `Exit` in `events()` when `pid` ends; at once if it is dead or unknown.

    Returns:
        The ref that the `Exit` will carry.
    """
    process = _self("monitor()")
    node: Node = process.node
    return node.monitor(process, node.resolve(pid))


def unmonitor(ref_or_pid: MonitorRef | str) -> None:
    """Forget a monitor, or all of the caller's on a PID; a queued `Exit` is removed as well."""
    process = _self("unmonitor()")
    held = process.monitors or set()
    if isinstance(ref_or_pid, MonitorRef):
        refs = {ref_or_pid}
    else:
        refs = {ref for ref in held if ref.pid == ref_or_pid}
    for ref in refs:
        held.discard(ref)
        process.node.topology.unmonitor(ref)
    process.mailbox.discard(
        lambda event: isinstance(event, Exit) and (event.ref in refs or event.sender == ref_or_pid)
    )


def link(pid: str) -> None:
    """Link the caller with `pid`: an abnormal end of either reaches the other."""
    process = _self("link()")
    node: Node = process.node
    node.link(process, node.resolve(pid))


def unlink(pid: str) -> None:
    """Remove the link with `pid`, if there is one."""
    process = _self("unlink()")
    node: Node = process.node
    node.topology.unlink(process.pid, node.resolve(pid))


def trap_links(on: bool = True) -> None:
    """Get a `LinkDown` when a linked process dies, instead of dying with it."""
    _self("trap_links()").traps_links = on


# -- names -----------------------------------------------------------------------


class _Names:
    """Names of processes: unique, and released when the process ends."""

    def register(self, name: str, pid: str | None = None) -> None:
        """Give `name` to `pid`, by default to the caller.

        Raises:
            NameTaken: somebody else holds it.
        """
        node = current_node()
        holder = _self("registry.register(name)").pid if pid is None else node.resolve(pid)
        if node.is_alive(holder):
            node.registry.register(name, holder)

    def lookup(self, name: str) -> PID | None:
        """Return who holds `name`, `None` if nobody does."""
        return current_node().registry.lookup(name)

    def unregister(self, name: str) -> bool:
        """Free `name`; `False`: nobody held it."""
        return current_node().registry.unregister(name)


registry = _Names()

__all__ = [
    "broadcast",
    "cancel",
    "current_node",
    "default_node",
    "events",
    "exit",
    "inbox",
    "is_alive",
    "link",
    "listen",
    "monitor",
    "on_node",
    "pid",
    "registry",
    "select",
    "send",
    "spawn",
    "terminate",
    "trap_links",
    "unlink",
    "unlisten",
    "unmonitor",
]
