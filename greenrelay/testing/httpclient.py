"""Plain requests to a server under test, in the words of Flask's test client.

    session.get("/") ─► werkzeug's client: form, JSON, cookies ─► Forwarder ─ HTTP ─► the server

`werkzeug.test.Client` calls a WSGI app. Here that app is a `Forwarder`, which sends the request
over loopback. The socket is gevent's own, as those of the other clients are.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import gevent
import gevent.socket
from werkzeug.test import Client, TestResponse

from greenrelay.testing.clients import DEFAULT_TIMEOUT_SECONDS
from greenrelay.testing.sseclient import EventStreamClient
from greenrelay.testing.wsclient import WebSocketClient

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
_IN_PATH = "/%!$&'()*+,;=:@"
"""What stands in a path as it is. Source: RFC 3986 §3.3."""
_COOKIES_KEY = "greenrelay.cookies"
"""Set where not the server is asked, but which cookies it would be sent."""


class HttpSession(Client):
    """A visitor who keeps cookies, and whose requests travel over loopback.

        session = server.session()
        session.post("/login", data={"user": "ada"})
        assert session.get("/me").json == {"user": "ada"}
        with session.connect_ws("/ws") as ws: ...

    `get`, `post`, `put`, `patch`, `delete`, `head`, `options` and `open` take the arguments of
    Flask's test client (`data`, `json`, `headers`, `query_string`, `follow_redirects`, …), and
    return what it does: a response with `.status_code`, `.text`, `.json`, `.data`, `.headers`.

    Args:
        url: of the server, without a slash at its end.
        timeout: seconds in which a response has to be there, all of it.
        use_cookies: whether it keeps them.
        ssl_context: a `gevent.ssl.SSLContext` that trusts the server, for `https://`.
    """

    def __init__(
        self,
        url: str,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        use_cookies: bool = True,
        ssl_context: Any = None,
    ) -> None:
        super().__init__(Forwarder(url, timeout, ssl_context), use_cookies=use_cookies)
        self._server_url = url
        self._ssl_context = ssl_context

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request and return its response; see `werkzeug.test.Client.open()`.

        Raises:
            TimeoutError: the response was not there in time.
            OSError: the server can't be reached.
        """
        if args and isinstance(args[0], str):
            kwargs.setdefault("base_url", self._server_url)
        return super().open(*args, **kwargs)

    def connect_ws(
        self, path: str, headers: Mapping[str, str] | None = None, origin: str | None = None
    ) -> WebSocketClient:
        """Return a connected WebSocket that was opened with the session's cookies.

        Raises:
            UpgradeRefused: the server would not have it.
        """
        headers = {**self._cookie_header(path), **(headers or {})}
        url = self._server_url.replace("http", "ws", 1) + path
        return WebSocketClient(url, headers, origin, ssl_context=self._ssl_context)

    def connect_sse(self, path: str, headers: Mapping[str, str] | None = None) -> EventStreamClient:
        """Return an open event stream that was asked for with the session's cookies.

        Raises:
            UpgradeRefused: the server would not have it.
        """
        headers = {**self._cookie_header(path), **(headers or {})}
        return EventStreamClient(self._server_url + path, headers, ssl_context=self._ssl_context)

    def _cookie_header(self, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        self.open(path, environ_overrides={_COOKIES_KEY: found})
        return found


class Forwarder:
    """A WSGI app that sends each request to a server.

    Args:
        url: `http://127.0.0.1:PORT`.
        timeout: seconds in which a response has to be there.
        ssl_context: trusts the server.
    """

    def __init__(self, url: str, timeout: float, ssl_context: Any) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._timeout = timeout
        self._ssl_context = ssl_context

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        fields = _request_headers(environ)
        if _COOKIES_KEY in environ:
            environ[_COOKIES_KEY].update({k: v for k, v in fields.items() if k == "Cookie"})
            start_response("204 No Content", [])
            return ()
        # As it was written: in the path that WSGI has, what was percent-encoded is decoded.
        target = quote(environ["RAW_URI"].partition("?")[0], _IN_PATH, "latin-1")
        if environ["QUERY_STRING"]:
            target += "?" + environ["QUERY_STRING"]
        body = environ["wsgi.input"].read()
        try:
            with gevent.Timeout(self._timeout, TimeoutError):
                status, headers, data = self._exchange(environ, target, body, fields)
        except TimeoutError:
            method = environ["REQUEST_METHOD"]
            raise TimeoutError(
                f"{method} {target}: no whole response in {self._timeout} s; "
                "server.session(timeout=…) waits longer, and an event stream is for connect_sse()"
            ) from None
        start_response(status, headers)
        return (data,)

    def _exchange(
        self, environ: dict[str, Any], target: str, body: bytes, fields: dict[str, str]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self._address)
        connection.sock = gevent.socket.create_connection(self._address)
        if self._ssl_context is not None:
            connection.sock = self._ssl_context.wrap_socket(
                connection.sock, server_hostname=self._address[0]
            )
        try:
            connection.request(environ["REQUEST_METHOD"], target, body or None, fields)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        headers = [item for item in response.getheaders() if item[0].lower() not in _HOP_BY_HOP]
        return f"{response.status} {response.reason}", headers, data


def _request_headers(environ: dict[str, Any]) -> dict[str, str]:
    fields = {
        name[5:].replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        fields["Content-Type"] = environ["CONTENT_TYPE"]
    if environ.get("CONTENT_LENGTH") not in (None, "", "0"):
        fields["Content-Length"] = environ["CONTENT_LENGTH"]
    fields["Connection"] = "close"
    return fields
