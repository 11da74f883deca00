"""What the clients of a server under test share: how long they wait, and a refusal.

Their sockets are gevent's own, so a client that waits lets the server work in the same
thread. No method waits longer than it is told to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gevent

from greenrelay.errors import GreenRelayError
from greenrelay.wire import READ_BYTES

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Far longer than anything on loopback takes, and short enough to wait for a failure."""


class UpgradeRefused(GreenRelayError):
    """The server has answered with something else than a WebSocket or an event stream.

    Args:
        status: HTTP status code.
        headers: of the response.
        body: of the response.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{status}: {body.decode('utf-8', 'replace').strip()}")
        self.status = status
        self.headers = headers
        self.body = body


def receive_bytes(sock: Any, deadline: float) -> bytes:
    """Return the next bytes, none at the end of the connection.

    Raises:
        TimeoutError: none have come in time.
    """
    try:
        with gevent.Timeout(max(0.0, deadline - time.monotonic()), TimeoutError):
            data: bytes = sock.recv(READ_BYTES)
    except TimeoutError:
        raise TimeoutError("the server has sent nothing in time") from None
    except OSError:
        return b""
    return data
