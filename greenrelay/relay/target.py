"""A connection's relation to its target: join, heartbeat, backpressure, move, leave.

    attach() ─► heartbeat() … ─► detach()    what the target gets, beside the client's messages

Join is the first and leave the last message a target gets from a connection; between two targets
no client message is lost or seen twice, because moving is one step. No method blocks or switches.

The connection is an argument everywhere: held, it would hold itself, and outlive its end.
"""

from __future__ import annotations

from typing import Any, Protocol

from greenrelay.errors import ConfigurationError
from greenrelay.message import Exit, Message, MonitorRef
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

    def go_on(self) -> None:
        """Listen to the client again."""

    def on_exit(self, exit: Exit) -> None:
        """Take the news that the target has ended."""


class Target:
    """What one connection has to do with its target, if it has one."""

    __slots__ = ("_monitor", "entity")

    def __init__(self) -> None:
        self.entity: Entity | None = None
        """Who gets the connection's messages, by `deliver()`; `None`: nobody."""
        self._monitor: MonitorRef | None = None

    def attach(self, connection: Connection, entity: Entity | None) -> bool:
        """Begin: monitor the target, and tell it of the connection; `False`: there is none."""
        self.entity = entity
        if entity is None:
            return False
        self._monitor = connection.node.monitor(connection, entity.pid)
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
        self.attach(connection, entity)
        connection.go_on()  # the former may have been full

    def detach(self, connection: Connection, reason: str, code: int) -> None:
        """End: tell the target that the connection is gone, and take no more news of it.

        Args:
            reason, code: why, and the close code.
        """
        entity, self.entity = self.entity, None
        if self._monitor is not None:
            connection.node.unmonitor((self._monitor,))
            self._monitor = None
        if entity is not None:
            entity.forget_drained(connection.pid)
            _tell(entity, connection, connection.LEAVE, reason=reason, code=code)

    def take_exit(self, exit: Exit) -> bool:
        """Take the news of an end; `True`: it is the target's, and nobody is the target now."""
        if self.entity is None or exit.sender != self.entity.pid:
            return False
        self.entity = self._monitor = None
        return True

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


def _tell(entity: Entity, connection: Connection, topic: str, **news: Any) -> None:
    payload = {"client_pid": connection.pid, **news, "metadata": connection.config.copy_metadata()}
    entity.deliver(Message(topic, payload, connection.pid))
