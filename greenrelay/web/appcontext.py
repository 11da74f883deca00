"""A Flask app context around each message of a process, as there is one around each request.

While a process waits, no context is pushed: teardown functions have run, and the
database session is back in its pool. The next message gets a fresh context.
"""

from __future__ import annotations

from typing import Any

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
_innermost = app_ctx._get_current_object  # type: ignore[attr-defined]  # a proxy


class AppTurn:
    """Push a context of `app` for each turn of one process.

    A context that nobody could tell from a fresh one is kept instead of renewed: nothing on it
    or in its `g`, no teardown function, no listener. That is 3 µs a message.
    """

    __slots__ = ("_app", "_as_pushed", "_context", "_stored")

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context: AppContext | None = None
        self._as_pushed: dict[str, Any] = {}
        """The attributes of a fresh context."""
        self._stored: dict[str, Any] | None = None
        """What is in the context's `g`; `None`: the context is not to be kept."""

    def enter(self) -> None:
        """Push a context, unless an untouched one is there."""
        if self._context is not None:
            return
        self._context = context = self._app.app_context()
        context.push()
        # A class of the app's own may store what is in its `g` anywhere.
        if self._app.teardown_appcontext_funcs or type(context.g) is not _GLOBALS_CLASS:
            self._stored = None
        else:
            self._as_pushed = vars(context).copy()
            self._stored = vars(context.g)

    def leave(self) -> None:
        """Pop the context, unless nobody could notice, or the process has pushed its own on it."""
        context = self._context
        if context is None or (
            self._stored == {}
            and not self._app.teardown_appcontext_funcs
            and context.__dict__ == self._as_pushed
            and not _has_listeners()
        ):
            return
        if has_app_context() and _innermost() is context:
            self._context = None
            context.pop(None)

    def close(self, error: BaseException | None) -> None:
        """Pop the context at the end of the process; teardown functions get the error."""
        context, self._context = self._context, None
        if context is not None:
            context.pop(error)

    def fresh(self) -> AppTurn:
        """Return the same for another process."""
        return AppTurn(self._app)


def _has_listeners() -> bool:
    for signal in _SIGNALS:  # noqa: SIM110 (any() costs more than all else that is looked at)
        if signal.receivers:
            return True
    return False
