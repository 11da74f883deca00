"""The WSGI app that a command is told of: `module:name`, or `module:factory()`.

Whatever is wrong with it becomes one line that says where: a wrong name, an error in the app's
own code, a function that no server could call as an app.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from flask import Flask

from greenrelay.errors import GreenRelayError
from greenrelay.web.routing import accept_upgrades

_PACKAGE = str(Path(__file__).parents[1])


class LoadError(GreenRelayError):
    """There is no app of that name, or it can't be made; the text says why in one line."""


def load_app(text: str) -> Any:
    """Return the WSGI app named `module:name`.

    Raises:
        LoadError: tell the caller; nothing has been served yet.
    """
    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        raise LoadError(f"{text!r} names no app; write module:app, like app_example.app:app")
    module = _import(module_name)
    is_factory = name.endswith("()")
    app: Any = getattr(module, name.removesuffix("()"), None)
    if app is None:
        raise LoadError(f"module {module_name!r} has no {name!r}")
    if is_factory:
        app = _make(app, text)
    elif is_factory_like(app):
        raise LoadError(
            f"{text} is a function, and no WSGI app; if it is an app factory, write {text}()"
        )
    if isinstance(app, Flask) and "greenrelay" not in app.extensions:
        accept_upgrades(app)  # for its views that use wsgi.websocket
    if not callable(app):
        raise LoadError(f"{text!r} is no WSGI app but {type(app).__name__}")
    return app


def is_factory_like(app: Any) -> bool:
    """Tell whether a server could not call this function as an app: it takes other arguments."""
    if not inspect.isfunction(app):
        return False
    signature = inspect.signature(app)
    try:
        given = signature.bind("environ", "start_response").arguments
    except TypeError:
        return True
    # What stands in for an argument that nobody gives: a server always gives both.
    return any(signature.parameters[name].default is not inspect.Parameter.empty for name in given)


def _import(module_name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LoadError(f"can't import {module_name!r}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        raise LoadError(f"can't import {module_name!r}: {_describe(error)}") from None


def _make(factory: Any, text: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:  # whatever the factory raises
        raise LoadError(f"{text} failed: {_describe(error)}") from None


def _describe(error: BaseException) -> str:
    """Return the error, and the place in the app where it was raised."""
    logging.getLogger("greenrelay").debug("", exc_info=error)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, importlib.__file__, "<frozen"))
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
