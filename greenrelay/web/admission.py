"""Admission: a request that asks for a relay becomes a session, or is refused.

What may be refused, and with which status, is the failure table of the reference;
nothing is upgraded, and no socket touched, before all of it has been looked at.
"""

from __future__ import annotations

import email.utils
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from greenrelay.errors import RefusedError
from greenrelay.message import Exit, MonitorRef
from greenrelay.pid import PID
from greenrelay.processes.node import Node
from greenrelay.protocol.deflate import negotiate
from greenrelay.protocol.eventstream import STREAM_HEADERS, encode_event
from greenrelay.protocol.handshake import (
    Headers,
    check_handshake,
    encode_head,
    end_to_end_headers,
    upgrade_headers,
)
from greenrelay.protocol.jsontext import encode_json
from greenrelay.protocol.origins import OriginPolicy, Verdict
from greenrelay.relay.config import EVENT_STREAM, RelayConfig, parse_relay_header
from greenrelay.relay.dialect import FrameCache
from greenrelay.relay.session import Session
from greenrelay.relay.sse import EventCache, EventStreamSession
from greenrelay.relay.websocket import WebSocketSession
from greenrelay.relay.wheel import TimerWheel
from greenrelay.web.hijack import adopt, can_take, discard_body, find_upgraded
from greenrelay.web.routers import Rule
from greenrelay.wire import (
    CONNECTION_LOST,
    RETRY_AFTER_SECONDS,
    SHUTDOWN,
    SSE_DONE,
    SSE_RELAY_HEADER,
)

SWITCHING: Final = "101 Switching Protocols"
OK: Final = "200 OK"
UNAVAILABLE: Final = "503 Service Unavailable"


class Quota:
    """How many connections a node, and one client address, may have; 0 is off.

    Args:
        per_node, per_address: the bounds.
    """

    def __init__(self, per_node: int = 0, per_address: int = 0) -> None:
        self.per_node = per_node
        self.per_address = per_address
        self._addresses: dict[PID, str] = {}
        self._counts: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Raise `RefusedError` when one more would be too many."""
        if self.per_node and len(self._addresses) >= self.per_node:
            raise _too_many("this server has too many connections")
        if self.per_address and self._counts[address] >= self.per_address:
            raise _too_many("this address has too many connections")

    def count(self, node: Node, pid: PID, address: str) -> None:
        """Count a connection until it ends."""
        if self.per_node or self.per_address:
            self._addresses[pid] = address
            self._counts[address] += 1
            node.topology.monitor(MonitorRef(pid, 0), self)

    def on_exit(self, exit: Exit) -> None:
        """A counted connection has ended."""
        address = self._addresses.pop(exit.sender)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


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

    def check_first(self, environ: dict[str, Any], header: str, rule: Rule) -> None:
        """Check what does not depend on the handler's answer.

        Raises:
            RefusedError: answer with it, and do not run the handler.
        """
        if header != SSE_RELAY_HEADER:
            check_handshake(environ)
        check_origin(environ, rule.origins)

    def admit(
        self, environ: dict[str, Any], relay: tuple[str, str], rule: Rule, headers: Headers
    ) -> tuple[Session, str, Callable[[Any], None]]:
        """Return a session that has not joined yet, its status, and what connects it to a socket.

        Args:
            relay: the relay header's name and value.
            headers: the handler's other headers.

        Switches: yes, while the request's body is still arriving.

        Raises:
            RefusedError, ConfigurationError: answer with it.
            OSError: as `discard_body()`.
        """
        name, value = relay
        if name == SSE_RELAY_HEADER:
            return self._admit_stream(environ, value, rule, headers)
        config = parse_relay_header(value, rule.limits)
        upgraded = find_upgraded(environ)
        if upgraded is not None:
            self._check(environ, config, rule)
            session = WebSocketSession(self._node, self._wheel, config, self._frames)
            self._quota.count(self._node, session.pid, environ.get("REMOTE_ADDR", ""))
            adopt(upgraded)
            return session, SWITCHING, lambda sock: session.connect(sock, b"")
        handshake = check_handshake(environ)
        self._check(environ, config, rule)
        agreement = negotiate(handshake.extensions) if config.compression else None
        extensions, window_bits = ("", 0) if agreement is None else agreement
        head = encode_head(SWITCHING, upgrade_headers(handshake, headers, extensions))
        session = WebSocketSession(self._node, self._wheel, config, self._frames, window_bits)
        self._quota.count(self._node, session.pid, environ.get("REMOTE_ADDR", ""))
        return session, SWITCHING, lambda sock: session.connect(sock, head)

    def withdraw(self, session: Session) -> None:
        """Forget a session that has got no socket, so that its room is free again."""
        self._node.add(session)
        self._node.end(session, CONNECTION_LOST)

    def _admit_stream(
        self, environ: dict[str, Any], value: str, rule: Rule, headers: Headers
    ) -> tuple[Session, str, Callable[[Any], None]]:
        config = parse_relay_header(value, rule.limits, EVENT_STREAM)
        try:
            verdict = self._check(environ, config, rule)
        except RefusedError:
            if not self._node.is_draining:
                raise
            raise _ended_stream(environ, config, rule, headers) from None
        if environ.get("REQUEST_METHOD") == "HEAD":
            theirs = tuple(stream_headers(environ, verdict, headers))
            raise RefusedError(OK, "", theirs, detail="HEAD has no body to stream")
        head = encode_head(OK, stream_headers(environ, verdict, headers))
        last = last_event_id(environ)
        session = EventStreamSession(self._node, self._wheel, config, self._events, last)
        self._quota.count(self._node, session.pid, environ.get("REMOTE_ADDR", ""))
        return session, OK, lambda sock: session.connect(sock, head)

    def _check(self, environ: dict[str, Any], config: RelayConfig, rule: Rule) -> Verdict:
        verdict = check_origin(environ, rule.origins)
        self._check_room(environ, config)
        if not can_take(environ):
            raise RefusedError(
                "501 Not Implemented",
                "this server's sockets can't be taken; run the app with greenrelay serve, "
                "gunicorn -k gevent, or gevent.pywsgi",
                advice=_ADVICE_501,
            )
        discard_body(environ, self._body_timeout)
        self._check_room(environ, config)  # again: it may have been long in coming
        return verdict

    def _check_room(self, environ: dict[str, Any], config: RelayConfig) -> None:
        if self._node.is_draining:
            raise RefusedError(UNAVAILABLE, "server is stopping", _RETRY)
        if config.target_pid and not self._node.is_alive(config.target_pid):
            raise target_gone(self._node, config.target_pid)
        try:
            self._quota.check(environ.get("REMOTE_ADDR", ""))
        except RefusedError:
            self._node.counts["refused.quota"] += 1
            raise


def check_origin(environ: dict[str, Any], origins: OriginPolicy) -> Verdict:
    """Return why a page may open a relay.

    Raises:
        RefusedError: it may not.
    """
    verdict = origins.judge(environ)
    if verdict is Verdict.FOREIGN:
        own = origins.own_origin(environ)
        shown = f"{own.scheme}://{own.host}:{own.port}" if own else "unknown, its Host is malformed"
        raise RefusedError(
            "403 Forbidden",
            "origin not allowed",
            detail=f"{environ.get('HTTP_ORIGIN')!r} is not allowed; this site is {shown!r}",
            advice=_ADVICE_403,
        )
    return verdict


def target_gone(node: Node, target: PID) -> RefusedError:
    """Return the refusal of a relay whose target is not alive."""
    if target.node == node.name:
        detail = f"the target {target} is not alive"
    else:
        detail = f"the target {target} lives on node {target.node!r}, and this is {node.name!r}"
    return RefusedError(UNAVAILABLE, "relay target is gone", detail=detail, advice=_ADVICE_503)


def last_event_id(environ: dict[str, Any]) -> str | None:
    """Return the id of the last event that a browser saw before it had to reconnect."""
    raw = environ.get("HTTP_LAST_EVENT_ID")
    # Browsers send it in UTF-8, WSGI has every byte as a character.
    return raw if raw is None else raw.encode("latin-1").decode("utf-8", "replace")


def stream_headers(environ: dict[str, Any], verdict: Verdict, handler_headers: Headers) -> Headers:
    """Return the headers of an event stream's response; those the handler set win."""
    handlers = end_to_end_headers(handler_headers)
    theirs = {name.lower() for name, _ in handlers}
    ours = [*STREAM_HEADERS, ("Date", email.utils.formatdate(usegmt=True)), ("Connection", "close")]
    if verdict in (Verdict.LISTED, Verdict.ANY):
        ours.append(("Access-Control-Allow-Origin", environ["HTTP_ORIGIN"]))
        ours.append(("Vary", "Origin"))
        if verdict is Verdict.LISTED and "access-control-allow-origin" not in theirs:
            ours.append(("Access-Control-Allow-Credentials", "true"))
    theirs.discard("vary")  # a list: what varies for us does so beside what varies for them
    return [(name, value) for name, value in ours if name.lower() not in theirs] + handlers


def _ended_stream(
    environ: dict[str, Any], config: RelayConfig, rule: Rule, headers: Headers
) -> RefusedError:
    """Return the answer of a server that is stopping: a stream that has ended already.

    A browser's EventSource comes back after the end of a stream, and stays away for good after
    any other status. Source: WHATWG HTML §9.2.3.

    Raises:
        RefusedError: the origin is foreign.
    """
    verdict = check_origin(environ, rule.origins)
    reason = encode_json({"reason": SHUTDOWN}).decode()
    event = encode_event(SSE_DONE, reason, retry=round(config.retry * 1000) or None)
    theirs = tuple(stream_headers(environ, verdict, headers))
    return RefusedError(OK, event.decode(), theirs, detail="the server is stopping")


_ADVICE_501: Final = (
    "Most often it is (1) flask run or app.run(): use greenrelay serve; (2) gunicorn without "
    "-k gevent; (3) Flask's test client: use the fixture relay_server"
)
_ADVICE_403: Final = (
    "Most often it is (1) a proxy in front, which ends TLS or changes the Host: put its address "
    "into GREENRELAY_TRUSTED_PROXIES; (2) a page of another site or port: put its origin into "
    "GREENRELAY_ALLOWED_ORIGINS; (3) a page that was opened under another name, such as localhost "
    "for 127.0.0.1: let it connect to location.host"
)
_ADVICE_503: Final = (
    "Most often (1) its function has returned or crashed: let it wait in "
    "`for message in process.inbox()`; (2) its PID is from another worker, or from before a "
    "restart: run one worker; (3) the view has kept a PID: get it anew from spawn(…, name=…)"
)
_ADVICE_QUOTA: Final = (
    "Most often (1) there are more people than GREENRELAY_MAX_CONNECTIONS allows for; (2) all are "
    "counted under a proxy's address: put ProxyFix around the app before GreenRelay(app); (3) a "
    "page connects again and again, and never closes"
)
_RETRY: Final = (("Retry-After", str(RETRY_AFTER_SECONDS)),)


def _too_many(text: str) -> RefusedError:
    return RefusedError(UNAVAILABLE, text, _RETRY, advice=_ADVICE_QUOTA)
