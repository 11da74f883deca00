"""A Flask app context around each message of a process, as there is one around each request.

    enter() ─► a context is pushed    leave() ─► teardown functions run, the context is popped,
                                                 or a fresh one takes its place

While a process waits, its database session is back in the pool, and nothing of one message is
seen by the next, nor by what the next leaves running. Rule: nobody could tell a context that is
made here from one that Flask has made.
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
_ATTRIBUTES: Final = {"app", "url_adapter", "g", "_cv_tokens"}
"""Of a context that has just been pushed, from Flask 2.2 to 3.1."""
_TEARDOWN: Final = "do_teardown_appcontext"
_new = AppContext.__new__
_innermost = app_ctx._get_current_object  # type: ignore[attr-defined]  # a proxy


class AppTurn:
    """Push a context of `app` for each turn of one process.

    What Flask does for a fresh context, beside calling the teardown functions, takes 2 µs, as long
    as all else of a message. So one that nobody else has a hand in is renewed here: its teardown
    functions are called, and another one, with a `g` of its own, takes its place. It is never the
    same object twice: who has copied the `contextvars` of one message sees that message's for good.
    """

    __slots__ = ("_app", "_context", "_url_adapter", "_variable")

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context: AppContext | None = None
        self._url_adapter: Any = None
        """What a context has to make URLs by; it depends on the app alone."""
        self._variable: ContextVar[AppContext] | None = None
        """Where Flask has the innermost context, if this one may be renewed."""

    def enter(self) -> None:
        """Push a context, unless a fresh one is there."""
        if self._context is not None:
            return
        self._context = context = self._app.app_context()
        context.push()
        if _can_be_renewed(self._app, context):
            self._url_adapter = context.url_adapter
            self._variable = context._cv_tokens[0].var
        else:
            self._variable = None

    def leave(self) -> None:
        """End the turn: run the teardown functions, and renew the context or pop it.

        Nothing happens if the process has pushed a context of its own on it.
        """
        context = self._context
        if context is None:
            return
        variable = self._variable
        if (
            variable is None
            or len(context._cv_tokens) != 1  # somebody else has pushed it as well
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
            self._renew(context, variable)

    def _renew(self, context: AppContext, variable: ContextVar[AppContext]) -> None:
        """Put a fresh context in the place of one whose teardown functions have run."""
        stored = self._app.app_ctx_globals_class()
        try:
            variable.reset(context._cv_tokens[0])
        except ValueError:  # the process waits in a copy of its `contextvars`: this one must last
            context.g = stored
            return
        context._cv_tokens = []
        self._context = fresh = _new(AppContext)
        fresh.app = self._app
        fresh.url_adapter = self._url_adapter
        fresh.g = stored
        fresh._cv_tokens = [variable.set(fresh)]

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


def _can_be_renewed(app: Flask, context: AppContext) -> bool:
    """Tell whether nothing of Flask's own is replaced that a fresh context would come past.

    Who wraps the teardown, as tools that trace apps do, wants to see each of them.
    """
    teardown = getattr(type(app), _TEARDOWN)
    return (
        type(context) is AppContext
        and type(teardown) is FunctionType
        and teardown.__globals__["__name__"] == Flask.__module__
        and type(app).ensure_sync is Flask.ensure_sync
        and "ensure_sync" not in app.__dict__
        and vars(context).keys() == _ATTRIBUTES
    )


def _has_listeners() -> bool:
    for signal in _SIGNALS:  # noqa: SIM110 (any() costs more than all else that is looked at)
        if signal.receivers:
            return True
    return False
