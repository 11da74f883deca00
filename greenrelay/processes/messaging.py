"""Sending and receiving; see `greenrelay.process`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload

from greenlet import getcurrent

from greenrelay.message import Event, Message, check_topic
from greenrelay.processes.calls import make_call
from greenrelay.processes.channel import Channel
from greenrelay.processes.current import current_node, current_pid, current_process, require_process
from greenrelay.processes.lifecycle import Process
from greenrelay.processes.node import Node

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

CALL_TIMEOUT_SECONDS = 5.0
"""As Erlang's: far longer than a call should take, and shorter than a caller's patience."""


def send(dest: str, topic: str, payload: Any = None) -> bool:
    """Send a message; never blocks, and never raises for a dead process.

    Args:
        dest: a PID, its text, or a registered name.
        topic: not empty, and without a leading `@`.
        payload: any object; on one node it is handed over as it is, not copied. To another node
            goes what msgpack has, and dates, times, `Decimal`, `UUID`, `PID` and `MonitorRef`.

    Returns:
        `True`: it is in the mailbox. `False`: nobody lives at `dest`, or it has been told to
        end and takes nothing more. A process may end before it comes to what is in its
        mailbox; who has to know uses `call()`, or a monitor. For a PID of another node `True`
        says that it is on its way, `False` that the node is no member of the cluster.

    Raises:
        NameNotRegistered: `dest` is a name that nobody holds.
        InvalidPID: `dest` is neither a PID nor a name.
        ValueError: the topic is empty or reserved.
        NotPortable: `dest` lives on another node, to which the payload can't go.
    """
    # As current_process(), which would be a call more: 5 % of a message.
    process: Process | None = getattr(getcurrent(), "process", None)
    if process is None:
        node = current_node()
        if node.thread.is_here():
            return node.send(dest, topic, payload)
        return _post(node, dest, topic, payload)
    return process.node.send(dest, topic, payload, process.pid)


def _post(node: Node, dest: str, topic: str, payload: Any) -> bool:
    """Send from another thread, without waiting for the node's; `False`: nobody is there now."""
    check_topic(topic)
    pid, message = node.resolve(dest), Message(topic, payload)
    if node.is_alive(pid):
        node.thread.post(node.deliver, pid, message)
        return True
    elsewhere = node.table.elsewhere
    send = None if elsewhere is None else elsewhere.prepare(pid, message)
    if send is not None:
        node.thread.post(send)
    return send is not None


def broadcast(pids: Iterable[str], topic: str, payload: Any = None) -> int:
    """Send one message to many; for connections it is encoded once.

    Returns:
        How many took it. Dead ones and unknown names are passed over.

    Raises:
        ValueError: the topic is empty or reserved.
        TypeError: `pids` is one PID instead of several.
    """
    node = current_node()
    if not node.thread.is_here():
        pids = pids if isinstance(pids, str) else tuple(pids)
    return node.thread.run(node.broadcast, pids, topic, payload, current_pid())


def call(
    dest: str, topic: str, payload: Any = None, timeout: float | None = CALL_TIMEOUT_SECONDS
) -> Any:
    """Send a request, wait for `Message.reply(payload)`, and return that payload.

    Works in a view as well as in a process. Switches: yes. Only the reply is waited
    for: other messages gather in the inbox meanwhile. It is a part of handling the
    message under way: the app context stays, with the database session it may hold.

    Args:
        timeout: seconds; `None` waits for ever.

    Raises:
        CallTimeout: there is no reply in time; a late one reaches nobody.
        ProcessDown: `dest` ended before it replied, or was dead.
        NameNotRegistered, InvalidPID, ValueError: as for `send()`.
    """
    node = current_node()
    callee, process = node.resolve(dest), current_process()
    caller = None if process is None else process.pid
    run = node.thread.run_greenlet
    try:
        return run(make_call, node, callee, (topic, payload), caller, timeout)
    finally:
        if process is not None:
            process.raise_if_killed()  # the callee's end may have been the caller's too


def inbox() -> Channel[Message]:
    """Return the channel of all messages that no listener takes.

    `for message in process.inbox():` ends when the process is cancelled.

    Raises:
        NotAProcess: the caller is none.
    """
    return require_process("inbox()").mailbox.inbox


def events() -> Channel[Event]:
    """Return the channel of `Exit`, `LinkDown` and `Cancel`.

    From the first call on, the process decides itself what a `Cancel` means.

    Raises:
        NotAProcess: the caller is none.
    """
    return require_process("events()").mailbox.open_events()


def listen(topic: str) -> Channel[Message]:
    """Return a channel that gets all further messages of exactly this topic.

    Raises:
        NotAProcess: the caller is none.
        ValueError: the topic is empty or reserved.
    """
    check_topic(topic)
    return require_process("listen()").mailbox.listen(topic)


def unlisten(channel: Channel[Message]) -> None:
    """Stop listening: the channel closes, and what it still holds goes to the inbox.

    Raises:
        NotAProcess: the caller is none.
    """
    require_process("unlisten()").mailbox.unlisten(channel)


# What a checker knows of a pair: an item is its channel's. `None` only comes with a time-out.
@overload
def select(
    one: Channel[A], two: Channel[B], /, *, timeout: None = None
) -> tuple[Channel[A], A] | tuple[Channel[B], B]: ...


@overload
def select(
    one: Channel[A], two: Channel[B], /, *, timeout: float | None
) -> tuple[Channel[A], A] | tuple[Channel[B], B] | None: ...


@overload
def select(
    one: Channel[A], two: Channel[B], three: Channel[C], /, *, timeout: None = None
) -> tuple[Channel[A], A] | tuple[Channel[B], B] | tuple[Channel[C], C]: ...


@overload
def select(
    one: Channel[A], two: Channel[B], three: Channel[C], /, *, timeout: float | None
) -> tuple[Channel[A], A] | tuple[Channel[B], B] | tuple[Channel[C], C] | None: ...


@overload
def select(one: Channel[A], /, *more: Channel[A], timeout: None = None) -> tuple[Channel[A], A]: ...


@overload
def select(
    one: Channel[A], /, *more: Channel[A], timeout: float | None
) -> tuple[Channel[A], A] | None: ...


def select(
    *channels: Channel[Any], timeout: float | None = None
) -> tuple[Channel[Any], Any] | None:
    """Return `(channel, item)` of the first channel that has an item, in the order given.

    Args:
        timeout: seconds until `None` is returned; `None` waits for ever.

    Switches: yes, if no channel has one yet, and now and then if there is.

    Raises:
        NotAProcess: the caller is none, or a channel is another process's.
        ValueError: no channel is given, or `unlisten()` has closed one of them.
        TypeError: something is no channel.
    """
    mailbox = require_process("select()").mailbox
    if not channels:
        raise ValueError("select() takes at least one channel: select(inbox, events)")
    for channel in channels:
        if getattr(channel, "mailbox", None) is not mailbox:
            if not isinstance(channel, Channel):
                raise TypeError(f"select() takes channels like process.inbox(), got {channel!r}")
            channel.mailbox.check_owner()
    return mailbox.take(channels, timeout)
