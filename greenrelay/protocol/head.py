"""The guards around an HTTP request head, and around the lines in a chunked body, without I/O.

    head = request-line CRLF *( field-line CRLF ) CRLF        (RFC 9112 §2)
    target = "/" path | "http" ["s"] "://" host [path] | "*"  (§3.2; "*" with OPTIONS alone)
    field-line = token ":" OWS value OWS                      (§5: no space before the colon)
    chunk-size = 1*HEXDIG                                     (§7.1: no space behind it)

What is refused because others have been attacked through it: NUL and bare CR, which
one parser takes for a line's end and the next one not; a line without a colon or
folded over two; `Host` missing, twice or no host; two lengths, a length and chunks, or
chunks in HTTP/1.0, on which a proxy and a server disagree (request smuggling); a body
behind an upgrade, which would be read as frames, or as the next request. A lone LF ends a
line if all lines of the head end so, as typed by hand; one among CRLFs may be a proxy's
idea of a value, and in a chunked body it is never right.

One rule: no pattern can match a text in two ways. One that can takes minutes for a line of spaces.

By hand, because httptools takes 30 of the 82 malformed heads of the tests (two Hosts, chunks in
HTTP/1.0, a body on an upgrade) and refuses two good ones (lone LFs, a target in UTF-8); and because
lines that have been checked need no second parser: the standard library's e-mail parser, which
pywsgi would ask, took half of the time of a head (34 of 66 us for a browser's; now 30 in all).
"""

from __future__ import annotations

import functools
import re

from greenrelay.protocol.refusals import (
    BODY_ON_UPGRADE,
    HOST_NOT_ONCE,
    MIXED_LINE_ENDS,
    bad_request,
)

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\xff]+) HTTP/(\d\.\d)(\r?\n)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)(\r?\n)")
_SPACE = b" \t"
_HOST = re.compile(  # RFC 3986 §3.2.2, but no comma: that is two hosts in one
    rb"(\[[0-9A-Za-z:.%]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(:\d*)?"
)
_ABSOLUTE = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[^\r\n\0]*)?\r\n")

MAX_LENGTH_DIGITS = 18
"""Of a Content-Length: below 2^63, where some parsers overflow."""


class HeaderFields:
    """The header lines of a head, in the words in which pywsgi asks `headers` for them.

    Args:
        lines: as they were sent, without the request line.
        values: of each name in lower case, in order; with the space around them.
    """

    __slots__ = ("_lines", "_values")

    status = ""
    """What was wrong with the lines: nothing, they have been checked."""

    def __init__(self, lines: list[bytes], values: dict[bytes, list[bytes]]) -> None:
        self._lines = lines
        self._values = values

    @property
    def headers(self) -> list[str]:
        """The lines, in order."""
        return [line.decode("latin-1") for line in self._lines]

    @property
    def typeheader(self) -> str | None:
        """The value of `Content-Type`."""
        return self.get("content-type")

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of `name` in any case, without the space before it."""
        values = self._values.get(name.lower().encode())
        return default if values is None else values[0].lstrip(_SPACE).decode("latin-1")

    getheader = get

    def __delitem__(self, name: str) -> None:
        """Forget the values of `name`, if there are any; the lines stay."""
        self._values.pop(name.lower().encode(), None)

    def for_environ(self) -> list[tuple[str, str]]:
        """Return WSGI's keys with their values, one for each line; PEP 3333.

        A type and a length have keys of their own. A name with an underscore has none: it could
        be taken for that of a header which a proxy has set.
        """
        pairs = []
        for name, values in self._values.items():
            key = _environ_key(name)
            if key:
                for value in values:
                    pairs.append((key, value.decode("latin-1").strip()))
        return pairs


@functools.lru_cache(maxsize=256)  # clients may make up as many as they like
def _environ_key(name: bytes) -> str:
    """Return the key of a header in an environ, `""`: it has none there."""
    if b"_" in name or name in (b"content-type", b"content-length"):
        return ""
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def check_head(lines: list[bytes]) -> HeaderFields:
    """Check a request head, line by line, the last empty one left out; return its fields.

    Raises:
        RefusedError: 400, with what is wrong in one line.
    """
    request = _REQUEST_LINE.fullmatch(lines[0])
    if request is None:
        raise bad_request("the request line must be METHOD target HTTP/1.1")
    method, target, version, line_end = request.groups()
    fields = _split_fields(lines[1:], line_end)
    is_old = version < b"1.1"
    _check_host(fields.get(b"host", []), is_old)
    _check_body(fields)
    if is_old and b"transfer-encoding" in fields:
        raise bad_request("chunks need HTTP/1.1")
    _check_target(method, target)
    return HeaderFields(lines[1:], fields)


def _split_fields(lines: list[bytes], line_end: bytes) -> dict[bytes, list[bytes]]:
    """Return the values of each name in lower case."""
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise bad_request(_explain(line, "head"))
        name, value, end = field.groups()
        if end != line_end:
            raise MIXED_LINE_ENDS.error()
        fields.setdefault(name.lower(), []).append(value)
    return fields


def split_target(target: str) -> tuple[str, str]:
    """Return a request target's host and its path; the host is empty if it has none."""
    if target.startswith("/"):
        return "", target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return "", target
    path = absolute[2]
    return absolute[1], path if path.startswith("/") else f"/{path}"


def parse_chunk_size(line: bytes) -> int:
    """Return the size that a line in a chunked body announces; 0 is the end.

    Raises:
        RefusedError: 400.
    """
    size = _CHUNK_SIZE.fullmatch(line)
    if size is None:
        raise bad_request("a chunk's size must be a hexadecimal number on a line of its own")
    return int(size[1], 16)


def check_field_line(line: bytes) -> None:
    """Check a line behind the last chunk.

    Raises:
        RefusedError: 400, with what is wrong in one line.
    """
    if not line.endswith(b"\r\n"):
        raise bad_request("a trailer's line does not end in CRLF")
    if not _FIELD.fullmatch(line):
        raise bad_request(_explain(line, "trailer"))


def _check_target(method: bytes, target: bytes) -> None:
    if target.startswith(b"/") or (target, method) == (b"*", b"OPTIONS"):
        return
    host, _ = split_target(target.decode("latin-1"))
    if not host or host.startswith(":") or not _HOST.fullmatch(host.encode("latin-1")):
        raise bad_request("the request's target must be a path, or begin like http://example.org")


def _check_host(hosts: list[bytes], is_old: bool) -> None:
    if len(hosts) > 1 or not (hosts or is_old):
        raise HOST_NOT_ONCE.error()
    if hosts and not _HOST.fullmatch(hosts[0].strip(_SPACE)):
        raise bad_request("Host must be like example.org or example.org:8000")


def _check_body(fields: dict[bytes, list[bytes]]) -> None:
    if not (b"content-length" in fields or b"transfer-encoding" in fields):
        return  # there is none, as nearly always
    lengths = [value.strip(_SPACE) for value in fields.get(b"content-length", ())]
    codings = [value.strip(_SPACE) for value in fields.get(b"transfer-encoding", ())]
    if len(lengths) + len(codings) > 1:
        raise bad_request("the body's length must be given once")
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= MAX_LENGTH_DIGITS):
        raise bad_request("Content-Length must be a number")
    if codings and codings[0].lower() != b"chunked":
        raise bad_request("the only transfer coding here is chunked")
    has_body = codings or (lengths and int(lengths[0]) > 0)
    if has_body and _is_upgrade(fields):
        raise BODY_ON_UPGRADE.error()


def _is_upgrade(fields: dict[bytes, list[bytes]]) -> bool:
    # Either is enough for pywsgi to leave the body to others.
    upgrades = b",".join(fields.get(b"upgrade", [])).lower().split(b",")
    return b"websocket" in [word.strip(_SPACE) for word in upgrades] or any(
        value.strip(_SPACE).lower() == b"upgrade" for value in fields.get(b"connection", [])
    )


def _explain(line: bytes, where: str) -> str:
    if b"\0" in line:
        return f"the {where} has a NUL"
    if re.search(rb"\r(?!\n)", line):
        return f"the {where} has a carriage return inside of a line"
    if line[:1] in b" \t":
        return "header lines can't be folded"
    if b":" not in line:
        return "a header line has no colon"
    return "a header's name must be a token, with the colon right behind it"
