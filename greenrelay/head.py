"""The guards around an HTTP request head, without I/O.

    head = request-line CRLF *( field-line CRLF ) CRLF        (RFC 9112 §2)
    field-line = token ":" OWS value OWS                      (§5: no space before the colon)

What is refused because others have been attacked through it: NUL and bare CR, which
one parser takes for a line's end and the next one not; a line without a colon or
folded over two; `Host` missing or twice; two lengths, or a length and chunks, on
which a proxy and a server disagree (request smuggling); a body behind an upgrade.
"""

from __future__ import annotations

import re

from greenrelay.errors import RefusedError

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\xff]+ HTTP/(\d\.\d)\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\r?\n")


def check_head(lines: list[bytes]) -> None:
    """Check a request head, line by line, the last empty one left out.

    Raises:
        RefusedError: 400, with what is wrong in one line.
    """
    request = _REQUEST_LINE.fullmatch(lines[0])
    if request is None:
        raise bad_request("the request line must be METHOD target HTTP/1.1")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise bad_request(_explain(line))
        fields.setdefault(field[1].lower(), []).append(field[2])
    hosts = fields.get(b"host", [])
    if len(hosts) > 1 or (not hosts and request[1] >= b"1.1"):
        raise bad_request("Host must be there once")
    _check_body(fields)


def _check_body(fields: dict[bytes, list[bytes]]) -> None:
    lengths = fields.get(b"content-length", [])
    codings = fields.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise bad_request("the body's length must be given once")
    if lengths and not lengths[0].isdigit():
        raise bad_request("Content-Length must be a number")
    if codings and codings[0].lower() != b"chunked":
        raise bad_request("the only transfer coding here is chunked")
    upgrades = b",".join(fields.get(b"upgrade", [])).lower().split(b",")
    has_body = codings or (lengths and int(lengths[0]) > 0)
    if has_body and b"websocket" in [word.strip() for word in upgrades]:
        raise bad_request("an upgrade request has no body")


def _explain(line: bytes) -> str:
    if b"\0" in line:
        return "the head has a NUL"
    if re.search(rb"\r(?!\n)", line):
        return "the head has a carriage return inside of a line"
    if line[:1] in b" \t":
        return "header lines can't be folded"
    if b":" not in line:
        return "a header line has no colon"
    return "a header's name must be a token, with the colon right behind it"


def bad_request(text: str) -> RefusedError:
    """Return the refusal of a malformed request."""
    return RefusedError("400 Bad Request", text)
