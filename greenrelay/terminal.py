"""`greenrelay connect URL`: a terminal client for a relay's WebSocket or event stream.

Standard input is sent line by line, one text message each; what the server sends is
written to standard output, one line each, and how it ended to standard error.
"""

from __future__ import annotations

import base64
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

import gevent
import gevent.fileobject
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Origin

from greenrelay.errors import GreenRelayError

WEBSOCKET_SCHEMES = ("ws://", "wss://")
STREAM_SCHEMES = ("http://", "https://")
QUIET_SECONDS = 1.0
"""So long without a message, once the input has ended, means that all answers are there."""


class ConnectError(GreenRelayError):
    """The URL can't be connected to; the text says why in one line."""


def connect(url: str, headers: Iterable[tuple[str, str]] = (), origin: str | None = None) -> None:
    """Talk to `url` until the server closes, or the input has ended. Switches: yes.

    Args:
        url: `ws://` or `wss://` for a WebSocket, `http://` or `https://` for an event stream.
        headers: further request headers.
        origin: what a browser would send as `Origin`.

    Raises:
        ConnectError: there is no connection.
    """
    if url.startswith(WEBSOCKET_SCHEMES):
        _talk(url, dict(headers), origin)
    elif url.startswith(STREAM_SCHEMES):
        _listen(url, dict(headers), origin)
    else:
        raise ConnectError(f"{url!r} is no ws://, wss://, http:// or https:// URL")


def _talk(url: str, headers: dict[str, str], origin: str | None) -> None:
    try:
        connection = connect_websocket(
            url,
            additional_headers=headers,
            origin=None if origin is None else Origin(origin),
            max_size=None,
        )
        with connection as websocket:
            _Talk(websocket).run()
        end = websocket.protocol
        print(f"closed: {end.close_code} {end.close_reason or ''}".rstrip(), file=sys.stderr)
    except InvalidStatus as refused:
        response = refused.response
        first_line = bytes(response.body or b"").decode("utf-8", "replace").partition("\n")[0]
        raise ConnectError(f"refused: {response.status_code} {first_line[:200]}") from None
    except ConnectionClosed as closed:
        frame = closed.rcvd
        how = f"{frame.code} {frame.reason}".rstrip() if frame else "1006, without a goodbye"
        print(f"closed: {how}", file=sys.stderr)
    except (OSError, InvalidHandshake, InvalidURI, ValueError, OverflowError) as error:
        raise ConnectError(f"can't connect to {url}: {error}") from None


class _Talk:
    """Standard input on its way to a WebSocket, and its messages on their way to the output."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._last_heard = 0.0

    def run(self) -> None:
        """Print every message until the server closes, or the input has ended."""
        sender = gevent.spawn(self._send_lines)
        try:
            for message in self._websocket:
                self._last_heard = time.monotonic()
                _print(message)
        finally:
            sender.kill()

    def _send_lines(self) -> None:
        """Send every line; close when there are no more, and the server has nothing to say."""
        # A greenlet that waits for a terminal must not keep the others from running.
        lines: Any = gevent.fileobject.FileObject(sys.stdin.fileno(), "r", closefd=False)
        for line in lines:
            self._websocket.send(line.rstrip("\n"))
        self._last_heard = max(self._last_heard, time.monotonic())
        while (silence := time.monotonic() - self._last_heard) < QUIET_SECONDS:
            gevent.sleep(QUIET_SECONDS - silence)
        self._websocket.close()


def _print(message: str | bytes) -> None:
    if isinstance(message, bytes):
        message = f"base64:{base64.b64encode(message).decode()}"
    print(message, flush=True)


def _listen(url: str, headers: dict[str, str], origin: str | None) -> None:
    request = urllib.request.Request(url, headers={"Accept": "text/event-stream", **headers})
    if origin is not None:
        request.add_header("Origin", origin)
    try:
        with urllib.request.urlopen(request) as response:
            kind = response.headers.get_content_type()
            if kind != "text/event-stream":
                raise ConnectError(f"{url} is no event stream but {kind}")
            for line in response:
                print(line.decode("utf-8", "replace").rstrip("\r\n"), flush=True)
    except urllib.error.HTTPError as refused:
        first_line = refused.read().decode("utf-8", "replace").partition("\n")[0]
        raise ConnectError(f"refused: {refused.code} {first_line[:200]}") from None
    except (OSError, http.client.InvalidURL, ValueError, OverflowError) as error:
        raise ConnectError(f"can't connect to {url}: {error}") from None
    print("closed", file=sys.stderr)
