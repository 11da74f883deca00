"""The opening handshake of RFC 6455 §4, the server's side, on a WSGI environ.

    check_handshake(environ) ─► Handshake, or RefusedError with the HTTP answer
    upgrade_headers(handshake, handler_headers) ─► headers of the 101
    encode_head(status, headers) ─► bytes

The grammar, and what is refused because others have been attacked through it:

    Connection, Upgrade    lists of tokens, compared whole: "notupgrade" is no upgrade
    Sec-WebSocket-Key      once, base64 of exactly 16 bytes, padding included
    Host                   once: two of them let a proxy and an app disagree on the site
    body                   none: it would be read as frames

By hand, because `websockets.headers` fails on an element that is no token, where here only the
tokens count that are asked for: a subprotocol with "/" or "=" in it can be agreed on, and
`Connection` may name anything beside "upgrade". The checks of the library's server want its own
request and answer with its own texts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from greenrelay.errors import ConfigurationError, RefusedError
from greenrelay.protocol import refusals
from greenrelay.protocol.refusals import Headers
from greenrelay.wire import SSE_RELAY_HEADER, WS_RELAY_HEADER

SWITCHING: Final = "101 Switching Protocols"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

# Headers that describe one hop, or a body that an upgraded response does not have.
# Source: RFC 9110 §7.6.1.
_HOP_BY_HOP: Final = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)
_OURS: Final = frozenset(
    {
        WS_RELAY_HEADER.lower(),
        SSE_RELAY_HEADER.lower(),
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "sec-websocket-version",
    }
)
_BAD_IN_HEADER: Final = re.compile(r"[\r\n\0]")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # base64 of 16 bytes
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_SPACE: Final = " \t"  # HTTP's; Python's own idea of it has more, and they are bytes of a value


class Handshake(NamedTuple):
    """A request that may be upgraded."""

    key: str
    protocols: tuple[str, ...]
    """Subprotocols that the client offered, in its order of preference."""
    extensions: str = ""
    """Extensions that it offered."""


def is_upgrade(environ: Mapping[str, Any]) -> bool:
    """Tell whether the request asks for a WebSocket at all."""
    return _has_token(environ.get("HTTP_UPGRADE", ""), "websocket") and (
        _has_token(environ.get("HTTP_CONNECTION", ""), "upgrade")
    )


def check_handshake(environ: Mapping[str, Any]) -> Handshake:
    """Return what the handshake offers.

    Raises:
        RefusedError: answer with its status. Source: RFC 6455 §4.2, RFC 9110 §7.8, §15.5.
    """
    if not is_upgrade(environ):
        raise refusals.NOT_AN_UPGRADE.error()
    if environ.get("REQUEST_METHOD") != "GET":
        raise refusals.NOT_GET.error()
    if environ.get("SERVER_PROTOCOL", "HTTP/1.1") < "HTTP/1.1":
        raise refusals.bad_request("a WebSocket needs HTTP/1.1")
    host = environ.get("HTTP_HOST", "")
    if not host or "," in host:
        raise refusals.HOST_NOT_ONCE.error()
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise refusals.BODY_ON_UPGRADE.error()
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if not _KEY.fullmatch(key):
        raise refusals.bad_request("Sec-WebSocket-Key must be there once, base64 of 16 bytes")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip(_SPACE) != refusals.WEBSOCKET_VERSION:
        raise refusals.OTHER_VERSION.error()
    return Handshake(
        key,
        tuple(_elements(environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))),
        environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""),
    )


def upgrade_headers(
    handshake: Handshake, handler_headers: Iterable[tuple[str, str]], extensions: str = ""
) -> Headers:
    """Return the headers of the 101 response: ours, then those the handler set.

    A subprotocol is taken from the handler's headers if the client offered it.

    Args:
        extensions: that have been agreed on.
    """
    handler_headers = list(handler_headers)
    digest = hashlib.sha1(handshake.key.encode("latin-1") + _GUID).digest()
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
    ]
    if extensions:
        headers.append(("Sec-WebSocket-Extensions", extensions))
    for name, value in handler_headers:
        if name.lower() == "sec-websocket-protocol" and value in handshake.protocols:
            headers.append((name, value))
            break
    return headers + end_to_end_headers(handler_headers)


def end_to_end_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the handler's headers that travel on a relay's response."""
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in _HOP_BY_HOP
        and lower not in _OURS
        and not lower.startswith("content-")
    ]


def encode_head(status: str, headers: Headers) -> bytes:
    """Return the bytes of a response head, the empty line included.

    Raises:
        ConfigurationError: a header of the handler's could break out of its line.
    """
    lines = [f"HTTP/1.1 {status}\r\n"]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _BAD_IN_HEADER.search(value):
            _refuse_header(name, value)
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    try:
        return "".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        (name, *_) = (name for name, value in headers if max(value, default="") > "\xff")
        raise ConfigurationError(
            f"the header {name!r} has characters beyond latin-1; percent-encode them"
        ) from None


def _refuse_header(name: str, value: str) -> NoReturn:
    if _BAD_IN_HEADER.search(name) or _BAD_IN_HEADER.search(value):
        raise ConfigurationError(f"the header {name!r} has a line break or NUL; remove it")
    raise ConfigurationError(f"{name!r} is no name for a header; write one like 'X-Name'")


def refusal_headers(refusal: RefusedError) -> Headers:
    """Return the headers of a refusal's answer, which is one line of text."""
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(refusal_body(refusal)))),
        *refusal.headers,
    ]


def refusal_body(refusal: RefusedError) -> bytes:
    """Return the body of a refusal's answer."""
    return (refusal.body + "\n").encode()


def encode_refusal(refusal: RefusedError) -> bytes:
    """Return the whole answer, after which the connection ends."""
    headers = refusal_headers(refusal)
    if "Connection" not in dict(headers):
        headers.append(("Connection", "close"))
    return encode_head(refusal.status, headers) + refusal_body(refusal)


def split_tokens(value: str) -> set[str]:
    """Return the tokens of a comma-separated header in lower case."""
    return {token.lower() for token in _elements(value)}


def _has_token(value: str, token: str) -> bool:
    # Nearly always it stands alone: to split a list costs six times as much.
    return value.lower() == token or (bool(value) and token in split_tokens(value))


def _elements(value: str) -> list[str]:
    return [text for part in value.split(",") if (text := part.strip(_SPACE))]
