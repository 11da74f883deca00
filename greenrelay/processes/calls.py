"""Calls: a request to a process, and its reply.

A pending call is an entity of its own, with a PID that the reply goes to and that
is gone when the caller has what it waits for: a late reply reaches nobody, and a
view can call as well as a process.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gevent.event import AsyncResult

from greenrelay.errors import CallTimeout, ProcessDown
from greenrelay.message import Exit, LinkDown, Message, Request, check_topic
from greenrelay.pid import PID
from greenrelay.processes.entity import PromptEntity
from greenrelay.processes.node import Node
from greenrelay.wire import CANCELLED

HOST_CALL = "call"


class _Down(NamedTuple):
    """What a call comes to whose callee has ended."""

    pid: PID
    reason: str


class Call(PromptEntity):
    """One call that waits for its reply."""

    __slots__ = ("_result", "pid")

    def __init__(self, pid: PID) -> None:
        self.pid = pid
        self._result: Any = AsyncResult()

    def wait(self, timeout: float | None, what: str) -> Any:
        """Return the reply. Switches: yes.

        Args:
            what: who was asked what, for the error.

        Raises:
            ProcessDown: the callee ended before it replied.
            CallTimeout: it took longer than `timeout` seconds.
        """
        # Not get(), and no Timeout of ours: what they raise would hold this frame, which holds it.
        self._result.wait(timeout)
        if not self._result.ready():
            raise CallTimeout(
                f"no reply from {what} in {timeout} s; call(…, timeout=…) waits longer"
            )
        outcome = self._result.value
        if isinstance(outcome, _Down):
            raise ProcessDown(outcome.pid, outcome.reason)
        return outcome

    def deliver(self, message: Message) -> bool:
        """Take the reply; a second one is too late."""
        if self._result.ready():
            return False
        self._result.set(message.payload)
        return True

    def on_exit(self, exit: Exit) -> None:
        """Take the news that the callee has ended; a reply that came before counts."""
        if not self._result.ready():
            self._result.set(_Down(exit.sender, exit.reason))

    def on_link_down(self, news: LinkDown) -> None:
        """Calls have no links."""

    def cancel(self, sender: PID | None, reason: str | None) -> None:
        """Give up."""
        self.kill(reason or CANCELLED)

    def kill(self, reason: str) -> None:
        """Give up."""
        if not self._result.ready():
            self._result.set(_Down(self.pid, reason))

    def info(self) -> dict[str, Any]:
        """Return nothing of interest."""
        return {}


class ReplyPath(NamedTuple):
    """How a reply gets back to its call, from any thread."""

    node: Node

    def reply(self, pid: PID, message: Message) -> bool:
        """Hand a reply to its call; `False`: nobody waits for it."""
        node = self.node
        if node.thread.is_here():
            return node.deliver(pid, message)
        if node.find(pid) is not None:
            node.thread.post(node.deliver, pid, message)
            return True
        elsewhere = node.table.elsewhere
        send = None if elsewhere is None else elsewhere.prepare(pid, message)
        if send is not None:
            node.thread.post(send)
        return send is not None


def make_call(
    node: Node, callee: PID, request: tuple[str, Any], sender: PID | None, timeout: float | None
) -> Any:
    """Send a request and return its reply. Switches: yes.

    Args:
        request: topic and payload.
        timeout: seconds; `None` waits for ever.

    Raises:
        CallTimeout, ProcessDown: there is no reply.
        ValueError: the topic is empty or reserved.
    """
    check_topic(request[0])
    return ask(node, callee, request, sender, timeout)


def ask(
    node: Node, callee: PID, request: tuple[str, Any], sender: PID | None, timeout: float | None
) -> Any:
    """As `make_call()`, also with a topic that only greenrelay itself sends. Switches: yes."""
    topic, payload = request
    if callee == sender:
        raise ValueError("a process can't call itself, it would wait for its own reply; send()")
    call = Call(node.make_pid(HOST_CALL))
    node.add(call)
    ref = node.monitor(call, callee)
    try:
        node.deliver(callee, Request(topic, payload, sender, ReplyPath(node), call.pid))
        return call.wait(timeout, f"{_describe(node, callee)} to {topic!r}")
    finally:
        node.unmonitor((ref,))
        node.remove(call)


def _describe(node: Node, pid: PID) -> str:
    """Return a PID, and the names that it has."""
    names = ", ".join(map(repr, sorted(node.registry.names(pid))))
    return f"{pid} ({names})" if names else pid
