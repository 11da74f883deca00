"""Admission: a request that asks for a relay becomes a session, or is refused.

What may be refused, and with which status, is the failure table of the reference;
nothing is upgraded, and no socket touched, before all of it has been looked at.
"""

from __future__ import annotations

import email.utils
from typing import Any, NamedTuple

from greenrelay.errors import RefusedError
from greenrelay.processes.anywhere import is_alive
from greenrelay.processes.node import Node
from greenrelay.protocol import refusals
from greenrelay.protocol.deflate import negotiate
from greenrelay.protocol.eventstream import STREAM_HEADERS, encode_event
from greenrelay.protocol.handshake import (
    SWITCHING,
    encode_head,
    end_to_end_headers,
    upgrade_headers,
)
from greenrelay.protocol.jsontext import encode_json
from greenrelay.protocol.origins import Verdict
from greenrelay.protocol.refusals import Headers
from greenrelay.relay.config import EVENT_STREAM, RelayConfig, parse_relay_header
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.sse import EventCache, EventStreamSession
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.relay.wheel import TimerWheel
from greenrelay.web.opening import Opening
from greenrelay.web.quota import Quota
from greenrelay.web.routers import Rule
from greenrelay.wire import CONNECTION_LOST, SHUTDOWN, SSE_DONE, SSE_RELAY_HEADER


class RelayRequest(NamedTuple):
    """What a handler's answer asks for."""

    header: str
    """The relay header's name."""
    value: str
    rule: Rule
    """What holds for that relay on this path."""
    headers: Headers
    """The handler's other headers."""


class Admitted(NamedTuple):
    """A session that has neither joined nor got its socket yet."""

    session: WebSocketSession | EventStreamSession
    status: str
    head: bytes
    """What is sent first; nothing, where somebody else has upgraded."""

    def connect(self, sock: Any) -> None:
        """Give the session its socket."""
        self.session.connect(sock, self.head)


class Admission:
    """Decides for one middleware.

    Args:
        node: where the connections live.
        quota: how many there may be.
        body_timeout: seconds for which a request's body may not go on; 0 is off.
    """

    def __init__(self, node: Node, quota: Quota, body_timeout: float) -> None:
        self._node = node
        self._quota = quota
        self._body_timeout = body_timeout
        self._wheel = TimerWheel()
        self._frames = FrameCache()
        self._events = EventCache()

    def admit(self, opening: Opening, relay: RelayRequest) -> Admitted:
        """Return a session for the request.

        Switches: yes, while the request's body is still arriving.

        Raises:
            RefusedError, ConfigurationError: answer with it.
            OSError: as `RequestSocket.discard_body()`.
        """
        if relay.header == SSE_RELAY_HEADER:
            admitted = self._admit_stream(opening, relay)
        else:
            admitted = self._admit_websocket(opening, relay)
        self._quota.count(self._node, admitted.session.pid, opening.address)
        return admitted

    def withdraw(self, admitted: Admitted) -> None:
        """Forget a session that has got no socket, so that its room is free again."""
        session = admitted.session
        self._node.add(session)
        self._node.end(session, CONNECTION_LOST)

    def _admit_websocket(self, opening: Opening, relay: RelayRequest) -> Admitted:
        config = parse_relay_header(relay.value, relay.rule.limits)
        handshake = None if opening.socket.is_upgraded else opening.require_handshake()
        opening.check_origin(relay.rule.origins)
        self._check_server(opening, config)
        head, window_bits = b"", 0
        if handshake is not None:
            agreement = negotiate(handshake.extensions) if config.compression else None
            extensions, window_bits = ("", 0) if agreement is None else agreement
            head = encode_head(SWITCHING, upgrade_headers(handshake, relay.headers, extensions))
        session = WebSocketSession(self._node, self._wheel, config, self._frames, window_bits)
        return Admitted(session, SWITCHING, head)

    def _admit_stream(self, opening: Opening, relay: RelayRequest) -> Admitted:
        config = parse_relay_header(relay.value, relay.rule.limits, EVENT_STREAM)
        verdict = opening.check_origin(relay.rule.origins)
        try:
            self._check_server(opening, config)
        except RefusedError:
            if not self._node.is_draining:
                raise
            headers = stream_headers(opening, verdict, relay.headers)
            raise refusals.ended_stream(_last_event(config), headers) from None
        headers = stream_headers(opening, verdict, relay.headers)
        if opening.is_head:
            raise refusals.nothing_to_stream(headers)
        head = encode_head(refusals.OK, headers)
        last = opening.last_event_id
        session = EventStreamSession(self._node, self._wheel, config, self._events, last)
        return Admitted(session, refusals.OK, head)

    def _check_server(self, opening: Opening, config: RelayConfig) -> None:
        """Look whether this server has what a connection needs, and read the body's rest."""
        self._check_room(opening.address, config)
        if not opening.socket.can_take:
            raise refusals.NO_SOCKET.error()
        opening.socket.discard_body(self._body_timeout)
        self._check_room(opening.address, config)  # again: it may have been long in coming

    def _check_room(self, address: str, config: RelayConfig) -> None:
        if self._node.is_draining:
            raise refusals.STOPPING.error()
        if config.target_pid and not is_alive(self._node, config.target_pid):
            raise refusals.target_gone(config.target_pid, self._node.name)
        try:
            self._quota.check(address)
        except RefusedError:
            self._node.count("refused.quota")
            raise


def stream_headers(opening: Opening, verdict: Verdict, handler_headers: Headers) -> Headers:
    """Return the headers of an event stream's response; those the handler set win."""
    handlers = end_to_end_headers(handler_headers)
    theirs = {name.lower() for name, _ in handlers}
    ours = [*STREAM_HEADERS, ("Date", email.utils.formatdate(usegmt=True)), ("Connection", "close")]
    if opening.claim is not None and verdict in (Verdict.LISTED, Verdict.ANY):
        ours.append(("Access-Control-Allow-Origin", opening.claim.origin))
        ours.append(("Vary", "Origin"))
        if verdict is Verdict.LISTED and "access-control-allow-origin" not in theirs:
            ours.append(("Access-Control-Allow-Credentials", "true"))
    theirs.discard("vary")  # a list: what varies for us does so beside what varies for them
    return [(name, value) for name, value in ours if name.lower() not in theirs] + handlers


def _last_event(config: RelayConfig) -> bytes:
    """Return how a stream ends on a server that is stopping."""
    reason = encode_json({"reason": SHUTDOWN}).decode()
    return encode_event(SSE_DONE, reason, retry=round(config.retry * 1000) or None)
