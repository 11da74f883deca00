"""An event stream as a process: messages on one side, events on the other.

    anyone ─► deliver ─► topic is message_topic? ─► event: <topic> / data: … ─► browser

Managed, it has a target and ends with it. Detached, it has none until an `sse.control`
names one. The client says nothing; that it has left shows in its socket, at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.protocol.eventstream import HEARTBEAT, Event, encode_event, payload_text
from greenrelay.protocol.jsontext import encode_json
from greenrelay.relay.alarms import HardTimeout
from greenrelay.relay.config import EVENT_STREAM, RelayConfig
from greenrelay.relay.endings import CLOSED_BY_SERVER, Ending, printable
from greenrelay.relay.session import Session
from greenrelay.relay.transport import Transport
from greenrelay.relay.wheel import TimerWheel
from greenrelay.wire import (
    HOST_EVENT_STREAM,
    SSE_CLOSE,
    SSE_CONTROL,
    SSE_DONE,
    SSE_HEARTBEAT,
    SSE_JOIN,
    SSE_LEAVE,
    SSE_READY,
    SSE_RESERVED,
)

log = logging.getLogger("greenrelay.sse")

ANY_TOPIC: Final = "*"
DEFAULT_REASON: Final = "closed by server"

_HARD_TIMEOUT: Final = HardTimeout()
"""One for all: it has no state."""


class EventCache:
    """The last event made, so that a broadcast is encoded once for all streams."""

    __slots__ = ("bad", "frame", "message")

    def __init__(self) -> None:
        self.frame = b""
        """The last event."""
        self.message: Message | None = None
        """The message it was made of."""
        self.bad: Message | None = None
        """The last message that can't be one."""

    def encode(self, message: Message) -> bytes:
        """Return the event that a message becomes.

        Raises:
            ValueError, TypeError: it can't be one.
        """
        if message is not self.message:
            payload = message.payload
            if isinstance(payload, Event):
                self.frame = encode_event(
                    message.topic, payload_text(payload.data), id=payload.id, retry=payload.retry
                )
            else:
                self.frame = encode_event(message.topic, payload_text(payload))
            self.message = message
        return self.frame

    def refuse(self, message: Message) -> None:
        """Remember that `message` can't be an event."""
        self.bad = message


class EventStreamSession(Session):
    """One event stream.

    Args:
        events: shared by all streams of a relay.
        last_event_id: what the browser sent when it reconnected, else `None`.
    """

    __slots__ = ("last_event_id",)

    HOST = HOST_EVENT_STREAM
    JOIN = SSE_JOIN
    LEAVE = SSE_LEAVE
    HEARTBEAT = SSE_HEARTBEAT
    KIND = EVENT_STREAM
    LOG = log

    frames: EventCache

    def __init__(
        self,
        node: Node,
        wheel: TimerWheel,
        config: RelayConfig,
        events: EventCache,
        last_event_id: str | None = None,
    ) -> None:
        super().__init__(node, wheel, config, events, _HARD_TIMEOUT)
        self.sends_as_encoded = self._sends_as_encoded()
        self.last_event_id = last_event_id

    def connect(self, sock: Any, head: bytes) -> None:
        """Attach the socket; nothing is sent or read before `begin()`."""
        self.use(Transport(sock, self, head + self.first_bytes()))

    def first_bytes(self) -> bytes:
        """Return what follows the response's head, if anything does."""
        config = self.config
        first = _encode_retry(config.retry) if config.retry else b""
        if not config.target_pid:
            # Never the metadata: it may be the server's own.
            ready = {"stream_pid": self.pid, "message_topic": config.message_topic}
            first += encode_event(SSE_READY, encode_json(ready).decode())
        return first

    def join_payload(self) -> dict[str, Any]:
        """Return what the target is told about a new stream."""
        return {**super().join_payload(), "last_event_id": self.last_event_id}

    # -- from the client -----------------------------------------------------------

    def on_bytes(self, data: bytes) -> None:
        """Drop what the client sends: an event stream has one direction."""

    def on_turn(self) -> None:
        """Do nothing: nothing is ever left."""

    # -- to the client ---------------------------------------------------------------

    def encode(self, message: Message) -> bytes | None:
        """Return the event that a message becomes; `None`: it was obeyed, or is not wanted."""
        topic = message.topic
        if topic in SSE_RESERVED or topic.startswith("@"):
            self._obey(topic, message.payload)
        elif topic == self.config.message_topic or self.config.message_topic == ANY_TOPIC:
            return self.frames.encode(message)
        return None

    def _sends_as_encoded(self) -> bool:
        # With a filter, what the others were sent may not be for this one.
        return self.config.message_topic == ANY_TOPIC and not self.config.idle_timeout

    def _obey(self, topic: str, payload: Any) -> None:
        if topic == SSE_CONTROL:
            self.control(payload)
        elif topic == SSE_CLOSE:
            reason = payload.get("reason") if isinstance(payload, Mapping) else payload
            if reason is not None and not isinstance(reason, str):
                raise TypeError(f"sse.close takes a reason, or none, got {payload!r:.80}")
            self.close(CLOSED_BY_SERVER._replace(text=reason or ""))

    def control(self, payload: Any) -> None:
        """Change the configuration of the living stream."""
        before = self.config
        super().control(payload)
        if self.config.retry != before.retry:
            self.transport.write(_encode_retry(self.config.retry), True)
        self.sends_as_encoded = self._sends_as_encoded()

    # -- ending ----------------------------------------------------------------------

    def close(self, ending: Ending) -> None:
        """Tell the client the end behind everything queued; a browser does not answer it."""
        self.fail(ending)

    def encode_ending(self, ending: Ending) -> bytes:
        """Return the last event."""
        reason = {"reason": printable(ending.text) or DEFAULT_REASON}
        return encode_event(SSE_DONE, encode_json(reason).decode())

    # -- time ------------------------------------------------------------------------

    def send_heartbeat(self, uptime: float) -> None:
        """Keep proxies from closing, and tell the target."""
        if not self.transport.unsent:  # what waits keeps the proxy busy enough
            self.transport.write(HEARTBEAT, True)
        super().send_heartbeat(uptime)


def _encode_retry(seconds: float) -> bytes:
    return b"retry: %d\n\n" % (seconds * 1000)
