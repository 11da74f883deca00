"""What a process runs: found by its name, and looked at from outside."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from types import FrameType
from typing import Any

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""Function, args and kwargs."""


def resolve_target(target: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return the function that `spawn()` was given, imported if it is named.

    Raises:
        TypeError: it can't be called.
        ValueError: it names nothing that can be imported.
    """
    if isinstance(target, str):
        try:
            target = pkgutil.resolve_name(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"can't spawn {target!r}, write 'package.module:function': {error}"
            ) from error
    if not callable(target):
        raise TypeError(f"spawn() takes a function or 'package.module:function', got {target!r}")
    return target


def text_of(target: Callable[..., Any] | str) -> str:
    """Return the text by which `resolve_target()` finds a function again, in another interpreter.

    Raises:
        ValueError: there is none: it is a lambda, a method, or made in another function.
    """
    if isinstance(target, str):
        return target
    text = f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', '')}"
    try:
        is_found = pkgutil.resolve_name(text) is target
    except (ImportError, AttributeError, ValueError):
        is_found = False
    if not is_found:
        raise ValueError(f"another node can't find {target!r}; name 'package.module:function'")
    return text


def find_place(frame: FrameType | None, function: Callable[..., Any]) -> str:
    """Return the innermost function that is not greenrelay's or gevent's own: `module:name`.

    Args:
        frame: where a greenlet waits; `None` if it does not.
        function: what it runs, if there is no other.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("greenrelay", "gevent"):
            return f"{frame.f_globals.get('__name__')}:{frame.f_code.co_name}"
        frame = frame.f_back
    return f"{function.__module__}:{getattr(function, '__qualname__', '?')}"


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name as its definition has it."""
    return getattr(function, "__qualname__", None) or repr(function)
