"""A connection's relation to its target: join, heartbeat, backpressure, move, leave.

    attach() ─► heartbeat() … ─► detach()    what the target gets, beside the client's messages

Join is the first and leave the last message a target gets from a connection; between two targets
no client message is lost or seen twice, because moving is one step. No method blocks or switches.

A `Target` is one process to one connection, and does not change: another process is another one.
The connection is an argument everywhere: held, it would hold itself, and outlive its end.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from greenrelay.errors import ConfigurationError
from greenrelay.message import Exit, Message
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.node import Node
from greenrelay.relay.bytestream import ByteStream
from greenrelay.relay.config import RelayConfig
from greenrelay.wire import CLOSE_NORMAL, TRANSFERRED


class Connection(Protocol):
    """What a connection is to this module."""

    # Its topics.
    JOIN: str
    LEAVE: str
    HEARTBEAT: str

    pid: PID
    node: Node
    config: RelayConfig
    message_count: int
    transport: ByteStream

    def join_payload(self) -> dict[str, Any]:
        """Return what a new target is told."""

    def adopt(self, config: RelayConfig) -> None:
        """Obey another configuration."""

    def aim(self, target: Target) -> bool:
        """Have another target, and attach to it; `False`: it is nobody."""

    def go_on(self) -> None:
        """Listen to the client again."""

    def on_exit(self, exit: Exit) -> None:
        """Take the news that the target has ended."""


class Target:
    """What one connection has to do with its target, if it has one.

    It names the connection's monitor of the target: a `MonitorRef` would be 96 bytes more.

    Args:
        entity: the target.
    """

    __slots__ = ("entity",)

    def __init__(self, entity: Entity | None) -> None:
        self.entity = entity
        """Who gets the connection's messages, by `deliver()`; `None`: nobody."""

    @staticmethod
    def of(entity: Entity | None) -> Target:
        """Return an entity as a target; `NOBODY` for none."""
        return NOBODY if entity is None else Target(entity)

    @property
    def pid(self) -> PID:
        """Who is monitored under this name."""
        assert self.entity is not None  # nobody is not
        return self.entity.pid

    def attach(self, connection: Connection) -> bool:
        """Begin: monitor the target, and tell it of the connection; `False`: there is none."""
        entity = self.entity
        if entity is None:
            return False
        connection.node.monitor_as(self, connection)
        entity.deliver(Message(connection.JOIN, connection.join_payload(), connection.pid))
        return True

    def move(self, connection: Connection, config: RelayConfig) -> None:
        """Leave the target for the one that `config` names, which may be none, in one step.

        Raises:
            ConfigurationError: it is not alive; nothing has changed.
        """
        entity = connection.node.reach(config.target_pid)
        if entity is None and config.target_pid:
            raise ConfigurationError(f"the new target {config.target_pid} is not alive")
        self.detach(connection, TRANSFERRED, CLOSE_NORMAL)
        connection.adopt(config)
        connection.aim(Target.of(entity))
        connection.go_on()  # the former may have been full

    def detach(self, connection: Connection, reason: str, code: int) -> None:
        """End: tell the target that the connection is gone, and take no more news of it.

        Args:
            reason, code: why, and the close code.
        """
        connection.aim(NOBODY)
        if self.entity is not None:
            connection.node.unmonitor((self,))
            self.entity.forget_drained(connection.pid)
            _tell(self.entity, connection, connection.LEAVE, reason=reason, code=code)

    def is_told_of(self, exit: Exit) -> bool:
        """Tell whether an end is the target's."""
        return self.entity is not None and exit.sender == self.entity.pid

    def heartbeat(self, connection: Connection, uptime: float) -> None:
        """Tell the target that the connection is there, for so many seconds already."""
        if self.entity is not None:
            count = connection.message_count
            _tell(self.entity, connection, connection.HEARTBEAT, uptime=uptime, message_count=count)

    def pause_if_full(self, connection: Connection) -> bool:
        """Pause reading if the target is full, until it has drained; tell whether it is."""
        entity = self.entity
        if entity is None or not entity.is_full:
            return False
        entity.on_drained(connection.pid, connection.go_on)
        connection.transport.pause()
        return True


NOBODY: Final = Target(None)
"""Of every connection that has no target, or none any more."""


def _tell(entity: Entity, connection: Connection, topic: str, **news: Any) -> None:
    payload = {"client_pid": connection.pid, **news, "metadata": connection.config.copy_metadata()}
    entity.deliver(Message(topic, payload, connection.pid))
