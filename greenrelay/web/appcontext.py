"""A Flask app context around each message of a process, as there is one around each request.

    enter() ─► a context is pushed    leave() ─► teardown functions run, the context is popped,
                                                 or made as good as new and kept

While a process waits, its database session is back in the pool, and nothing of one message is
seen by the next. Rule: a context is kept only if nobody could tell it from a fresh one.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Final

from flask import (
    Flask,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    has_app_context,
)
from flask.ctx import AppContext
from flask.globals import app_ctx

_SIGNALS = tuple(
    signal
    for signal in (appcontext_pushed, appcontext_tearing_down, appcontext_popped)
    if hasattr(signal, "receivers")  # Flask 2.2 without blinker has signals nobody can listen to
)
_GLOBALS_CLASS = Flask.app_ctx_globals_class
_TEARDOWN: Final = "do_teardown_appcontext"
_innermost = app_ctx._get_current_object  # type: ignore[attr-defined]  # a proxy


class AppTurn:
    """Push a context of `app` for each turn of one process.

    What Flask does for a fresh context, beside calling the teardown functions, takes 2 µs, as long
    as all else of a message. So one that the process has not changed is kept: its teardown
    functions are called, and it gets another `g` if there is something in it.
    """

    __slots__ = ("_app", "_as_pushed", "_context", "_stored", "_variable")

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context: AppContext | None = None
        self._as_pushed: dict[str, Any] = {}
        """The attributes of a fresh context."""
        self._stored: dict[str, Any] | None = None
        """What is in the context's `g`; `None`: the context is not to be kept."""
        self._variable: ContextVar[AppContext] | None = None
        """Where Flask has the innermost context, of one that may be kept."""

    def enter(self) -> None:
        """Push a context, unless one that is as good as new is there."""
        if self._context is not None:
            return
        self._context = context = self._app.app_context()
        context.push()
        if _can_be_kept(self._app, context):
            self._as_pushed = vars(context).copy()
            self._stored = vars(context.g)
            self._variable = context._cv_tokens[0].var
        else:
            self._stored = self._variable = None

    def leave(self) -> None:
        """End the turn: run the teardown functions, and keep the context or pop it.

        Nothing happens if the process has pushed a context of its own on it.
        """
        context = self._context
        if context is None:
            return
        variable = self._variable
        if (
            variable is None
            or context.__dict__ != self._as_pushed
            or _TEARDOWN in self._app.__dict__
            or _has_listeners()
        ):
            if has_app_context() and _innermost() is context:
                self._context = None
                context.pop(None)
        elif variable.get(None) is context:
            functions = self._app.teardown_appcontext_funcs
            if functions:
                self._tear_down(context, functions)
            if self._stored:
                context.g = self._as_pushed["g"] = self._app.app_ctx_globals_class()
                self._stored = vars(context.g)

    def _tear_down(self, context: AppContext, functions: list[Any]) -> None:
        """Call the teardown functions as Flask does; one that fails ends the context."""
        try:
            for function in reversed(functions):
                if (
                    type(function) is FunctionType
                    and not function.__code__.co_flags & inspect.CO_COROUTINE
                    and not function.__dict__  # where one is marked as a coroutine function
                ):
                    function(None)  # as `ensure_sync` returns it; finding out takes that one 1 µs
                else:
                    self._app.ensure_sync(function)(None)
        except BaseException:
            self._context = None
            token = context._cv_tokens.pop()
            token.var.reset(token)
            raise

    def close(self, error: BaseException | None) -> None:
        """Pop the context at the end of the process; teardown functions get the error."""
        context, self._context = self._context, None
        if context is not None:
            context.pop(error)

    def fresh(self) -> AppTurn:
        """Return the same for another process."""
        return AppTurn(self._app)


def _can_be_kept(app: Flask, context: AppContext) -> bool:
    """Tell whether nothing of Flask's own is replaced that a fresh context would come past.

    A class of the app's own may store what is in its `g` anywhere; who wraps the teardown, as
    tools that trace apps do, wants to see each of them.
    """
    teardown = getattr(type(app), _TEARDOWN)
    return (
        type(context) is AppContext
        and type(context.g) is _GLOBALS_CLASS
        and type(teardown) is FunctionType
        and teardown.__globals__["__name__"] == Flask.__module__
        and type(app).ensure_sync is Flask.ensure_sync
        and hasattr(context, "_cv_tokens")  # to be popped by, if a teardown function fails
    )


def _has_listeners() -> bool:
    for signal in _SIGNALS:  # noqa: SIM110 (any() costs more than all else that is looked at)
        if signal.receivers:
            return True
    return False
