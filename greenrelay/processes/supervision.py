"""One life of a supervisor: it starts its children, and deals with what happens to them.

    what happens (an end, a request, a time) ─► the roster says whom it is about ─► stop, start

Too many restarts in too short a time, and it gives up: it ends its children in reverse order and
itself with reason `shutdown`. It ends with the process that has started and linked it, and with
nobody else. While a child is being stopped nothing else is dealt with; it waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, NoReturn

from greenrelay.errors import CallTimeout, ClusterError, GreenRelayError, NameTaken, ProcessDown
from greenrelay.logs import log_now
from greenrelay.message import Cancel, Event, Exit, LinkDown, Message, Request
from greenrelay.pid import PID
from greenrelay.processes.children import Child, Restarts, Running
from greenrelay.processes.current import current_node, require_process, spawn_place
from greenrelay.processes.endings import ProcessExit
from greenrelay.processes.messaging import inbox
from greenrelay.processes.roster import Roster, Strategy
from greenrelay.processes.spawning import Options, spawn_in
from greenrelay.processes.stopping import Stopping
from greenrelay.processes.supervised import (
    CHILDREN,
    READY,
    START_CHILD,
    STOP_CHILD,
    Supervisors,
    accept,
    child_of,
    ready,
    refuse,
)
from greenrelay.processes.watching import monitor, trap_links, unlink, unmonitor
from greenrelay.wire import NOPROC, NORMAL, SHUTDOWN

log = logging.getLogger("greenrelay.supervisor")

CLAIM_SECONDS: Final = 1.0
"""Between attempts at a child's name, while nobody can tell who holds it."""
NOT_READY: Final = "not ready in time"


class Plan(NamedTuple):
    """What a supervisor is to do; see `Supervisor`."""

    children: tuple[Child, ...]
    strategy: Strategy
    max_restarts: int
    within: float
    kill_seconds: float


class Supervision:
    """One life of a supervisor, in the calling process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._process = require_process("Supervisor()()")
        self._starter: PID | None = self._process.starter
        self._node = current_node()
        self._supervisors = self._node.shared(Supervisors)
        self._has_warned = False
        self._roster = Roster(plan.strategy)
        for child in plan.children:
            self._roster.add(child)
        self._restarts = Restarts(plan.within)
        self._stopping = Stopping(plan.kill_seconds)
        self._answers: dict[str, Callable[[Any], None]] = {
            START_CHILD: self._on_start_child,
            STOP_CHILD: self._on_stop_child,
            CHILDREN: self._on_children,
            READY: self._on_ready,
        }

    def run(self) -> NoReturn:
        """Start the children, and deal with what happens; ends by `ProcessExit` only."""
        trap_links()
        self._supervisors.begin(self._process.pid)
        try:
            if self._starter is not None:
                monitor(self._starter)
            while True:
                self._start_due()
                if self._roster.is_settled:
                    ready()  # for a supervisor above it
                self._handle(self._wait())
        except ProcessExit as exit:
            self._stop(list(self._roster))
            raise exit
        finally:
            self._supervisors.end(self._process.pid)

    def _wait(self) -> Event | Message | None:
        due = self._roster.next_time()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        return self._stopping.next_event(inbox(), timeout)

    # -- starting ----------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for running in self._roster.overdue(now):
            if not self._note_if_ready(running):
                self._on_overdue(running)
        for running in self._roster.startable(now):
            self._start(running)

    def _start(self, running: Running) -> None:
        child = running.child
        holder = self._node.registry.lookup(child.name) if child.name else None
        if holder is not None:
            self._wait_for_name(running, holder)
            return
        call = (child.target, child.args, child.kwargs)
        options = Options(name=child.name, link=True, monitor=True)
        try:
            pid, is_new = spawn_in(*spawn_place(), call, options)
        except GreenRelayError as error:
            if running.request is not None:
                self._drop(running, error)
            elif isinstance(error, ClusterError):
                text = "child %s waits for its name: %s"
                log_now(log, logging.WARNING, text, running.child, error)
                self._roster.plan(running, time.monotonic() + CLAIM_SECONDS)
            else:
                raise
            return
        if not is_new:  # somebody has taken the name just now, on another node perhaps
            unlink(pid)
            unmonitor(pid)
            self._wait_for_name(running, pid)
            return
        self._roster.begin(running, pid, is_ours=True)
        if running.ready_by is None:
            self._accept(running)
        else:
            self._supervisors.expect(pid, self._process.pid)

    def _wait_for_name(self, running: Running, holder: PID) -> None:
        assert running.child.name is not None  # it is held
        if running.request is not None:
            self._drop(running, NameTaken(running.child.name, holder))
            return
        self._roster.begin(running, holder, is_ours=False)
        monitor(holder)

    def _note_if_ready(self, running: Running) -> bool:
        """Tell whether it is ready; if its word still waits in the inbox, take it for said."""
        if running.ready_by is not None and self._supervisors.take(running.pid) is None:
            self._roster.note_ready(running)
            self._accept(running)
        return running.ready_by is None

    def _accept(self, running: Running) -> None:
        """Tell who has asked for a child that it is there."""
        if running.request is not None:
            running.known_as = running.pid
            running.request.reply(accept(running.pid))
            running.request = None

    def _drop(self, running: Running, error: Exception) -> None:
        """Have no such child any more; tell who waits for it why it never was."""
        self._roster.remove(running)
        if running.request is not None:
            running.request.reply(refuse(error))
            running.request = None

    # -- what happens --------------------------------------------------------------

    def _handle(self, item: Event | Message | None) -> None:
        if isinstance(item, Message):
            self._on_message(item)
        elif isinstance(item, Cancel):
            raise ProcessExit(SHUTDOWN)
        elif item is not None:
            if item.sender == self._starter:
                self._on_starter_exit(item)
            running = self._roster.running_as(item.sender)
            # A LinkDown may be of somebody who has linked himself; of a child there is an Exit.
            if isinstance(item, Exit) and running is not None:
                self._on_exit(running, item)

    def _on_starter_exit(self, event: Exit | LinkDown) -> None:
        self._starter = None
        if self._process.starter is None:
            return  # it has unlinked itself
        # Had it failed before the supervisor's first step, the link would have taken it along.
        raise ProcessExit(NORMAL if event.reason == NOPROC else event.reason)

    def _on_exit(self, running: Running, exit: Exit) -> None:
        self._note_if_ready(running)
        self._roster.end(running)
        if running.is_ours:
            self._stopping.forget(exit.sender)
            self._on_end(running, exit.sender, exit.reason)
        else:
            self._roster.plan(running, 0.0)  # the name is free: no restart, a first start

    def _on_overdue(self, running: Running) -> None:
        text = "child %s has not called process.ready() in %g s; terminating it"
        child, pid = running.child, self._roster.end(running)
        assert pid is not None  # or it would be ready, or not be expected to
        log_now(log, logging.WARNING, text, child, child.ready_within)
        self._stopping.stop(pid, 0)
        if running.request is None:
            self._on_end(running, pid, NOT_READY)
            return
        error = CallTimeout(
            f"child {child} did not call process.ready() in {child.ready_within} s and was "
            "terminated; Child(…, ready_within=…) waits longer"
        )
        self._drop(running, error)

    def _on_end(self, running: Running, pid: PID, reason: str) -> None:
        child = running.child
        if running.request is not None:
            self._drop(running, ProcessDown(pid, reason))
            return
        if not child.is_restarted_after(reason):
            if not running.is_added or reason != NORMAL:
                text = "child %s ended: %s; it is not restarted"
                log_now(log, logging.INFO, text, child, reason)
            if running.is_added:
                self._roster.remove(running)
            return
        self._note_restart(child, reason)
        affected = self._roster.affected(running)
        self._stop(affected)
        due = time.monotonic() + self._restarts.back_off()
        for each in affected:
            if each.child.restart != "temporary":
                self._roster.plan(each, due)
            elif each.is_added:
                self._drop(each, ProcessDown(pid, SHUTDOWN))

    def _note_restart(self, child: Child, reason: str) -> None:
        plan = self._plan
        self._restarts.note()
        count = len(self._restarts)
        what = f"child {child} ended: {reason}"
        if count > plan.max_restarts:
            text = "%s; %d ends in %g s are too many, giving up"
            log_now(log, logging.ERROR, text, what, count, plan.within)
            raise ProcessExit(SHUTDOWN)
        text = "%s; restart %d of %d in %g s"
        log_now(log, logging.WARNING, text, what, count, plan.max_restarts, plan.within)

    def _stop(self, affected: Iterable[Running]) -> None:
        """End children in reverse order, each before the next is asked."""
        for running in reversed(list(affected)):
            pid = self._roster.end(running)
            if pid is not None and running.is_ours:
                self._supervisors.take(pid)
                self._stopping.stop(pid, running.child.shutdown)
            elif pid is not None:
                unmonitor(pid)

    # -- what it is asked --------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        answer = self._answers.get(message.topic)
        if answer is not None:
            answer(message)
        elif not self._has_warned:
            self._has_warned = True
            log_now(log, logging.WARNING,
                "supervisor %s drops %r from %s, and whatever else is sent to it: send to its "
                "children, by their names", self._process.pid, message.topic, message.sender,
            )  # fmt: skip

    def _on_start_child(self, request: Request) -> None:
        try:
            child = child_of(request.payload)
        except (TypeError, ValueError) as error:
            request.reply(refuse(error))
            return
        held = None if child.name is None else self._roster.find(child.name)
        if child.name is not None and held is not None:
            holder = held.pid or held.known_as or self._process.pid
            request.reply(refuse(NameTaken(child.name, holder)))
        else:
            self._roster.add(child, request)

    def _on_stop_child(self, request: Request) -> None:
        dest: str = request.payload
        roster = self._roster
        running = roster.find(dest) or roster.running_as(self._node.registry.lookup(dest))
        if running is None:
            request.reply(accept(False))
            return
        if request.sender == running.pid:
            request.reply(accept(True))  # it can't end while it waits for this
        self._stop([running])
        self._drop(running, ProcessDown(running.known_as or self._process.pid, SHUTDOWN))
        request.reply(accept(True))

    def _on_children(self, request: Request) -> None:
        pids = [each.pid for each in self._roster if each.pid is not None and each.is_ours]
        request.reply(accept(pids))

    def _on_ready(self, message: Message) -> None:
        running = self._roster.running_as(message.sender)
        if running is not None:
            self._note_if_ready(running)
