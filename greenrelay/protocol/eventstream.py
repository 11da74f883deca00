"""Server-sent events without I/O: the WHATWG event stream format, both sides.

    event  = "event: " name LF [ "id: " id LF ] [ "retry: " ms LF ] 1*( "data: " line LF ) LF

A line ends with LF, CR or CRLF, and nothing else; so a text is split at all three, and
a name or id that has one of them, or a NUL, is refused: a client can't be made to see
an event that nobody sent.

By hand, because the libraries belong each to one client or server: httpx-sse to httpx (its parser
is the tests' second opinion), sse-starlette to ASGI.

Source: HTML Living Standard, §9.2.
"""

from __future__ import annotations

import base64
import codecs
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from greenrelay.protocol.jsontext import encode_json

HEARTBEAT: Final = b": ping\n\n"
"""A comment: proxies see traffic and keep the connection, clients ignore it."""

STREAM_HEADERS: Final = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),  # nginx would gather events until its buffer is full
)
"""Of every response that is an event stream."""

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BREAKS: Final = re.compile(r"[\r\n\0]")
_MAX_RETRY_MS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """The data of an event together with what a browser needs to reconnect.

    Args:
        data: what the event carries, as it would be sent alone.
        id: the browser sends the last one it saw as `Last-Event-ID` when it reconnects.
        retry: milliseconds after which the browser should reconnect.

    Raises:
        ValueError: `id` has a line break or NUL, or `retry` is no whole number of ms.
    """

    data: Any
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        check_id(self.id)
        check_retry(self.retry)


def encode_event(name: str, data: str, *, id: str | None = None, retry: int | None = None) -> bytes:
    """Return one event, its empty line included.

    Args:
        name: the event's type, not empty.
        data: its text; may have line breaks.

    Raises:
        ValueError: the name is empty or, as the id, has a line break or NUL; or the
            text can't be encoded.
        TypeError: one of them has another type.
    """
    check_name(name)
    check_id(id)
    check_retry(retry)
    lines = [f"event: {name}"]
    if id is not None:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    lines.extend(f"data: {line}" for line in _LINE_END.split(data))
    return ("\n".join(lines) + "\n\n").encode()


def payload_text(payload: Any) -> str:
    """Return a message's payload as a relay sends it: text as it is, bytes in base64, else JSON.

    Raises:
        ValueError, TypeError: it is not JSON.
    """
    if isinstance(payload, str):
        return payload
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(payload)).decode()  # a view may have gaps
    return encode_json(payload).decode()


def check_name(name: object) -> None:
    """Raise `ValueError` or `TypeError` for what can't be an event's name."""
    if not isinstance(name, str):
        raise TypeError(f"an event's name is a str, got {type(name).__name__}")
    if not name or _BREAKS.search(name):
        raise ValueError(
            f"an event's name is not empty and has no CR, LF or NUL, got {name[:80]!r}"
        )


def check_id(id: object) -> None:
    """Raise `ValueError` or `TypeError` for what can't be an event's id; `None`: it has none."""
    if id is None:
        return
    if not isinstance(id, str):
        raise TypeError(f"an event's id is a str, got {type(id).__name__}")
    if _BREAKS.search(id):
        raise ValueError(f"an event's id has no CR, LF or NUL, got {id[:80]!r}")


def check_retry(retry: object) -> None:
    """Raise `ValueError` for what is no number of milliseconds; `None`: it has no `retry`."""
    if retry is None:
        return
    if not isinstance(retry, int) or isinstance(retry, bool) or not 0 <= retry <= _MAX_RETRY_MS:
        raise ValueError(f"retry is a whole number of milliseconds, got {retry!r}")


class ServerSentEvent(NamedTuple):
    """One event as a browser sees it."""

    event: str
    """Its type; `message` if the server gave none."""
    data: str
    id: str
    """What the browser would send as `Last-Event-ID` now; `""`: there is none yet."""
    retry: int | None
    """Milliseconds after which the browser would reconnect now; `None`: as it likes."""


class EventParser:
    """The client's side: bytes in, cut anywhere; events out.

    Source: HTML Living Standard, §9.2.6.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._has_cr = False
        """Whether the last line ended with a CR, whose LF may still come."""
        self._name = ""
        self._data: list[str] = []
        self._id = ""
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes."""
        text = self._decoder.decode(data)
        if text:
            is_second_half = self._has_cr and text[0] == "\n"
            self._has_cr = text[-1] == "\r"
            text = text[is_second_half:]
        *lines, self._line = _LINE_END.split(self._line + text)
        return [event for event in map(self._take, lines) if event is not None]

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")  # of a comment, the name is empty
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self._retry = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return ServerSentEvent(name, "\n".join(data), self._id, self._retry) if data else None
