"""Let a WebSocket request reach an ordinary view.

Werkzeug routes an upgrade request to rules with `websocket=True` only, and answers
400 for every other one. A relayed view is an ordinary view, so both kinds match
here; where both exist for a URL, the WebSocket rule wins.

Rule: Flask's objects are changed here in one place only, the method that its documentation
gives to apps for this.
"""

from __future__ import annotations

import contextlib
from typing import Any

from flask import Flask
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, MapAdapter, WebsocketMismatch


class EitherAdapter(MapAdapter):
    """Match WebSocket rules first, then ordinary ones.

    Args:
        adapter: of the request, as Flask has made it.
    """

    def __init__(self, adapter: MapAdapter) -> None:
        super().__init__(
            adapter.map,
            adapter.server_name,
            adapter.script_name,
            adapter.subdomain,
            adapter.url_scheme,
            adapter.path_info,
            adapter.default_method,
            adapter.query_args,
        )

    def match(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `MapAdapter.match` returns."""
        # MethodNotAllowed where there is a POST beside it, NotFound where only the ordinary
        # rule is one for the path with and without a slash at its end.
        with contextlib.suppress(WebsocketMismatch, MethodNotAllowed, NotFound):
            return super().match(*args, **kwargs)
        return super().match(*args, **{**kwargs, "websocket": False})


class _Rules:
    """Whether an app has WebSocket rules, looked up again when there are more rules than before."""

    def __init__(self) -> None:
        self._count = 0
        self._has_websocket = False

    def have_websocket(self, url_map: Map) -> bool:
        """Tell whether there is one in the app's map."""
        rules = list(url_map.iter_rules())
        if len(rules) != self._count:
            self._count = len(rules)
            self._has_websocket = any(rule.websocket for rule in rules)
        return self._has_websocket


def accept_upgrades(app: Flask) -> None:
    """Have `app` route upgrade requests to ordinary views as well."""
    create = app.create_url_adapter
    rules = _Rules()

    def create_url_adapter(request: Any) -> MapAdapter | None:
        adapter = create(request)
        if adapter is None or not adapter.websocket:
            return adapter
        if rules.have_websocket(adapter.map):
            return EitherAdapter(adapter)
        adapter.websocket = False  # match it as any other request
        return adapter

    # Of this app alone: its class may be the user's, and other apps' as well.
    app.create_url_adapter = create_url_adapter  # type: ignore[method-assign]  # a documented seam
