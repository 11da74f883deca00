"""What both relays share: a connection that is a process, from join to leave.

    OPENING ─ begin() ─► OPEN ─ close() ─► CLOSING ─┐
                          │                          ├─► LINGERING ─► CLOSED
                          └─ end() ──────────────────┘
    OPENING    known to everybody, nothing on the wire yet
    CLOSING    we said goodbye and wait for the peer's
    LINGERING  ended for everybody; the last bytes are still on their way, and what the
               client still sends is dropped
    CLOSED     the socket is gone

Join is the first and leave the last message its target gets. Two rules: no method
blocks, switches or raises; what is due later is due through the one timer wheel.
"""

from __future__ import annotations

import logging
from typing import Any

from greenrelay.logs import log_soon
from greenrelay.message import Exit, LinkDown
from greenrelay.pid import PID
from greenrelay.processes.node import Node
from greenrelay.relay.config import RelayConfig
from greenrelay.relay.delivery import CLOSED, CLOSING, LINGERING, OPEN, OPENING, Frames, Recipient
from greenrelay.relay.goodbyes import COUNTED, GOODBYES, LOGGED, Goodbye, Patience, target_goodbye
from greenrelay.relay.silence import NO_LOOK, Look
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import (
    CANCELLED,
    CLOSE_ABNORMAL,
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CONNECTION_LOST,
    IDLE_TIMEOUT,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    TARGET_FAILED,
)

log = logging.getLogger("greenrelay.session")


class Session(Recipient):
    """One connection: an entity of a node on one side, a transport's receiver on the other.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        frames: shared by all connections of a relay.
        host: what stands before the `@` of its PID.
    """

    __slots__ = (
        "_goodbye",
        "_look",
        "_patience",
        "heartbeat_due",
        "opened_at",
        "wheel_tick",
    )

    def __init__(
        self, node: Node, wheel: TimerWheel, config: RelayConfig, frames: Frames, host: str
    ) -> None:
        super().__init__(node, wheel, config, frames, host)
        self.wheel_tick = 0
        self.opened_at = self.last_active
        self.heartbeat_due = self.opened_at + config.heartbeat_interval
        self._goodbye: tuple[str, str, int] | None = None
        """Exit reason, leave reason and code of a goodbye under way."""
        self._patience: Patience | None = None
        self._look: Look = NO_LOOK

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.state.name}>"

    # -- beginning ---------------------------------------------------------------

    def join(self) -> None:
        """Enter the node's table and tell the target; the wire comes later, with `begin()`."""
        self.node.add(self)
        target = self.node.find(self.config.target_pid)
        if target is not None:
            self._attach(target)
        elif self.config.target_pid:  # it died while the request's body arrived
            self.close(Goodbye(NOPROC, CLOSE_INTERNAL_ERROR, TARGET_FAILED))

    def begin(self, early: bytes) -> None:
        """Send the response head and what has gathered behind it, then read.

        Args:
            early: what the server has already read of the client's bytes.
        """
        if self.state is OPENING:
            self.state = OPEN
            self.reschedule()
        self.transport.start(early)

    def info(self) -> dict[str, Any]:
        """Return what it knows about itself; see `process.info()`."""
        return {
            "uptime": self.wheel.clock() - self.opened_at,
            "target": self._target.pid if self._target is not None else None,
            "state": self.state.name.lower(),
            "unsent": self.transport.unsent,
            "messages_in": self.message_count,
            "messages_out": self.messages_out,
            "remote_address": self.transport.remote_address,
        }

    def is_choked(self) -> bool:
        """Tell whether reading should pause until the target has drained."""
        # In CLOSING, the client's goodbye must get through.
        return self.state is OPEN and super().is_choked()

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection, wholly or not at all."""
        before = self.config
        super().control(payload)
        config, now = self.config, self.wheel.clock()
        if config.heartbeat_interval != before.heartbeat_interval:
            self.heartbeat_due = now + config.heartbeat_interval
        if not before.idle_timeout:
            self.last_active = now  # nobody has looked until now
        self.reschedule()

    # -- time ----------------------------------------------------------------------

    def next_due(self) -> float:
        """Return when `on_timer` has something to do next; infinity is never."""
        due = float("inf")
        if self.config.heartbeat_interval:
            due = self.heartbeat_due
        if self.config.idle_timeout:
            due = min(due, self._look.due(self.last_active, self._idle_until()))
        return due

    def _idle_until(self) -> float:
        return self.last_active + self.config.idle_timeout

    def reschedule(self) -> None:
        """Be told when the next thing is due."""
        due = self.next_due()
        if due == float("inf"):
            self.wheel.cancel(self)
        else:
            self.wheel.schedule(self, due)

    def on_timer(self, now: float) -> None:
        """Do what is due; a bug in it ends this connection and nothing else."""
        try:
            if self.state is OPEN:
                self.tick(now)
            elif self.state in (CLOSING, LINGERING):
                self._await_progress(now)
            if self.state is OPEN:
                self.reschedule()
        except Exception:
            log_soon(log, logging.ERROR, "%r failed on its timer", self, exc_info=True)
            self.kill(CONNECTION_LOST)

    def tick(self, now: float) -> None:
        """Do what is due on an open connection."""
        if self.config.heartbeat_interval and now >= self.heartbeat_due:
            interval = self.config.heartbeat_interval
            self.heartbeat_due = next_beat(self.heartbeat_due, interval, now)
            self.send_heartbeat(now - self.opened_at)
        until = self._idle_until()
        if self.config.idle_timeout and now >= self._look.due(self.last_active, until):
            if not self.transport.is_reading:
                self.last_active = now  # it is us who do not listen
            elif self.is_silent(self.last_active, until, now):
                self.close(GOODBYES[IDLE_TIMEOUT])

    def is_silent(self, sign: float, limit: float, now: float) -> bool:
        """Tell whether a silence is too long, and not only because we have not listened.

        Args:
            sign, limit: as `Look.due()` takes them; that time has come.
        """
        look = self._look.renew(sign, limit, now)
        if look is not None:
            self._look = look
        return look is None

    # -- ending ----------------------------------------------------------------------

    def close(self, goodbye: Goodbye) -> None:
        """Say goodbye after everything queued, and wait for the client's."""
        if self.state > OPEN:
            return
        exit_reason = goodbye.exit_reason
        # Words that somebody chose tell more than the reason; ours only repeat it.
        text = self.goodbye_text(goodbye) if exit_reason in (NORMAL, CANCELLED) else ""
        self._goodbye = (exit_reason, text or exit_reason, goodbye.code)
        self.transport.write(self.encode_goodbye(goodbye))
        self.state = CLOSING
        self.go_on()  # however busy the target is: the client's goodbye is ours
        self._await_progress(self.wheel.clock())

    def fail(self, goodbye: Goodbye) -> None:
        """Say goodbye and end at once: this client is not waited for."""
        if self.state is CLOSING:
            self.end(*self.farewell())
        elif self.state <= OPEN:
            self.transport.write(self.encode_goodbye(goodbye))
            self.end(goodbye.exit_reason, goodbye.exit_reason, goodbye.code)
        if not self.transport.unsent:
            self.on_flushed()

    def farewell(self) -> tuple[str, str, int]:
        """Return exit reason, leave reason and code of the goodbye under way."""
        assert self._goodbye is not None  # set before the state is CLOSING
        return self._goodbye

    def end(self, exit_reason: str, reason: str, code: int) -> None:
        """Leave the target and the node's table; the transport may still have to be flushed.

        Args:
            exit_reason: for monitors and links.
            reason: for the target's leave.
            code: for the target's leave: the close code.
        """
        if self.state >= LINGERING:
            return
        self.state = LINGERING
        if exit_reason in COUNTED:
            self.node.counts[exit_reason] += 1
        if exit_reason in LOGGED:
            log_soon(log, logging.INFO, "%s ended: %s", self.pid, exit_reason)
        try:
            self._detach(reason, code)
        finally:  # whatever the target does, its monitors and links are told
            self.node.end(self, exit_reason)
        self.node.lingering.add(self)
        self.go_on()
        now = self.wheel.clock()
        if self._patience is not None:
            self._patience.renew(now, self.transport.undelivered)
        self._await_progress(now)

    def _await_progress(self, now: float) -> None:
        """Let the client take what it is sent, or put an end to it."""
        left = self.transport.undelivered
        if self._patience is None:
            self._patience = Patience(now, left)
        due = self._patience.next_check(now, left)
        if due > now:
            self.wheel.schedule(self, due)
            return
        if self.state is CLOSING:
            self.end(*self.farewell())
        self.finish()

    def finish(self) -> None:
        """Close the socket."""
        if self.state is not CLOSED:
            self.state = CLOSED
            self.wheel.cancel(self)
            self.node.lingering.discard(self)
            self.transport.close()

    def kill(self, reason: str = KILLED) -> None:
        """End with `reason`, the socket at once."""
        self.end(reason, reason, CLOSE_ABNORMAL)
        self.finish()

    def cancel(self, sender: PID | None = None, reason: str | None = None) -> None:
        """Say goodbye: somebody asks for it."""
        self.close(Goodbye(CANCELLED, CLOSE_GOING_AWAY, reason or ""))

    def drain(self) -> None:
        """Say goodbye: the server stops."""
        self.close(GOODBYES[SHUTDOWN])

    def on_flushed(self) -> None:
        """The last bytes are with the kernel: let the client read them before the end."""
        if self.state is LINGERING:
            # To close with unread input, or before more of it comes, would reset the
            # connection, and what the kernel still holds were lost.
            self.transport.shutdown_write()
            self.transport.resume()

    def on_eof(self) -> None:
        """The peer is gone, or only says that it will send nothing more."""
        if self.state is CLOSING:
            self.end(*self.farewell())
        elif self.state <= OPEN:
            self.end(CONNECTION_LOST, CONNECTION_LOST, CLOSE_ABNORMAL)
            self.finish()
        if not self.transport.unsent:
            self.finish()

    def on_link_down(self, news: LinkDown) -> None:
        """A linked process has ended abnormally."""
        self.close(Goodbye(news.reason, CLOSE_INTERNAL_ERROR, "linked process failed"))

    def on_exit(self, exit: Exit) -> None:
        """The target has ended."""
        self._monitor = None
        if self._target is not None and exit.sender == self._target.pid:
            self._target = None
            self.close(target_goodbye(exit.reason))

    # -- what the subclass decides -----------------------------------------------------

    def encode_goodbye(self, goodbye: Goodbye) -> bytes:
        """Return what the client is told at the end."""
        raise NotImplementedError

    def goodbye_text(self, goodbye: Goodbye) -> str:
        """Return the goodbye's text as the client gets it."""
        return goodbye.text


def next_beat(due: float, interval: float, now: float) -> float:
    """Return the first time after `now` in step with `due`; what a stall swallowed is gone."""
    return due + interval * (int((now - due) / interval) + 1)
