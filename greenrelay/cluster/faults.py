"""Where in a value that is which can't travel to another node, and what to send instead.

Looked for only when packing has failed; without recursion, as a circle may be what is wrong.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

MAX_DEPTH: Final = 500
"""So many containers in one another may travel: each msgpack takes some more."""

_PLAIN: Final = (str, bytes, int, float, list, dict)
"""What msgpack knows, besides `None` and the two truth values."""

_MAX_KEY_CHARS = 40
_SHOWN_PIECES = 12
"""Of a longer path only so many are shown, from its beginning."""


class _Step(NamedTuple):
    """One step down into a value, and those before it."""

    above: _Step | None
    piece: str
    value: Any
    depth: int


class _Fault(NamedTuple):
    at: _Step
    text: str


def describe_fault(value: Any, root: str, extensions: Collection[type]) -> str:
    """Return one line: where a value can't travel, why, and what to write instead.

    Args:
        root: what the value is called.
        extensions: the types that can travel besides `_PLAIN` and tuples.
    """
    for step in _walk(_Step(None, root, value, 0)):
        fault = _find_fault(step, extensions)
        if fault is not None:
            return f"{_show(fault.at)} {fault.text}"
    return f"{root} can't be packed"


def _walk(top: _Step) -> Iterator[_Step]:
    """Return what is in a value, in the order in which it is packed, itself first."""
    yield top
    ways = [_inside(top)]
    while ways:
        step = next(ways[-1], None)
        if step is None:
            ways.pop()
        else:
            yield step
            ways.append(_inside(step))


def _inside(step: _Step) -> Iterator[_Step]:
    value, below = step.value, step.depth + 1
    if type(value) is dict:
        for key, item in value.items():
            yield _Step(step, f"[{_show_key(key)}]", item, below)
    elif type(value) is list or isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        for index, item in enumerate(value):
            yield _Step(step, f".{names[index]}" if names else f"[{index}]", item, below)


def _find_fault(step: _Step, extensions: Collection[type]) -> _Fault | None:
    value = step.value
    kind = type(value)
    if step.depth >= MAX_DEPTH:
        return _find_circle(step)
    if kind is dict:
        return _find_bad_key(step, extensions)
    text = _judge(value, extensions)
    return _Fault(step, text) if text else None


def _judge(value: Any, extensions: Collection[type]) -> str | None:
    """Return what is wrong with a value itself; `None`: nothing is."""
    kind = type(value)
    if kind is str:
        return "is no text: it has half a surrogate pair" if _is_half(value) else None
    if value is None or kind is bool or kind in _PLAIN:
        return None
    if kind in extensions:
        zone = getattr(value, "tzinfo", None)
        if zone is not None and value.utcoffset() is None:
            return f"has a zone without an offset, {zone}; send a datetime, or a time without one"
        return None
    if isinstance(value, tuple):
        return None
    return f"is of type {kind.__name__}, which can't leave its node; {_advise(value)}"


def _is_half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _advise(value: Any) -> str:
    if isinstance(value, Enum):
        return "send its .value"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "send dataclasses.asdict() of it"
    if isinstance(value, (set, frozenset)):
        return "send a list"
    for kind in _PLAIN:
        if isinstance(value, kind):
            return f"send {kind.__name__}() of it"
    return "send what JSON has, bytes, a PID, a date, a Decimal or a UUID"


def _find_bad_key(step: _Step, extensions: Collection[type]) -> _Fault | None:
    for key in step.value:
        if isinstance(key, tuple) and type(key) not in extensions:
            text = f"has a key that would arrive as a list, {_show_key(key)}; send a text"
            return _Fault(step, text)
        text = _judge(key, extensions) or ""
        if text:
            return _Fault(step, f"has a key that can't travel: {_show_key(key)} {text}")
    return None


def _find_circle(step: _Step) -> _Fault:
    """Return which container of a deep one is in itself; or that it is only deep."""
    path = [step]
    while (above := path[-1].above) is not None:
        path.append(above)
    seen: set[int] = set()
    for one in reversed(path):
        if id(one.value) in seen and type(one.value) not in (int, str):
            return _Fault(one, "is a container that it is in: a circle can't travel")
        seen.add(id(one.value))
    return _Fault(path[-1], f"has more than {MAX_DEPTH} containers in one another")


def _show_key(key: Any) -> str:
    text = json.dumps(key, ensure_ascii=not key.isprintable()) if type(key) is str else repr(key)
    return text if len(text) <= _MAX_KEY_CHARS else f"{text[:_MAX_KEY_CHARS]}…"


def _show(step: _Step) -> str:
    pieces = []
    at: _Step | None = step
    while at is not None:
        pieces.append(at.piece)
        at = at.above
    pieces.reverse()
    shown = "".join(pieces[:_SHOWN_PIECES])
    return shown if len(pieces) <= _SHOWN_PIECES else f"{shown}…"
