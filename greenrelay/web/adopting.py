"""Adopting a connection that somebody else has upgraded to a WebSocket.

gevent-websocket's handler, or gunicorn's worker of that name, upgrades before it calls the app;
ours when the view first uses the object that legacy views know, `environ["wsgi.websocket"]`. A
view may answer with a relay header all the same: then the socket below is taken as ever, the
101 is not sent again, and a refusal is a close frame.

Rule: gevent-websocket's object is touched here and in the server's own version of it alone.
"""

from __future__ import annotations

from typing import Any

from greenrelay.web.taking import RequestSocket, Taken


class AdoptedSocket(RequestSocket):
    """A server's socket, below a WebSocket as gevent-websocket has it.

    Args:
        inner: the server's.
        websocket: gevent-websocket's object, or ours with its interface.
    """

    __slots__ = ("_inner", "_websocket")

    def __init__(self, inner: RequestSocket, websocket: Any) -> None:
        self._inner = inner
        self._websocket = websocket

    @property
    def can_take(self) -> bool:
        """Whether the socket below can be taken."""
        return self._inner.can_take

    @property
    def is_upgraded(self) -> bool:
        """Whether the connection is upgraded by now."""
        # gevent-websocket upgrades before it calls the app, and has no word for it; ours does
        # when the view first uses it, and has.
        is_upgraded: bool = getattr(self._websocket, "is_upgraded", True)
        return is_upgraded

    @property
    def is_test_client(self) -> bool:
        """Whether there is no server."""
        return self._inner.is_test_client

    def take(self, status: str) -> Taken:
        """Take the socket below."""
        if self.is_upgraded:
            self._retire()
        return self._inner.take(status)

    def discard_body(self, patience: float) -> None:
        """Read the body's rest."""
        self._inner.discard_body(patience)

    def abandon(self) -> None:
        """End without an answer."""
        self._inner.abandon()

    def is_client_gone(self) -> bool:
        """Tell whether the client has closed its side."""
        return self._inner.is_client_gone()

    def end_connection(self) -> None:
        """Let no request follow."""
        self._inner.end_connection()

    def close_upgraded(self, frame: bytes) -> None:
        """Send the last frame, past the WebSocket's own object."""
        self._websocket.handler.socket.sendall(frame)
        self._retire()

    def _retire(self) -> None:
        # Its `close()` would send a close frame of its own, and nothing else lets it believe
        # that it is closed.
        self._websocket.closed = True
