"""The fields of the relay headers, as type checkers know them.

    fields: WebSocketFields = {"heartbeat_interval": "30s", "compression": True}
    relay.websocket(target, **fields)

What each may hold beyond its type is in `greenrelay.config`, which checks it at runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

Duration = str | Literal[0]
"""`30s`, `1m30s`, `500ms`, `2h`; 0 is off."""


class RelayFields(TypedDict, total=False):
    """What both relays take."""

    message_topic: str
    heartbeat_interval: Duration
    metadata: Mapping[str, Any]
    max_backlog: int
    slow_consumer: Literal["close", "drop_new", "drop_old"]
    idle_timeout: Duration


class WebSocketFields(RelayFields, total=False):
    """What `relay.websocket()` takes besides its target."""

    dialect: Literal["raw", "envelope"]
    max_message_size: int
    ping_interval: Duration
    compression: bool
    max_rate: float


class EventStreamFields(RelayFields, total=False):
    """What `relay.sse()` takes besides its target."""

    hard_timeout: Duration
    retry: Duration
