"""What both relays share: a connection that is a process, from join to leave.

    OPENING ─ begin() ─► OPEN ─ close() ─► CLOSING ─┐
                          │                          ├─► LINGERING ─► CLOSED
                          └─ end() ──────────────────┘
    OPENING    known to everybody, nothing on the wire yet
    CLOSING    the client has been told the end, and its answer is awaited
    LINGERING  ended for everybody; the last bytes are still on their way, and what the
               client still sends is dropped
    CLOSED     the socket is gone

Join is the first and leave the last message its target gets. Two rules: no method
blocks, switches or raises; what is due later is due through the one timer wheel.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, TypeVar

from greenrelay.logs import log_soon
from greenrelay.message import Exit, LinkDown
from greenrelay.pid import PID
from greenrelay.processes.node import Node
from greenrelay.relay.alarms import Alarm, Timetable, ring_if_due
from greenrelay.relay.config import RelayConfig, RelayKind, parse_control
from greenrelay.relay.connections import Connections
from greenrelay.relay.delivery import CLOSED, CLOSING, LINGERING, OPEN, OPENING, Frames, Recipient
from greenrelay.relay.endings import (
    ASKED,
    CLIENT_GONE,
    LINK_FAILED,
    STOPPED,
    TARGET_BROKEN,
    TERMINATED,
    Ending,
    target_ended,
)
from greenrelay.relay.farewell import Farewell
from greenrelay.relay.target import NOBODY, Target
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import CANCELLED, CONNECTION_LOST, KILLED, NOPROC, NORMAL

log = logging.getLogger("greenrelay.session")

Kind = TypeVar("Kind", bound="Session")


class Session(Recipient):
    """One connection: an entity of a node on one side, a transport's receiver on the other.

    Args:
        node: where it lives.
        wheel: what tells it the time.
        config: what it obeys.
        frames: shared by all connections of a relay.
        alarm: what only its kind has to do at times.
    """

    __slots__ = (
        "_farewell",
        "_timetable",
        "alarm",
        "message_count",
        "opened_at",
        "target",
    )

    # The subclass's topics, and what its header and its control messages may hold.
    JOIN: str
    LEAVE: str
    HEARTBEAT: str
    KIND: RelayKind

    def __init__(
        self: Kind,
        node: Node,
        wheel: TimerWheel,
        config: RelayConfig,
        frames: Frames,
        alarm: Alarm[Kind],
    ) -> None:
        super().__init__(node, wheel, config, frames)
        self.message_count = 0
        """Client messages so far."""
        self.target = NOBODY
        """Its relation to the process that gets them."""
        self.opened_at = self.last_active
        self.alarm: Alarm[Any] = alarm
        """What only its kind has to do at times."""
        self._timetable = Timetable.begin(config, self.opened_at)
        self._farewell: Farewell | None = None
        """From when on the client has been told the end, or it has ended."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.state.name}>"

    # -- beginning ---------------------------------------------------------------

    def join(self) -> None:
        """Enter the node's table and tell the target; the wire comes later, with `begin()`."""
        self.node.add(self)
        pid = self.config.target_pid
        if not self.aim(Target.of(self.node.reach(pid))) and pid:
            self.close(TARGET_BROKEN.because(NOPROC))  # it died while the body arrived

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
            "target": None if self.target.entity is None else self.target.entity.pid,
            "state": self.state.name.lower(),
            "unsent": self.transport.unsent,
            "messages_in": self.message_count,
            "messages_out": self.messages_out,
            "remote_address": self.transport.remote_address,
        }

    # -- its target --------------------------------------------------------------

    def join_payload(self) -> dict[str, Any]:
        """Return what a new target is told."""
        return {"client_pid": self.pid, "metadata": self.config.copy_metadata()}

    def aim(self, target: Target) -> bool:
        """Have another target, and attach to it; `False`: it is nobody."""
        self.target = target
        return target.attach(self)

    def on_exit(self, exit: Exit) -> None:
        """Close behind what the target has sent, if it is the target that has ended."""
        if self.target.is_told_of(exit):
            self.aim(NOBODY)
            elsewhere = self.node.table.elsewhere
            is_leaving = elsewhere is not None and elsewhere.is_leaving(exit.sender)
            self.close(target_ended(exit.reason, is_leaving))

    def pause_if_full(self) -> bool:
        """Pause reading if the target is full, until it has drained; tell whether it is."""
        # In CLOSING, what the client says to the end must get through.
        return self.state is OPEN and self.target.pause_if_full(self)

    def go_on(self) -> None:
        """Listen to the client again; what waits is taken in another turn of the loop."""
        self.transport.resume()

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection, wholly or not at all.

        Args:
            payload: fields of the relay header, as a mapping or its JSON text.

        Raises:
            ConfigurationError: a field is unknown or malformed, or the new target is dead.
        """
        before = self.config
        config = dataclasses.replace(before, **parse_control(payload, self.KIND))
        if config.target_pid != before.target_pid:
            self.target.move(self, config)
        self.adopt(config)
        self._timetable = self._timetable.adapted(before, config, self.wheel.clock())
        self.reschedule()

    def adopt(self, config: RelayConfig) -> None:
        """Obey another configuration from now on."""
        self.config = config

    # -- time ----------------------------------------------------------------------

    def reschedule(self) -> None:
        """Be told when the next thing is due."""
        self.wake_at(min(self.alarm.due(self), self._timetable.due(self)))

    def wake_at(self, at: float) -> None:
        """Be told when that time has come, and not before."""
        self.wheel.schedule(self, at)

    def on_timer(self, now: float) -> None:
        """Do what is due; a bug in it ends this connection and nothing else."""
        try:
            if self._farewell is not None:
                self._farewell.wait(self, now)
            else:
                ring_if_due(self.alarm, self, now)
                ring_if_due(self._timetable, self, now)
            if self.state is OPEN:
                self.reschedule()
        except Exception:
            log_soon(log, logging.ERROR, "%r failed on its timer", self, exc_info=True)
            self.kill(CONNECTION_LOST)

    def send_heartbeat(self, uptime: float) -> None:
        """Tell the target that the connection is there, for so many seconds already."""
        self.target.heartbeat(self, uptime)

    # -- ending ----------------------------------------------------------------------

    def close(self, ending: Ending) -> None:
        """Tell the client the end behind everything queued, and wait for its answer."""
        if self.state > OPEN:
            return
        # Words that somebody chose tell the target more than the reason; ours only repeat it.
        text = self.told_text(ending) if ending.exit_reason in (NORMAL, CANCELLED) else ""
        self._farewell = Farewell(ending, text or ending.exit_reason)
        self.transport.write(self.encode_ending(ending))
        self.state = CLOSING
        self.go_on()  # however busy the target is: the client's answer is for us
        self._farewell.wait(self, self.wheel.clock())

    def fail(self, ending: Ending) -> None:
        """Tell the client the end behind what waits, and end at once: no answer is awaited."""
        if self.state is CLOSING:
            self.end_as_told()
        elif self.state <= OPEN:
            self.transport.write(self.encode_ending(ending))
            self.end(ending, ending.exit_reason)
        if not self.transport.unsent:
            self.on_flushed()

    def end_as_told(self) -> None:
        """End, for everybody else too, in the way that the client was told before."""
        assert self._farewell is not None  # set before the state is CLOSING
        self.end(self._farewell.ending, self._farewell.reason)

    def end(self, ending: Ending, reason: str) -> None:
        """Leave the target and the node's table; the transport may still have to be flushed.

        Args:
            reason: for the target's leave.
        """
        if self.state >= LINGERING:
            return
        self.state = LINGERING
        if ending.is_counted:
            self.node.count(ending.exit_reason)
        if ending.is_logged:
            log_soon(log, logging.INFO, "%s ended: %s", self.pid, ending.exit_reason)
        try:
            self.target.detach(self, reason, ending.code)
        finally:  # whatever the target does, its monitors and links are told
            self.node.end(self, ending.exit_reason)
        self.node.shared(Connections).add(self)
        self.go_on()
        if self._farewell is None:
            self._farewell = Farewell(ending, reason)
        self._farewell.wait_anew(self, self.wheel.clock())

    def finish(self) -> None:
        """Close the socket; idempotent."""
        if self.state is not CLOSED:
            self.state = CLOSED
            self.wheel.cancel(self)
            self.node.shared(Connections).remove(self)
            self.transport.close()

    def kill(self, reason: str = KILLED) -> None:
        """End with `reason`, the socket at once."""
        self.end(TERMINATED.because(reason), reason)
        self.finish()

    def cancel(self, sender: PID | None = None, reason: str | None = None) -> None:
        """Close: somebody asks for it."""
        self.close(ASKED._replace(text=reason or ""))

    def drain(self) -> None:
        """Close: the server stops."""
        self.close(STOPPED)

    def on_flushed(self) -> None:
        """Let the client read the last bytes, which are with the kernel, before the socket ends."""
        if self.state is LINGERING:
            # To close with unread input, or before more of it comes, would reset the
            # connection, and what the kernel still holds were lost.
            self.transport.shutdown_write()
            self.transport.resume()

    def on_eof(self) -> None:
        """Take it that the peer is gone, or will send nothing more."""
        if self.state is CLOSING:
            self.end_as_told()
        elif self.state <= OPEN:
            self.end(CLIENT_GONE, CONNECTION_LOST)
            self.finish()
        if not self.transport.unsent:
            self.finish()

    def on_link_down(self, news: LinkDown) -> None:
        """Close: a linked process has ended abnormally."""
        self.close(LINK_FAILED.because(news.reason))
