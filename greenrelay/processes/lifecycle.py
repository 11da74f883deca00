"""The life of a process: it is started, takes messages, and ends for a reason.

    Process(…)  ─ start() ─►  runs in its greenlet  ─►  on_end(process, Exit), once

A process *has* a greenlet and never is one: gevent's `link()` and `kill()` mean
other things than Erlang's. Two rules: whatever ends it, `on_end` is called exactly
once, after its last `finally`; a kill can't be trapped by the victim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from greenlet import greenlet

from greenrelay.logs import log_now, log_soon
from greenrelay.message import Cancel, Exit, LinkDown
from greenrelay.pid import PID
from greenrelay.processes.channel import ChannelClosed
from greenrelay.processes.mailbox import Mailbox
from greenrelay.processes.turn import Turn
from greenrelay.wire import CANCELLED, KILLED, NORMAL

log = logging.getLogger("greenrelay.process")


class ProcessExit(gevent.GreenletExit):
    """End the process it is raised in, with a reason.

    Derived from `GreenletExit`, so it passes `except Exception`, as `SystemExit` does.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProcessGreenlet(greenlet):
    """A greenlet that knows its process."""

    __slots__ = ("process",)

    process: Process

    def divert(self, instead: Callable[..., Any] | None) -> None:
        """Have `instead` called whenever somebody wakes this greenlet; `None`: nothing more.

        gevent's waiters look `switch` up when they wake somebody, so that an attribute of the
        instance comes first: a method in the class would cost each wake-up a tenth.
        """
        if instead is None:
            vars(self).pop("switch", None)
        else:
            vars(self)["switch"] = instead


class Process:
    """A greenlet with a PID and a mailbox.

    Args:
        pid: its address.
        function: what it runs; `args` and `kwargs` are handed to it.
        mailbox: where its messages wait.
        on_end: called once, in the hub or in the dying greenlet, with the news.
        turn: what surrounds the handling of each message, if anything.
    """

    __slots__ = (
        "_args",
        "_function",
        "_has_begun",
        "_kwargs",
        "_on_end",
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
        self,
        pid: PID,
        call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]],
        mailbox: Mailbox,
        on_end: Callable[[Process, Exit], None],
        turn: Turn | None = None,
    ) -> None:
        self.pid = pid
        self._function, self._args, self._kwargs = call
        self._on_end = on_end
        self._has_begun = False
        self.mailbox = mailbox
        self.deliver = mailbox.put
        """Take a message; `False`: it takes none any more. The mailbox's own: one call less."""
        self.greenlet = ProcessGreenlet(self._run, gevent.get_hub())
        self.greenlet.process = self
        self.has_ended = False
        self.started_at = time.time()
        self.traps_links = False
        """Whether an abnormal end of a linked process is news instead of a death."""
        self.monitors: set[Any] | None = None
        """Refs of the monitors that this process holds."""
        self.node: Any = None
        """The node it lives on; set by the node."""
        self.starter: PID | None = None
        """Who has spawned it with a link, and has not unlinked it since; set by the node."""
        mailbox.belong_to(self, turn)

    def __repr__(self) -> str:
        return f"<Process {self.pid} {getattr(self._function, '__qualname__', self._function)}>"

    def start(self) -> None:
        """Let it run from the next turn of the event loop on."""
        gevent.get_hub().loop.run_callback(self._begin)

    # -- what others may do to it; none of it blocks ---------------------------

    def on_exit(self, exit: Exit) -> None:
        """Take the news that a monitored process has ended."""
        if self.monitors is not None:
            self.monitors.discard(exit.ref)
        self.mailbox.put_event(exit)

    def on_link_down(self, news: LinkDown) -> None:
        """Take the news that a linked process has ended abnormally."""
        if self.traps_links:
            self.mailbox.put_event(news)
        elif self.mailbox.kill_exception is None:
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
        if self.mailbox.kill_exception is None:
            self.mailbox.kill(ProcessExit(reason))
            self.node.release(self.pid)
        self.mailbox.has_raised_kill = False
        self.greenlet.divert(self._wake_killed)
        gevent.get_hub().loop.run_callback(self._throw)

    def raise_if_killed(self) -> None:
        """End the calling process if it has been killed meanwhile, by itself perhaps."""
        mailbox = self.mailbox
        if mailbox.kill_exception is not None and not mailbox.has_raised_kill:
            mailbox.has_raised_kill = True
            self.greenlet.divert(None)
            raise mailbox.kill_exception

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
            "function": self._where(),
        }

    def _where(self) -> str:
        """Return the innermost function that is not greenrelay's or gevent's own."""
        frame = self.greenlet.gr_frame
        while frame is not None:
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package not in ("greenrelay", "gevent"):
                return f"{frame.f_globals.get('__name__')}:{frame.f_code.co_name}"
            frame = frame.f_back
        return f"{self._function.__module__}:{getattr(self._function, '__qualname__', '?')}"

    @property
    def is_full(self) -> bool:
        """Whether connections should stop parsing and reading for it."""
        return self.mailbox.is_full

    @property
    def is_killed(self) -> bool:
        """Whether it has been killed, and only its cleanup is left."""
        return self.mailbox.kill_exception is not None

    def on_drained(self, key: object, call: Callable[[], None]) -> None:
        """Have `call` called once, when it is not full any more, or has ended."""
        self.mailbox.on_drained(key, call)

    def forget_drained(self, key: object) -> None:
        """Do not call; a key that is not there is no error."""
        self.mailbox.forget_drained(key)

    # -- in its own greenlet ----------------------------------------------------

    def _begin(self) -> None:
        # In the child of a fork the node does not know it: it has stayed in the parent.
        if self.mailbox.kill_exception is None and self.node.find(self.pid) is self:
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
        if self.has_ended or self.mailbox.has_raised_kill or self.mailbox.kill_exception is None:
            return
        self.mailbox.has_raised_kill = True
        if self._has_begun:
            self.greenlet.throw(self.mailbox.kill_exception)
        else:
            self._end(self._kill_reason() or KILLED)
            del self.greenlet.process, self.greenlet.run  # as at the end of _run()

    def _run(self) -> None:
        value = error = None
        try:
            self.mailbox.begin()
            value = self._call()
            # A closed inbox is how it was cancelled: it went along.
            reason = CANCELLED if self.mailbox.is_closed else NORMAL
        except ProcessExit as exit:
            reason = exit.reason
        except ChannelClosed:
            reason = CANCELLED
        except gevent.GreenletExit:
            reason = KILLED
        except BaseException as exception:
            error = exception
            reason = describe_error(error)
        killed_for = self._kill_reason()
        if killed_for is None:
            self._end(reason, value, error)
        else:
            self._end(killed_for)
        if error is not None:
            self._report(error)
        # What holds each other lets go, so that nothing of it waits for the collector.
        error = None
        if killed_for is not None:
            self.greenlet.divert(None)
        del self.greenlet.process

    def _call(self) -> Any:
        turn = self.mailbox.turn
        if turn is None:
            return self._function(*self._args, **self._kwargs)
        turn.enter()
        try:
            value = self._function(*self._args, **self._kwargs)
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
        self._on_end(self, Exit(self.pid, reason, time.time(), value, error))
        # What it was called with may be large, and its PID outlives it.
        self._args, self._kwargs = (), {}
        self.mailbox.release()

    def _report(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            gevent.get_hub().handle_system_error(type(error), error)
        log_now(log, logging.ERROR, "process %s crashed", self.pid, exc_info=error)


def describe_error(error: BaseException) -> str:
    """Return the exit reason for an exception: `error: <Type>: <text>`."""
    try:
        text = str(error)
    except Exception:  # whatever it can't say, its process has to end
        text = "?"
    return f"error: {type(error).__name__}: {text}"
