"""What a running supervisor is asked for, and by whom.

    start_child, stop_child, children   from anywhere ─► a request that the supervisor answers
    ready                               from its child ─► a message

All of it goes through the supervisor's inbox, under topics that nobody else can send, so that it is
one thing after another there. Answers are plain values, and so are requests to another node. Who
supervises on a node, and who is still to be ready, stands in one table, `Supervisors`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gevent

from greenrelay.errors import CallTimeout, GreenRelayError, NameTaken, ProcessDown
from greenrelay.message import Message
from greenrelay.pid import PID
from greenrelay.processes.calls import ask
from greenrelay.processes.children import Child, as_child, as_fields
from greenrelay.processes.current import current_node, current_process, require_process
from greenrelay.processes.node import Node

START_CHILD: Final = "@supervisor.start_child"
STOP_CHILD: Final = "@supervisor.stop_child"
CHILDREN: Final = "@supervisor.children"
READY: Final = "@supervisor.ready"
REQUESTS: Final = frozenset({START_CHILD, STOP_CHILD, CHILDREN})
"""What may come from another node."""

# What is raised where it was asked for, from what it is made of.
_ERRORS: Final[dict[str, Callable[..., Exception]]] = {
    kind.__name__: kind for kind in (NameTaken, ProcessDown, CallTimeout, ValueError, TypeError)
}

Answer = list[Any]
"""What a supervisor replies: `[None, value]`, or the error's name and what it is made of."""


def accept(value: Any) -> Answer:
    """Answer with a value."""
    return [None, value]


def refuse(error: Exception) -> Answer:
    """Answer with an error."""
    is_made_of_fields = isinstance(error, (NameTaken, ProcessDown))
    return [type(error).__name__, list(vars(error).values()) if is_made_of_fields else [str(error)]]


def child_of(spec: Any) -> Child:
    """Return the child that `start_child()` was given: itself, or its fields from another node.

    Raises:
        ValueError, TypeError: they make none.
    """
    return spec if isinstance(spec, Child) else Child(**spec)


class Supervisors:
    """Who supervises on one node, and who of their children is still to be ready."""

    def __init__(self) -> None:
        self._pids: set[PID] = set()
        self._expected: dict[PID, PID] = {}

    def __contains__(self, pid: object) -> bool:
        return pid in self._pids

    def begin(self, pid: PID) -> None:
        """Note that a process supervises."""
        self._pids.add(pid)

    def end(self, pid: PID) -> None:
        """Note that it does no more."""
        self._pids.discard(pid)

    def expect(self, child: PID, supervisor: PID) -> None:
        """Have the child's `ready()` told to its supervisor."""
        self._expected[child] = supervisor

    def take(self, child: PID | None) -> PID | None:
        """Expect it no more; return its supervisor, `None` if it was not expected."""
        return None if child is None else self._expected.pop(child, None)


def ready() -> None:
    """Say that the calling process is ready, so that its supervisor starts the next child.

    For a `Child(…, waits_ready=True)`. In any other process, and a second time, it does nothing:
    a function need not know whether it is supervised.

    Raises:
        NotAProcess: the caller is none.
    """
    pid = require_process("ready()").pid
    node = current_node()
    supervisor = node.shared(Supervisors).take(pid)
    if supervisor is not None:
        node.deliver(supervisor, Message(READY, None, pid))


class SupervisorRef:
    """A supervisor that runs: what can be asked of it, from anywhere on its node.

    Args:
        dest: its PID or its name, which is looked up at each call.
        node: where it lives, by default the caller's.
    """

    def __init__(self, dest: str, node: Node | None = None) -> None:
        self.dest = dest
        self._node = node

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.dest}>"

    def start_child(self, child: Callable[..., Any] | str | Child) -> PID:
        """Start one more child, behind those that it has; return its PID once it is ready.

        From then on it is a child as any other: it is started again as its `restart` says, it
        counts among the supervisor's restarts and its strategy, and is ended with it, the last
        one first. Nothing is kept of it when it has ended for good. It runs in the context of
        the app in which the supervisor was started. Switches: yes.

        Raises:
            NameTaken: its name is held, by another child or anybody else (`.holder`).
            ProcessDown: it ended before it was ready, or the supervisor has ended. It is not
                started again.
            CallTimeout: it was not ready in time, and has been terminated.
            NameNotRegistered, ValueError: there is no such supervisor.
            ValueError, TypeError: the child is malformed.
        """
        pid: PID = self._ask(START_CHILD, as_child(child))
        return pid

    def stop_child(self, child: str) -> bool:
        """End a child as its `shutdown` says, wait for that, and do not start it again.

        Args:
            child: the PID that `start_child()` returned, also if the child has another since; the
                one that it has now; or its name.

        Returns:
            `False`: there is no such child, or none any more. Switches: yes. A child that stops
            itself gets its answer first.

        Raises:
            ProcessDown: the supervisor has ended.
        """
        if not isinstance(child, str):
            raise TypeError(
                f"stop_child() takes the PID of start_child(), or a name, got {child!r}"
            )
        is_stopped: bool = self._ask(STOP_CHILD, child)
        return is_stopped

    def children(self) -> list[PID]:
        """Return the PIDs of the children that run just now, in the order of their start.

        Raises:
            ProcessDown: the supervisor has ended.
        """
        pids: list[PID] = self._ask(CHILDREN, None)
        return pids

    def _ask(self, topic: str, payload: Any) -> Any:
        node = self._node or current_node()
        process = current_process()
        sender = None if process is None else process.pid
        run = node.thread.run_greenlet
        try:
            answer: Answer = run(_ask_in_time, node, self.dest, (topic, payload), sender)
        finally:
            if process is not None:
                process.raise_if_killed()
        error, value = answer
        if error is None:
            return value
        raise _ERRORS.get(error, GreenRelayError)(*value)


def supervisor(dest: str) -> SupervisorRef:
    """Return the supervisor that runs under a PID or a name: to start and stop its children."""
    return SupervisorRef(dest)


def _ask_in_time(node: Node, dest: str, request: tuple[str, Any], sender: PID | None) -> Answer:
    pid, supervisors = node.resolve(dest), node.shared(Supervisors)
    topic, payload = request
    if pid.node != node.name:
        if isinstance(payload, Child):
            request = (topic, as_fields(payload))
    elif pid not in supervisors:
        gevent.sleep(0)  # one that was started just now begins meanwhile
        if pid not in supervisors and node.is_alive(pid):
            raise ValueError(
                f"{dest} is no supervisor; process.Supervisor(…).start(name=…) starts one"
            )
    # Without a time-out: how long it may take say `ready_within` and `shutdown`.
    answer: Answer = ask(node, pid, request, sender, None)
    return answer
