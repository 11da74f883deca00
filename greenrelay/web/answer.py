"""What goes out: the app's answer as it is, unless it asks for a relay; or a refusal.

The relay header is read from the response only, and removed from every response.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wsgi import ClosingIterator

from greenrelay.errors import RefusedError
from greenrelay.logs import log_now
from greenrelay.protocol.frames import encode_close
from greenrelay.protocol.handshake import refusal_body, refusal_headers
from greenrelay.protocol.refusals import Headers
from greenrelay.web.admission import RelayRequest
from greenrelay.web.direct import DirectStream
from greenrelay.web.opening import Opening
from greenrelay.web.routers import Router, Rule
from greenrelay.web.taking import END_CONNECTION
from greenrelay.wire import SSE_RELAY_HEADER, WS_RELAY_HEADER

log = logging.getLogger("greenrelay.relay")

_RELAY_HEADERS = {name.lower(): name for name in (WS_RELAY_HEADER, SSE_RELAY_HEADER)}


class Answer:
    """What the app answers: passed on, unless it asks for a relay.

    Args:
        path: of the request, for the log.
        start_response: the server's.
        stream: what the response is, once the view has sent an event.
        router: of the path; `None` if it has no relays.
    """

    def __init__(
        self,
        path: str,
        start_response: Callable[..., Any],
        stream: DirectStream,
        router: Router | None,
    ) -> None:
        self._path = path
        self._start_response = start_response
        self._stream = stream
        self._router = router
        self._status: str | None = None
        self.relay: RelayRequest | None = None
        """What is asked for, when the response is withheld."""

    @property
    def has_begun(self) -> bool:
        """Whether the app has answered; if not, it may when it is iterated."""
        return self._status is not None or self._stream.is_open

    @property
    def is_good(self) -> bool:
        """Whether the app has answered, and not with an error."""
        return self._status is not None and self._status[:1] in "123"

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[..., Any]:
        """Stand in for the server's `start_response`."""
        self._status = status
        others = [item for item in headers if item[0].lower() not in _RELAY_HEADERS]
        self.relay = None
        if self._stream.is_open:
            return _drop
        if len(others) < len(headers) and status.startswith("2"):
            self.relay = self._find_relay(headers, others)
            if self.relay is not None:
                return _drop
        self._stream.forbid_stream()
        if exc_info is not None:
            return self._start_response(status, others, exc_info)  # type: ignore[no-any-return]  # WSGI
        return self._start_response(status, others)  # type: ignore[no-any-return]  # WSGI

    def start_body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Take the first chunks of a lazy app, until it has answered."""
        chunks = iter(body)
        first = []
        for chunk in chunks:
            first.append(chunk)
            if self._status is not None:
                break
        started = itertools.chain(first, chunks)
        close = getattr(body, "close", None)
        return started if close is None else ClosingIterator(started, close)

    def _find_relay(self, headers: Headers, others: Headers) -> RelayRequest | None:
        rules: Mapping[str, Rule] = {} if self._router is None else self._router.rules
        for name, value in headers:
            header = _RELAY_HEADERS.get(name.lower())
            if header is None:
                continue
            if header in rules:
                return RelayRequest(header, value, rules[header], others)
            self._tell_ignored(header)
        return None

    def _tell_ignored(self, header: str) -> None:
        text = (
            "%r: %s is ignored: no router switches this relay on there; name it in "
            "post_middleware of one with such a prefix"
        )
        log_now(log, logging.ERROR, text, self._path, header)


def _drop(data: bytes) -> None:
    """Take the body of a withheld response."""


def refuse(
    refusal: RefusedError, opening: Opening, start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answer a request with a refusal: one line of text, or a close frame if it is upgraded."""
    if opening.socket.is_upgraded:
        opening.socket.close_upgraded(encode_close(refusal.close_code, refusal.body))
        return ()
    if refusal.headers == END_CONNECTION:
        opening.socket.end_connection()
    elif refusal.status[:3] in ("426", "501") and opening.socket.is_test_client:
        refusal = _explain_testing(refusal, opening)
    body, headers = refusal_body(refusal), refusal_headers(refusal)
    if refusal.status.startswith("2"):  # an event stream that ends at once, with its own headers
        body, headers = refusal.body.encode(), list(refusal.headers)
    start_response(refusal.status, headers)
    return () if opening.is_head else (body,)


def _explain_testing(refusal: RefusedError, opening: Opening) -> RefusedError:
    """Return a refusal that tells how a relay is tested, as a test client can't."""
    is_websocket = refusal.status.startswith("426") or opening.is_upgrade
    connect = "connect_ws" if is_websocket else "connect_sse"
    text = (
        f"{refusal.body}; this is a test client, which has no socket: with greenrelay.testing it "
        f"is relay_server(app).{connect}({opening.path!r})"
    )
    return RefusedError(refusal.status, text, refusal.headers)
