"""A response's headers where they differ from what the app has given, without I/O.

Headers are as pywsgi keeps them: pairs of `bytes`, names in any case. A relay's header that
arrives here was taken by no middleware. It names PIDs, and so must not reach a client.
"""

from __future__ import annotations

from typing import Final

from greenrelay.protocol.refusals import BAD_CONFIGURATION
from greenrelay.wire import SSE_RELAY_HEADER, WS_RELAY_HEADER

Headers = list[tuple[bytes, bytes]]

UNWRAPPED: Final = BAD_CONFIGURATION.error()
"""What a client gets whose relay nobody has opened: the app has none around it."""
_RELAY_HEADERS: Final = {
    name.lower().encode(): name for name in (WS_RELAY_HEADER, SSE_RELAY_HEADER)
}


def find_relay_header(headers: Headers) -> str | None:
    """Return the name of the first relay header; `None`: there is none, as it should be."""
    for name, _ in headers:
        if name.lower() in _RELAY_HEADERS:
            return _RELAY_HEADERS[name.lower()]
    return None


def drop_relay_headers(headers: Headers) -> Headers:
    """Return all headers but the relays'."""
    return [item for item in headers if item[0].lower() not in _RELAY_HEADERS]


def end_connection(headers: Headers) -> Headers:
    """Return the headers with `Connection: close`, and no other `Connection`."""
    others = [item for item in headers if item[0].lower() != b"connection"]
    return [*others, (b"Connection", b"close")]
