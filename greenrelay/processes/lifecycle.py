"""The life of a process: it is started, takes messages, and ends for a reason.

    Process(node, …)  ─ start() ─►  runs in its greenlet  ─►  node.end(process, reason), once

A process *has* a greenlet and never is one: gevent's `link()` and `kill()` mean
other things than Erlang's. Two rules: whatever ends it, its node is told exactly
once, after its last `finally`; a kill can't be trapped by the victim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

import gevent
from greenlet import greenlet

from greenrelay.logs import log_soon
from greenrelay.message import Cancel, Exit, LinkDown, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.endings import ProcessExit, exit_reason, is_crash, report_crash
from greenrelay.processes.entity import ProcessNode
from greenrelay.processes.functions import Call, find_place, name_of
from greenrelay.processes.turn import Turn
from greenrelay.wire import CANCELLED, KILLED, NORMAL

log = logging.getLogger("greenrelay.process")


class ProcessGreenlet(greenlet):
    """A greenlet that knows its process, from its making until one of them has ended."""

    __slots__ = ("process",)

    process: Process

    def __init__(self, process: Process, run: Callable[[], None]) -> None:
        greenlet.__init__(self, run, gevent.get_hub())  # super() would cost a spawn 1 %
        self.process = process

    def let_go(self) -> None:
        """Know no process any more: they hold each other, and would wait for the collector."""
        del self.process
        if not self:
            del self.run  # it has never begun

    def divert(self, instead: Callable[..., Any] | None) -> None:
        """Have `instead` called where `switch` would be; `None`: `switch` again.

        gevent looks `switch` up in the greenlet when it wakes it, and there an attribute of the
        instance comes before greenlet's own method. So a killed process never goes on, whatever
        wakes it, and a living one has no attribute and pays nothing: a method here, which asks
        whether it has been killed, would cost each wake-up a tenth.
        """
        if instead is None:
            vars(self).pop("switch", None)
        else:
            vars(self)["switch"] = instead


class Process:
    """A greenlet with a PID and a mailbox.

    Args:
        node: where it lives; it is told, in the hub or in the dying greenlet, how it ends.
        pid: its address.
        call: what it runs.
        turn: what surrounds the handling of each message, if anything.
        starter: who has spawned it with a link.
    """

    __slots__ = (
        "_call",
        "_has_begun",
        "deliver",
        "greenlet",
        "has_ended",
        "mailbox",
        "monitors",
        "node",
        "pid",
        "started_at",
        "starter",
        "traps_links",
    )

    def __init__(
        self, node: ProcessNode, pid: PID, call: Call, turn: Turn | None, starter: PID | None
    ) -> None:
        self.node = node
        self.pid = pid
        self._call = call
        self._has_begun = False
        self.greenlet = ProcessGreenlet(self, self._run)
        self.mailbox = node.make_mailbox(self.greenlet, turn)
        self.deliver = self.mailbox.put
        """Take a message; `False`: it takes none any more. The mailbox's own: one call less."""
        self.has_ended = False
        self.started_at = time.time()
        self.traps_links = False
        """Whether an abnormal end of a linked process is news instead of a death."""
        self.monitors: set[MonitorRef] | None = None
        """Refs of the monitors that this process holds; made with the first."""
        self.starter = starter
        """Who has spawned it with a link, and has not unlinked it since."""

    def __repr__(self) -> str:
        return f"<Process {self.pid} {name_of(self._call[0])}>"

    def start(self) -> None:
        """Let it run from the next turn of the event loop on."""
        gevent.get_hub().loop.run_callback(self._begin)

    # -- what it watches -------------------------------------------------------

    def monitor(self, pid: PID) -> MonitorRef:
        """Get an `Exit` when `pid` ends: at once if it is dead or unknown."""
        ref = self.node.make_ref(pid)
        if self.has_ended:
            return ref  # it was given up, and nobody would take the monitor away
        self.monitors = self.monitors or set()
        self.monitors.add(ref)
        return self.node.monitor(self, pid, ref)

    def unmonitor(self, refs: Collection[MonitorRef], pid: PID | None = None) -> None:
        """Forget those monitors that it holds; drop the `Exit`s that wait for refs or `pid`."""
        if self.monitors:
            held = self.monitors.intersection(refs)
            self.monitors -= held
            self.node.unmonitor(held)
        self.mailbox.discard(
            lambda event: isinstance(event, Exit) and (event.ref in refs or event.sender == pid)
        )

    def trap_links(self, on: bool) -> None:
        """Take the end of a linked process as news, instead of dying with it."""
        self.traps_links = on

    def forget_starter(self, pid: PID) -> None:
        """Have been spawned by nobody, if `pid` is who did: it has unlinked this process."""
        if self.starter == pid:
            self.starter = None

    # -- what others may do to it; none of it blocks ---------------------------

    def on_exit(self, exit: Exit) -> None:
        """Take the news that a monitored process has ended."""
        if self.monitors is not None and exit.ref is not None:
            self.monitors.discard(exit.ref)
        self.mailbox.put_event(exit)

    def on_link_down(self, news: LinkDown) -> None:
        """Take the news that a linked process has ended abnormally."""
        if self.traps_links:
            self.mailbox.put_event(news)
        elif not self.is_killed:
            self.kill(news.reason)

    def cancel(self, sender: PID | None = None, reason: str | None = None) -> None:
        """Ask it to end: a `Cancel` if it takes events, else its inbox closes."""
        self.mailbox.cancel(Cancel(sender, reason, time.time()))

    def kill(self, reason: str = KILLED) -> None:
        """Force it to end soon, with the reason of the first kill; it takes no more messages.

        Another kill interrupts a `finally` that waits. Whatever it waits for, and whatever
        wakes it first, it does nothing more. A process that kills itself goes on until it
        waits, or until `raise_if_killed()`.
        """
        if self.has_ended:
            return
        if not self.is_killed:
            self.node.release(self.pid)
        self.mailbox.kill(ProcessExit(reason))
        self.greenlet.divert(self._wake_killed)
        gevent.get_hub().loop.run_callback(self._throw)

    def raise_if_killed(self) -> None:
        """End the calling process if it has been killed meanwhile, by itself perhaps."""
        kill = self.mailbox.take_kill()
        if kill is not None:
            self.greenlet.divert(None)
            raise kill

    def give_up(self) -> None:
        """End it for everybody else: it swallows its own end again and again."""
        if not self.has_ended:
            log_soon(log, logging.ERROR, "process %s swallows its end, let it raise", self.pid)
            self._end(self._kill_reason() or CANCELLED)

    def info(self) -> dict[str, Any]:
        """Return what it knows about itself; see `process.info()`."""
        return {
            "uptime": time.time() - self.started_at,
            "mailbox": len(self.mailbox),
            "monitors": [ref.pid for ref in self.monitors or ()],
            "function": find_place(self.greenlet.gr_frame, self._call[0]),
        }

    @property
    def is_full(self) -> bool:
        """Whether connections should stop parsing and reading for it."""
        return self.mailbox.marks.is_full

    @property
    def is_killed(self) -> bool:
        """Whether it has been killed, and only its cleanup is left."""
        return (end := self.mailbox.end) is not None and end.kill_exception is not None

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when it is not full any more, or has ended."""
        self.mailbox.on_drained(key, call)

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self.mailbox.marks.forget_drained(key)

    # -- in its own greenlet ----------------------------------------------------

    def _begin(self) -> None:
        # In the child of a fork the node does not know it: it has stayed in the parent.
        if not self.is_killed and self.node.find(self.pid) is self:
            self._has_begun = True
            self.greenlet.switch()

    def _wake_killed(self, *args: Any) -> None:
        """Do instead of `greenlet.switch`: whoever wakes it, it ends."""
        self.greenlet.divert(None)
        if self.mailbox.has_raised_kill:  # where it noticed itself: its cleanup waits
            self.greenlet.switch(*args)
        else:
            self._throw()

    def _throw(self) -> None:
        self.greenlet.divert(None)
        kill = None if self.has_ended else self.mailbox.take_kill()
        if kill is not None and self._has_begun:
            self.greenlet.throw(kill)
        elif kill is not None:
            self._end(self._kill_reason() or KILLED)
            self._let_go()

    def _run(self) -> None:
        value = error = None
        try:
            self.mailbox.begin()
            value = self._work()
            # A closed inbox is how it was cancelled: it went along.
            reason = CANCELLED if self.mailbox.is_closed else NORMAL
        except BaseException as exception:
            reason = exit_reason(exception)
            error = exception if is_crash(exception) else None
        killed_for = self._kill_reason()
        if killed_for is None:
            self._end(reason, value, error)
        else:
            self._end(killed_for)
        if error is not None:
            report_crash(self.pid, error)
        # What holds each other lets go, so that nothing of it waits for the collector.
        error = None
        if killed_for is not None:
            self.greenlet.divert(None)
        self._let_go()

    def _let_go(self) -> None:
        self.mailbox.let_go()
        self.greenlet.let_go()

    def _work(self) -> Any:
        # Not in local variables: `_end()` lets go of what it was called with.
        turn = self.mailbox.turn
        if turn is None:
            return self._call[0](*self._call[1], **self._call[2])
        turn.enter()
        try:
            value = self._call[0](*self._call[1], **self._call[2])
        except BaseException as error:
            turn.close(error)
            raise
        turn.close(None)
        return value

    def _kill_reason(self) -> str | None:
        exception = self.mailbox.kill_exception
        return exception.reason if isinstance(exception, ProcessExit) else None

    def _end(self, reason: str, value: Any = None, error: BaseException | None = None) -> None:
        if self.has_ended:
            return  # it had been given up
        self.has_ended = True
        self.mailbox.close()
        if self.monitors:
            self.node.unmonitor(self.monitors)
        self.node.end(self, reason, value, error)
        # What it was called with may be large, and its PID outlives it.
        self._call = (self._call[0], (), {})
        self.mailbox.release()
