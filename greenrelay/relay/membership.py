"""A connection as its target sees it: join, heartbeat, move, leave.

Join is the first and leave the last message a target gets from a connection; between
two targets no client message is lost or seen twice, because moving is one step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from greenrelay.errors import ConfigurationError
from greenrelay.message import Exit, Message, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.entity import Entity
from greenrelay.processes.node import Node
from greenrelay.protocol.jsontext import decode_json
from greenrelay.relay.config import RelayConfig, RelayKind, parse_fields
from greenrelay.relay.transport import Transport
from greenrelay.wire import CLOSE_NORMAL, TRANSFERRED


class Member:
    """One connection's relation to its target.

    Args:
        node: where it lives.
        config: what it obeys.
        host: what stands before the `@` of its PID.
    """

    __slots__ = (
        "_monitor",
        "_target",
        "config",
        "message_count",
        "messages_out",
        "node",
        "pid",
        "transport",
    )

    transport: Transport

    # The subclass's topics, and what its header and its control messages may hold.
    JOIN: str
    LEAVE: str
    HEARTBEAT: str
    KIND: RelayKind

    def __init__(self, node: Node, config: RelayConfig, host: str) -> None:
        self.pid: PID = node.make_pid(host)
        self.node = node
        self.config = config
        self.message_count = 0
        """Client messages so far."""
        self.messages_out = 0
        """Messages to the client so far."""
        self._target: Entity | None = None
        self._monitor: MonitorRef | None = None

    def _attach(self, target: Entity) -> None:
        self._target = target
        self._monitor = self.node.monitor(self, target.pid)
        target.deliver(Message(self.JOIN, self.join_payload(), self.pid))

    def _detach(self, reason: str, code: int) -> None:
        target, self._target = self._target, None
        if self._monitor is not None:
            self.node.topology.unmonitor(self._monitor)
            self._monitor = None
        if target is not None:
            target.forget_drained(self.pid)
            target.deliver(
                Message(
                    self.LEAVE,
                    {
                        "client_pid": self.pid,
                        "reason": reason,
                        "code": code,
                        "metadata": self.config.copy_metadata(),
                    },
                    self.pid,
                )
            )

    def on_exit(self, exit: Exit) -> None:
        """The target has ended."""
        raise NotImplementedError

    def join_payload(self) -> dict[str, Any]:
        """Return what the target is told about a new connection."""
        return {"client_pid": self.pid, "metadata": self.config.copy_metadata()}

    def is_choked(self) -> bool:
        """Tell whether the target has enough to do; reading resumes when it has drained."""
        target = self._target
        if target is None or not target.is_full:
            return False
        target.on_drained(self.pid, self.go_on)
        return True

    def go_on(self) -> None:
        """Listen to the client again; what waits is taken in another turn of the loop."""
        self.transport.resume()

    def send_heartbeat(self, uptime: float) -> None:
        """Tell the target that the connection is there, for so many seconds already."""
        if self._target is not None:
            self._target.deliver(
                Message(
                    self.HEARTBEAT,
                    {
                        "client_pid": self.pid,
                        "uptime": uptime,
                        "message_count": self.message_count,
                        "metadata": self.config.copy_metadata(),
                    },
                    self.pid,
                )
            )

    def control(self, payload: Any) -> None:
        """Change the configuration of the living connection, wholly or not at all.

        Args:
            payload: fields of the relay header, as a mapping or its JSON text.

        Raises:
            ConfigurationError: a field is unknown or malformed, or the new target is dead.
        """
        topic = self.KIND.control
        if isinstance(payload, (str, bytes)):
            try:
                payload = decode_json(payload)
            except ValueError as error:
                raise ConfigurationError(f"{topic} is no JSON: {error}") from None
        if not isinstance(payload, Mapping):
            raise ConfigurationError(f"{topic} takes a mapping of fields, got {payload!r:.80}")
        fields = parse_fields(payload, self.KIND, topic)
        config = dataclasses.replace(self.config, **fields)
        if config.target_pid != self.config.target_pid:
            self._move(config)
        self.config = config

    def _move(self, config: RelayConfig) -> None:
        """Leave the target for the one that `config` names, which may be none."""
        target = self.node.find(config.target_pid)
        if target is None and config.target_pid:
            raise ConfigurationError(f"the new target {config.target_pid} is not alive")
        self._detach(TRANSFERRED, CLOSE_NORMAL)
        self.config = config
        if target is not None:
            self._attach(target)
        self.go_on()  # the former may have been full
