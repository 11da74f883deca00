"""permessage-deflate without I/O: RFC 7692, the server's side, no context takeover.

Without takeover a message is compressed on its own: a broadcast once for everybody,
and a connection that is idle keeps no window. The price is a few percent of ratio.

    Sec-WebSocket-Extensions ─► negotiate() ─► Agreement, or None
    payload ─► deflate(payload, window_bits)     payload ─► inflate(payload, limit)

What an offer's parameters mean is for the library `websockets` to say. Written by hand are

    the split of the header: `websockets.headers` takes no offer of a header in which one is
        malformed, and be it for another extension
    messages: the library's extension compresses per connection, so a broadcast to a thousand
        clients a thousand times
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension

from greenrelay.errors import ProtocolError
from greenrelay.wire import CLOSE_INVALID_DATA, CLOSE_TOO_BIG

MIN_DEFLATE_BYTES: Final = 64
"""Shorter messages are sent as they are: deflated they would be hardly shorter, or longer."""

_RULES: Final = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)
_TAIL: Final = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1: removed by the sender, added by the receiver
_MAX_WINDOW_BITS: Final = 15
_MIN_WINDOW_BITS: Final = 9
"""zlib can't deflate with 8, which RFC 7692 allows: such an offer is declined."""

_MAX_STREAMS: Final = 8
"""Of one message. Usually it is one; more are allowed, but each costs, however small it is."""

_EXTENSION: Final = re.compile(
    r'\s*([^\s;,="]+)\s*((?:;\s*[^\s;,="]+\s*(?:=\s*(?:"[^"]*"|[^\s;,="]+)\s*)?)*)(?:,|$)'
)
_PARAMETER: Final = re.compile(r';\s*([^\s;,="]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;,="]+))\s*)?')


class Agreement(NamedTuple):
    """What client and server have agreed on."""

    response: str
    """The value of the response's `Sec-WebSocket-Extensions`."""
    server_window_bits: int
    """Of the window that the server may use."""


def negotiate(offers: str) -> Agreement | None:
    """Return what becomes of the client's offers: the first that can be met, or `None`.

    Args:
        offers: the request's `Sec-WebSocket-Extensions`.

    Source: RFC 7692 §7.1.
    """
    for name, parameters in _parse_offers(offers):
        if name == _RULES.name:
            agreement = _accept(parameters)
            if agreement is not None:
                return agreement
    return None


def _accept(parameters: list[tuple[str, str | None]]) -> Agreement | None:
    """Return the agreement on one offer; `None`: it is malformed, or can't be met."""
    try:
        agreed, _ = _RULES.process_request_params(parameters, ())
    except NegotiationError:
        return None
    # The client may use a smaller window than the one we inflate with; it need not be told so.
    agreed = [item for item in agreed if item[0] != "client_max_window_bits"]
    window_bits = int(dict(agreed).get("server_max_window_bits") or _MAX_WINDOW_BITS)
    if window_bits < _MIN_WINDOW_BITS:
        return None
    return Agreement(build_extension([(_RULES.name, agreed)]), window_bits)


def _parse_offers(header: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return the offers in a header; what does not parse, and all behind it, is none."""
    offers = []
    position = 0
    while position < len(header):
        match = _EXTENSION.match(header, position)
        if match is None or match.end() == position:
            break
        parameters = [
            (found[1].lower(), found[2] if found[2] is not None else found[3])
            for found in _PARAMETER.finditer(match[2])
        ]
        offers.append((match[1].lower(), parameters))
        position = match.end()
    return offers


def deflate(payload: bytes, window_bits: int) -> bytes:
    """Return a message's payload compressed on its own.

    Source: RFC 7692 §7.2.1.
    """
    compressor = zlib.compressobj(wbits=-window_bits)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


def max_deflated_size(size: int) -> int:
    """Return how long a message of `size` bytes may be when it is compressed.

    What can't be compressed grows; by an eighth in zlib's worst setting (`deflateBound()`).
    """
    return size + size // 7 + 64


def inflate(payload: bytes | bytearray, max_size: int) -> bytes:
    """Return a client's compressed message.

    Args:
        max_size: bytes that the result may have; no more are ever made. 0 is off.

    Raises:
        ProtocolError: it is larger, or not deflated at all. Source: RFC 7692 §7.2.2.
    """
    # One byte more than allowed is enough to know.
    room = max_size + 1 if max_size else 0
    result = b""
    rest = payload + _TAIL
    try:
        for _ in range(_MAX_STREAMS):
            decompressor = zlib.decompressobj(wbits=-_MAX_WINDOW_BITS)
            result += decompressor.decompress(rest, room - len(result) if room else 0)
            if room and len(result) >= room:
                raise ProtocolError(CLOSE_TOO_BIG, f"messages hold {max_size} bytes at most")
            # A block marked as the last one ends a stream; another may follow (§7.2.3.4).
            rest = decompressor.unused_data if decompressor.eof else b""
            if not rest:
                return result
    except zlib.error:
        raise ProtocolError(CLOSE_INVALID_DATA, "the message is not deflated") from None
    raise ProtocolError(CLOSE_INVALID_DATA, "the message has too many deflate streams")
